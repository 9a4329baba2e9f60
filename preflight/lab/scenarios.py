"""The fault matrix as data: a topology, its faults, and the expected diagnosis."""

from dataclasses import dataclass

from preflight.lab import faults, mesh, routes, services
from preflight.lab.blueprint import Blueprint, Product, Registered, ResolverPlan
from preflight.lab.draws import Draw
from preflight.lab.impairment import Impairment
from preflight.lab.part import Part, planned
from preflight.lab.services import FIRST_RESOLVER, SECOND_RESOLVER
from preflight.lab.topology import CONTROL_NAME, TOPOLOGIES, Family, overlay_address, underlay_address
from preflight.model.peer import RESPONDER_PORT


@dataclass(frozen=True, slots=True)
class Expected:
    """The diagnosis that must come first; `direction` None: the code has only one."""

    code: str
    direction: str | None = None

    def matches(self, code: str, direction: str | None) -> bool:
        """Whether a diagnosis is this one."""
        return code == self.code and self.direction in (None, direction)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row.

    expected: diagnoses that are right in the first place, the best first; empty: nothing is wrong. also: further
    root causes that must follow it, in the order of repair. maybe: codes of further faults, so small
    that a run may miss them. exit_code: what preflight must end with, None if it does not matter. definition: the
    text of its file. draw: the set-up and the faults that say what is true, in the place of `expected`.
    """

    name: str
    summary: str
    topology: str = "pair"
    faults: tuple[Part, ...] = ()
    expected: tuple[Expected, ...] = ()
    exit_code: int | None = None
    also: tuple[Expected, ...] = ()
    maybe: tuple[str, ...] = ()
    definition: str = ""
    draw: Draw | None = None

    def plan(self) -> Blueprint:
        """The plan to build, including the mistakes in it."""
        plan = Blueprint(TOPOLOGIES[self.topology])
        for fault in self.faults:
            plan = fault.shape(plan)
        return plan

    @property
    def is_broken(self) -> bool:
        """Whether something is wrong in it."""
        return bool(self.draw.faults if self.draw else self.expected)

    @property
    def loopback(self) -> bool:
        """Whether it works without root."""
        return all(fault.loopback for fault in self.faults)


def _healthy(name: str, summary: str, *what: Part, topology: str = "pair") -> Scenario:
    return Scenario(name, summary, topology, what, exit_code=0)


def _broken(
    name: str,
    code: str,
    *what: Part,
    direction: str | None = None,
    topology: str = "pair",
    exit_code: int | None = 1,
    maybe: tuple[str, ...] = (),
) -> Scenario:
    """`code` may list several right ones, separated by spaces; so may `direction`, one for each code."""
    codes = code.split()
    directions: list[str | None] = [*direction.split()] if direction else [None]
    if len(directions) < len(codes):
        directions *= len(codes)
    expected = tuple(map(Expected, codes, directions))
    summary = "; ".join(fault.summary for fault in what)
    return Scenario(name, summary, topology, what, expected, exit_code, maybe=maybe)


def _both(name: str, first: str, second: str, *what: Part, exit_code: int | None = 1) -> Scenario:
    """Two faults at once. Each diagnosis is `CODE` or `CODE DIRECTION`, in the order of repair."""
    codes = [Expected(code, direction or None) for code, _, direction in (d.partition(" ") for d in (first, second))]
    summary = "; ".join(fault.summary for fault in what)
    return Scenario(name, summary, "pair", what, (codes[0],), exit_code, also=(codes[1],))


_OVERLAY_C = overlay_address("c", 4)
_NAMED = {CONTROL_NAME: (_OVERLAY_C,)}

_AT_WORK = (Registered("n1", fields={"listen_addr": "10.66.0.7:9900"}),)

_NEBULA = planned("Nebula", product="nebula", tunnel_mtu=1400, families=(4,))
_VXLAN = planned("VXLAN", product="vxlan", tunnel_mtu=1400)
_OPENVPN = planned("OpenVPN", product="openvpn", tunnel_mtu=1400)

_MANY_LABELS = [f"pool=inference-{number:04}" for number in range(100)]

_FAR = Impairment(delay_ms=37.5, jitter_ms=5)

_REDUCED_BOTH_WAYS = (faults.underlay_mtu("a", "b", 1380), faults.underlay_mtu("b", "a", 1380))
_HOLE_BOTH_WAYS = (*faults.black_hole("a", "b"), *faults.black_hole("b", "a"))
_INSIDE_V6 = planned("IPv6-only overlay", families=(6,))
_OUTSIDE_V6 = planned("IPv6 underlay", underlay=6)


def _of_product(product: Product) -> tuple[Scenario, ...]:
    """The rows of a product other than WireGuard: healthy near and far, over each family that it carries."""
    families: tuple[Family, ...] = (4,) if product == "nebula" else (4, 6)
    # OpenVPN's clients talk through its server, so the far node for a is c.
    far = faults.both_ways("a", "c" if product == "openvpn" else "b", _FAR)
    rows = []
    for family in families:
        plan = planned(f"{product}, IPv{family}", product=product, tunnel_mtu=1300, families=(family,))
        name = f"healthy-{product}{'-v6' if family == 6 else ''}"
        rows += [_healthy(name, f"{product} instead of WireGuard", plan)]
        rows += [_healthy(f"{name}-80ms", f"{product} over 80 ms of round-trip time", plan, *far)]
    return tuple(rows)


_ALL = (
    _healthy("healthy", "no fault"),
    _healthy("healthy-v6", "an overlay with IPv6 only", _INSIDE_V6),
    _healthy("healthy-underlay-v6", "a tunnel whose own packets are IPv6", _OUTSIDE_V6),
    _healthy("healthy-hub", "a and b talk through c", topology="hub"),
    _healthy("healthy-solo", "b hosts the control plane too", topology="solo"),
    _healthy("healthy-tls", "the control plane speaks TLS", services.certificate("good")),
    _healthy("healthy-silent", "no keepalive, and no NAT", planned("there is no keepalive", keepalive_s=0)),
    _healthy("healthy-dns", "the control plane has a name", services.resolvers(ResolverPlan(FIRST_RESOLVER, _NAMED))),
    _healthy("healthy-v6-80ms", "80 ms inside an IPv6-only overlay", _INSIDE_V6, *faults.both_ways("a", "b", _FAR)),
    _healthy("healthy-80ms", "80 ms of round-trip time with 10 ms of jitter", *faults.both_ways("a", "b", _FAR)),
    _healthy("healthy-mesh", "five hundred peers", mesh.mesh(500)),
    _healthy(
        "healthy-strict",
        "strict reverse-path filters everywhere",
        *(routes.reverse_path_filter(node, 1) for node in ("a", "b", "c")),
    ),
    # the overlay on a
    _broken("interface-missing", "overlay.absent", faults.tunnel_missing("a")),
    _broken("interface-down", "overlay.down", faults.tunnel_down("a")),
    _broken("wrong-key", "overlay.no-handshake", faults.stale_key("a", of="b")),
    _broken("underlay-udp-blocked", "overlay.no-handshake", faults.tunnel_port_blocked()),
    _broken("peer-gone", "reach.unreachable overlay.handshake-stale", faults.tunnel_missing("b")),
    _broken("allowed-ips", "overlay.allowed-ips", faults.not_allowed("a", "b")),
    _broken("config-drift", "overlay.config-drift", faults.outdated_file("a"), exit_code=0),
    _broken("route-leak", "overlay.route-leak", routes.leaked_route("a", "b")),
    _broken(
        "route-leak-strict", "overlay.route-leak", routes.leaked_route("a", "b"), routes.reverse_path_filter("a", 1)
    ),
    _broken(
        "route-leak-udp",
        "overlay.route-leak",
        planned("IPv6-only overlay", families=(6,)),
        routes.leaked_udp("a", "b"),
        direction="forward",
    ),
    _broken("subnet-conflict", "overlay.subnet-conflict", routes.overlapping_lan("a")),
    _broken("mtu-too-big", "overlay.mtu-too-big", planned("the tunnel's MTU is 1500", tunnel_mtu=1500)),
    # reachability
    _broken("drop-forward", "reach.no-forward", faults.drop_in("b", "a"), direction="forward"),
    _broken("drop-reverse", "reach.no-reverse", faults.drop_out("b", "a"), direction="reverse"),
    _broken("drop-local", "host.firewall-drop", faults.drop_in("a", "b"), direction="reverse"),
    # The path to the control plane is dead too: b's hellos show the direction, if they get through.
    _broken("solo-drop", "reach.no-forward", faults.drop_in("b", "a"), direction="forward", topology="solo"),
    _broken(
        "solo-drop-reverse", "reach.unreachable", faults.drop_out("b", "a"), direction="round-trip", topology="solo"
    ),
    _broken("icmp-filtered", "reach.icmp-filtered", faults.no_echo("b"), exit_code=0),
    _broken(
        "loss-forward", "udp.loss reach.loss", faults.random_loss("a", "b", 5), direction="forward", exit_code=None
    ),
    _broken(
        "loss-reverse", "udp.loss reach.loss", faults.random_loss("b", "a", 5), direction="reverse", exit_code=None
    ),
    _broken(
        "reordering",
        "udp.reordering",
        faults.impaired("a", "b", Impairment(reordering_percent=20)),
        direction="forward",
        exit_code=0,
    ),
    _broken(
        "duplication",
        "udp.duplication",
        faults.impaired("a", "b", Impairment(duplication_percent=20), inside_hub=True),
        direction="forward",
        topology="hub",
        exit_code=0,
    ),
    _broken(
        "jitter", "udp.jitter", faults.impaired("b", "a", Impairment(jitter_ms=150)), direction="reverse", exit_code=0
    ),
    _broken(
        "rp-filter",
        "host.rp-filter",
        routes.second_path("b", to="a"),
        routes.reverse_path_filter("b", 1),
        direction="forward",
    ),
    _broken(
        "rp-filter-leak",
        "host.rp-filter",
        routes.leaked_route("b", "a"),
        routes.reverse_path_filter("b", 1),
        direction="forward",
    ),
    _broken(
        "route-leak-peer",
        "overlay.route-leak",
        routes.leaked_route("b", "a"),
        routes.reverse_path_filter("b", 2),
        direction="reverse",
    ),
    _broken(
        "second-path-strict-here",
        "overlay.route-leak",
        routes.second_path("b", to="a"),
        routes.reverse_path_filter("a", 1),
        routes.reverse_path_filter("b", 2),
        direction="reverse",
    ),
    _broken(
        "asymmetric-route",
        "reach.asymmetric",
        routes.second_path("b", to="a"),
        *(routes.reverse_path_filter(node, 2) for node in ("a", "b")),
        direction="reverse",
        exit_code=0,
    ),
    _broken(
        "asymmetric-route-v6",
        "reach.asymmetric",
        planned("IPv6-only overlay", families=(6,)),
        routes.second_path("b", to="a"),
        direction="reverse",
        exit_code=0,
    ),
    _broken(
        "nat-timeout",
        "overlay.no-keepalive udp.nat-timeout",
        planned("there is no keepalive", keepalive_s=0),
        faults.nat("a", 20),
        exit_code=0,
    ),
    _broken("mesh-silent", "reach.unreachable", mesh.mesh(100), mesh.silent(7, 50, 99)),
    _broken(
        "overlay-nat",
        "overlay.translated",
        faults.translating_hub("c"),
        direction="forward",
        topology="hub",
        exit_code=0,
    ),
    # path MTU
    _broken(
        "mtu-reduced",
        "mtu.reduced",
        *_REDUCED_BOTH_WAYS,
        exit_code=0,
    ),
    _broken("black-hole-forward", "mtu.black-hole", *faults.black_hole("a", "b"), direction="forward"),
    _broken("black-hole-reverse", "mtu.black-hole", *faults.black_hole("b", "a"), direction="reverse"),
    _broken(
        "black-hole-both",
        "mtu.black-hole",
        *_HOLE_BOTH_WAYS,
        direction="round-trip",
    ),
    _broken(
        "black-hole-lossy",
        "mtu.black-hole",
        *_HOLE_BOTH_WAYS,
        faults.random_loss("a", "b", 2),
        faults.random_loss("b", "a", 2),
        direction="round-trip",
        maybe=("udp.loss", "reach.loss"),  # 2 %, and the limit is 1 %
    ),
    _broken(
        "black-hole-far",
        "mtu.black-hole",
        *faults.both_ways("a", "b", Impairment(delay_ms=20)),
        faults.longer_than_vanish("a", "b", 1380),
        faults.longer_than_vanish("b", "a", 1380),
        direction="round-trip",
    ),
    _broken("black-hole-hub", "mtu.black-hole", *faults.black_hole("c", "b"), direction="forward", topology="hub"),
    _broken("black-hole-v6", "mtu.black-hole", *_HOLE_BOTH_WAYS, _INSIDE_V6, direction="round-trip"),
    _broken("black-hole-underlay-v6", "mtu.black-hole", *_HOLE_BOTH_WAYS, _OUTSIDE_V6, direction="round-trip"),
    _broken("mtu-reduced-v6", "mtu.reduced", *_REDUCED_BOTH_WAYS, _INSIDE_V6, exit_code=0),
    _broken("mtu-reduced-underlay-v6", "mtu.reduced", *_REDUCED_BOTH_WAYS, _OUTSIDE_V6, exit_code=0),
    # the path MTU as one side alone can measure it
    _broken("healthy-no-responder", "run.needs-responder", faults.no_responder(), exit_code=3),
    _broken(
        "black-hole-no-responder",
        "mtu.black-hole",
        faults.no_responder(),
        *_HOLE_BOTH_WAYS,
        direction="round-trip",
    ),
    _broken(
        "black-hole-reverse-no-responder",
        "mtu.black-hole",
        faults.no_responder(),
        *faults.black_hole("b", "a"),
        direction="reverse",
    ),
    # with the control plane on b, mtu.tcp finds the black hole too
    _broken("black-hole-solo", "mtu.black-hole", *faults.black_hole("a", "b"), direction="forward", topology="solo"),
    # c is not a peer, and its probe port is filtered: only TCP to the control plane shows it
    *(
        _broken(
            f"black-hole-tcp-{direction}",
            "mtu.black-hole",
            faults.drop_in("c", "a", f"udp dport {RESPONDER_PORT}"),
            *faults.black_hole(*ends),
            direction=direction,
        )
        for direction, ends in (("forward", ("a", "c")), ("reverse", ("c", "a")))
    ),
    _broken(
        "black-hole-enroll",
        "mtu.black-hole",
        planned("a's join is longer than a segment", node={"node": {"labels": _MANY_LABELS}}),
        *faults.black_hole("a", "c"),
        direction="forward",
    ),
    # the control URL
    _broken(
        "url-lan",
        "control.url-off-overlay",
        services.control_url("http://{underlay}:{port}"),
        services.listens_everywhere(),
    ),
    _broken("url-bind-all", "control.url-bind-all", services.control_url("http://0.0.0.0:{port}")),
    _broken("url-missing", "control.url-missing", services.control_url(None)),
    _broken("control-refused", "control.refused", services.server("absent")),
    _broken("control-drop", "control.timeout", faults.drop_port("c", 9847)),
    _broken("control-hang", "control.timeout", services.drill("hang")),
    _broken("dns-nxdomain", "control.dns-nxdomain", services.resolvers(ResolverPlan(FIRST_RESOLVER))),
    _broken("dns-timeout", "control.dns-timeout", services.resolvers(ResolverPlan(FIRST_RESOLVER, silent=True))),
    _broken(
        "dns-split",
        "control.dns-split",
        services.resolvers(
            ResolverPlan(FIRST_RESOLVER, {CONTROL_NAME: (underlay_address("c", 4),)}),
            ResolverPlan(SECOND_RESOLVER, _NAMED),
        ),
    ),
    _broken(
        "dead-aaaa",
        "control.address-family",
        services.resolvers(ResolverPlan(FIRST_RESOLVER, {CONTROL_NAME: (_OVERLAY_C, "fd66::dead")})),
        exit_code=None,
    ),
    _broken("tls-expiring", "control.tls-expiring", services.certificate("expiring"), exit_code=0),
    _broken("tls-expired", "control.tls-expired", services.certificate("expired")),
    _broken("tls-untrusted", "control.tls-untrusted", services.certificate("untrusted")),
    _broken("tls-name", "control.tls-name", services.certificate("other-name")),
    _broken(
        "tls-none-off-overlay",
        "control.plain-http",
        services.resolvers(ResolverPlan(FIRST_RESOLVER, {CONTROL_NAME: (underlay_address("c", 4),)})),
        services.listens_everywhere(),
    ),
    _broken("not-populi", "control.not-populi", services.server("everything")),
    _broken("redirect", "control.redirected", services.server("redirect")),
    _broken("unhealthy", "control.unhealthy", services.drill("unhealthy")),
    _healthy("throttled", "the control plane answers 429 first, then works", services.drill("throttle")),
    _healthy("restart", "the control plane is killed during the enrolment, and restarts", services.dies_once()),
    _broken("clock-skew", "control.clock-skew", services.drill("clock-skew=600")),
    _broken("slow-control", "control.slow", *faults.both_ways("a", "c", Impairment(delay_ms=300)), exit_code=0),
    # enrolment
    _broken("bootstrap-spent", "enroll.bootstrap-spent", services.bootstrap_token("spent")),
    _broken("bootstrap-invalid", "enroll.bootstrap-invalid", services.bootstrap_token("invalid")),
    _broken("bootstrap-disabled", "enroll.bootstrap-disabled", services.bootstrap_token("disabled")),
    _broken("bootstrap-expired", "enroll.bootstrap-spent", services.bootstrap_token("expired")),
    _broken("scope-mismatch", "enroll.scope-mismatch", services.scope("another-cluster")),
    _broken("token-unknown", "enroll.unauthorized", services.bearer("unknown")),
    _broken("token-submitter", "enroll.forbidden", services.bearer("submitter")),
    _broken("heartbeat-lost", "enroll.heartbeat-failed", services.drill("heartbeat-500")),
    # posture
    _broken("open-server", "posture.open", services.guards("none"), services.bootstrap_token("none")),
    _broken("one-token-for-all", "posture.shared-token", services.one_token(), exit_code=0),
    _broken("scope-open", "posture.scope-open", services.drill("scope-open")),
    _broken(
        "exposed", "posture.exposed", services.listens_everywhere(), routes.public_endpoint("a", of="c"), exit_code=1
    ),
    _broken("token-in-compose", "posture.secret-in-git", services.committed_token()),
    # the cluster
    _healthy("healthy-cluster", "the cluster has working nodes", services.registered("nodes", *_AT_WORK)),
    _broken(
        "stale-node",
        "nodes.stale",
        services.registered("n2 was last seen ten minutes ago", *_AT_WORK, Registered("n2", age_s=600)),
        exit_code=0,
    ),
    _broken(
        "quarantined-self",
        "nodes.quarantined",
        services.registered("a is quarantined", Registered("a", quarantined=True), *_AT_WORK),
    ),
    _broken(
        "draining-self",
        "nodes.draining",
        services.registered("a is drained for an hour", Registered("a", drained_for_s=3600), *_AT_WORK),
        exit_code=0,
    ),
    _broken(
        "version-skew",
        "nodes.version-skew",
        services.registered("n2 runs an older version", *_AT_WORK, Registered("n2", version="0.9")),
        exit_code=0,
    ),
    _broken(
        "duplicate-address",
        "nodes.duplicate-address",
        services.registered("n2 announces n1's address", *_AT_WORK, Registered("n2", fields=_AT_WORK[0].fields)),
        exit_code=0,
    ),
    # other products
    *_of_product("vxlan"),
    *_of_product("nebula"),
    *_of_product("openvpn"),
    _broken("black-hole-nebula", "mtu.black-hole", _NEBULA, *faults.black_hole("a", "b"), direction="forward"),
    # The kernel's VXLAN sends without DF: too large packets arrive, in fragments.
    _broken("fragments-vxlan", "mtu.reduced", _VXLAN, *faults.black_hole("a", "b"), direction="forward", exit_code=0),
    _broken("black-hole-openvpn", "mtu.black-hole", _OPENVPN, *faults.black_hole("a", "c"), direction="forward"),
    _broken("drop-reverse-nebula", "reach.no-reverse", _NEBULA, faults.drop_out("b", "a"), direction="reverse"),
    _broken("drop-forward-vxlan", "reach.no-forward", _VXLAN, faults.drop_in("b", "a"), direction="forward"),
    _broken("no-echo-openvpn", "reach.icmp-filtered", _OPENVPN, faults.no_echo("b"), exit_code=0),
    # the tool itself
    _broken("plugin-broken", "run.plugin-broken", services.broken_plugin(), exit_code=0),
    # two at once, in the order of repair
    _both(
        "black-hole-and-scope",
        "mtu.black-hole forward",
        "enroll.scope-mismatch",
        *faults.black_hole("a", "b"),
        services.scope("another-cluster"),
    ),
    _both(
        "wrong-key-and-tls",
        "overlay.no-handshake",
        "control.tls-expired",
        faults.stale_key("a", of="b"),
        services.certificate("expired"),
    ),
    _both(
        "drop-reverse-and-url-lan",
        "reach.no-reverse reverse",
        "control.url-off-overlay",
        faults.drop_out("b", "a"),
        services.control_url("http://{underlay}:{port}"),
        services.listens_everywhere(),
    ),
    _both(
        "loss-and-spent-token",
        "udp.loss reverse",
        "enroll.bootstrap-spent",
        faults.random_loss("b", "a", 10),
        services.bootstrap_token("spent"),
    ),
    _both(
        "black-hole-and-loss",
        "mtu.black-hole forward",
        "udp.loss reverse",
        *faults.black_hole("a", "b"),
        faults.random_loss("b", "a", 10),
    ),
    _both(
        "black-hole-and-heartbeats",
        "mtu.black-hole forward",
        "enroll.heartbeat-failed",
        *faults.black_hole("a", "c"),
        services.drill("heartbeat-500"),
    ),
    _both(
        "wrong-key-and-control-drop",
        "overlay.no-handshake",
        "control.timeout",
        faults.stale_key("a", of="b"),
        faults.drop_port("c", 9847),
    ),
    _both(
        "own-firewall-and-tls",
        "host.firewall-drop reverse",
        "control.tls-expired",
        faults.drop_in("a", "b"),
        services.certificate("expired"),
    ),
    _both(
        "tunnel-down-and-secret-in-git",
        "overlay.down",
        "posture.secret-in-git",
        faults.tunnel_down("a"),
        services.committed_token(),
    ),
    _both(
        "split-dns-and-shared-token",
        "control.dns-split",
        "posture.shared-token",
        services.resolvers(
            ResolverPlan(FIRST_RESOLVER, _NAMED),
            ResolverPlan(SECOND_RESOLVER, {CONTROL_NAME: (underlay_address("c", 4),)}),
        ),
        services.one_token(),
        exit_code=0,
    ),
    _both(
        "spent-and-unknown-token",
        "enroll.bootstrap-spent",
        "enroll.unauthorized",
        services.bearer("unknown"),
        services.bootstrap_token("spent"),
    ),
    _both(
        "open-and-exposed",
        "posture.open",
        "posture.exposed",
        services.guards("none"),
        services.bootstrap_token("none"),
        services.listens_everywhere(),
        routes.public_endpoint("a", of="c"),
    ),
    _both(
        "black-hole-and-token-nebula",
        "mtu.black-hole forward",
        "enroll.unauthorized",
        _NEBULA,
        *faults.black_hole("a", "b"),
        services.bearer("unknown"),
    ),
)

SCENARIOS = {scenario.name: scenario for scenario in _ALL}


def scenario_called(name: str) -> Scenario | None:
    """A scenario, or a topology with nothing wrong in it; None if there is neither."""
    if name in TOPOLOGIES:
        return _healthy(name, TOPOLOGIES[name].summary, topology=name)
    return SCENARIOS.get(name)
