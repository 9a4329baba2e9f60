"""The fault matrix as data: each row is a set-up and its faults under a name, and the expected diagnosis."""

from dataclasses import dataclass

from preflight.lab import faults, mesh, services
from preflight.lab.axes.setup import Setup
from preflight.lab.blueprint import Blueprint
from preflight.lab.draws import Draw
from preflight.lab.part import Part, planned
from preflight.lab.stations.asks import labelled
from preflight.lab.topology import TOPOLOGIES
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
    """What is built and run, and what must come of it.

    faults: the parts of its set-up, and of what is broken. expected: diagnoses that are right in the first place, the
    best first; empty: nothing is wrong. also: further root causes that must follow it, in the order of repair. maybe:
    codes of further faults, so small that a run may miss them. exit_code: what preflight must end with, None if it does
    not matter. definition: the text of its file. draw: the set-up and the faults of the catalogue that it is made of;
    each proves that it is there. by_truth: what they say is true counts, and not `expected`.
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
    by_truth: bool = False

    def plan(self) -> Blueprint:
        """The plan to build, including the mistakes in it."""
        plan = Blueprint(TOPOLOGIES[self.topology])
        for fault in self.faults:
            plan = fault.shape(plan)
        return plan

    @property
    def is_broken(self) -> bool:
        """Whether something is wrong in it."""
        return bool(self.expected or (self.draw is not None and self.draw.faults))

    @property
    def silent(self) -> frozenset[str]:
        """Codes that its set-up gives although nothing is broken, and that it does not expect."""
        given = self.draw.silent() if self.draw else frozenset[str]()
        return given - {each.code for each in self.expected}

    @property
    def loopback(self) -> bool:
        """Whether it works without root."""
        return all(fault.loopback for fault in self.faults)


PLAIN = Setup()


def _row(
    name: str,
    drawn: Draw,
    more: tuple[Part, ...] = (),
    *,
    summary: str = "",
    topology: str = "pair",
    expected: tuple[Expected, ...] = (),
    also: tuple[Expected, ...] = (),
    exit_code: int | None = 0,
    maybe: tuple[str, ...] = (),
) -> Scenario:
    """more: what no axis and no fault makes."""
    said = "; ".join([*(fault.summary for fault in drawn.made()), *(part.summary for part in more)])
    return Scenario(
        name,
        summary or said,
        "hub" if drawn.setup.layout == "hub" else topology,
        (*drawn.parts(), *more),
        expected,
        exit_code,
        also,
        maybe,
        draw=drawn,
    )


def _healthy(name: str, summary: str, *more: Part, on: Setup = PLAIN, topology: str = "pair") -> Scenario:
    return _row(name, Draw(on), more, summary=summary, topology=topology)


def _broken(
    name: str,
    code: str,
    *faulty: str,
    on: Setup = PLAIN,
    more: tuple[Part, ...] = (),
    direction: str | None = None,
    topology: str = "pair",
    exit_code: int | None = 1,
    maybe: tuple[str, ...] = (),
) -> Scenario:
    """`code` may list several right ones, separated by spaces. faulty: names in the catalogue."""
    expected = tuple(Expected(each, direction) for each in code.split())
    return _row(name, Draw(on, faulty), more, topology=topology, expected=expected, exit_code=exit_code, maybe=maybe)


def _both(name: str, first: str, second: str, *faulty: str, on: Setup = PLAIN, exit_code: int | None = 1) -> Scenario:
    """Two faults at once. Each diagnosis is `CODE` or `CODE DIRECTION`, in the order of repair."""
    codes = [Expected(code, direction or None) for code, _, direction in (d.partition(" ") for d in (first, second))]
    return _row(name, Draw(on, faulty), expected=(codes[0],), also=(codes[1],), exit_code=exit_code)


_TLS = Setup(transport="tls")
_NAMED = Setup(control="dns")
_FAR = Setup(delay="far")
_HUB = Setup(layout="hub")
_AT_B = Setup(home="peer")
_ALONE = Setup(responder="absent")
_INSIDE_V6 = Setup(families="ipv6")
_OUTSIDE_V6 = Setup(outer="ipv6")
_VXLAN = Setup(product="vxlan")
_NEBULA = Setup(product="nebula", families="ipv4")
_OPENVPN = Setup(product="openvpn")

_NO_KEEPALIVE = planned("there is no keepalive", keepalive_s=0)
_PROBES_FILTERED = faults.drop_in("c", "a", f"udp dport {RESPONDER_PORT}")
_LONG_JOIN = labelled("a's join is longer than a segment", [f"pool=inference-{number:04}" for number in range(100)])


def _of_product(product: str) -> tuple[Scenario, ...]:
    """The rows of a product other than WireGuard: healthy near and far, over each family that it carries."""
    rows = []
    for family in ("ipv4",) if product == "nebula" else ("ipv4", "ipv6"):
        name = f"healthy-{product}{'-v6' if family == 'ipv6' else ''}"
        near, far = (Setup(product=product, families=family, delay=delay) for delay in ("none", "far"))
        rows += [_healthy(name, f"{product} instead of WireGuard", on=near)]
        rows += [_healthy(f"{name}-80ms", f"{product} over 80 ms of round-trip time", on=far)]
    return tuple(rows)


_ALL = (
    _healthy("healthy", "no fault"),
    _healthy("healthy-v6", "an overlay with IPv6 only", on=_INSIDE_V6),
    _healthy("healthy-underlay-v6", "a tunnel whose own packets are IPv6", on=_OUTSIDE_V6),
    _healthy("healthy-hub", "a and b talk through c", on=_HUB),
    _healthy("healthy-solo", "b hosts the control plane too", on=_AT_B, topology="solo"),
    _healthy("healthy-tls", "the control plane speaks TLS", on=_TLS),
    _healthy("healthy-silent", "no keepalive, and no NAT", _NO_KEEPALIVE),
    _healthy("healthy-dns", "the control plane has a name", on=_NAMED),
    _healthy("healthy-v6-80ms", "80 ms inside an IPv6-only overlay", on=Setup(families="ipv6", delay="far")),
    _healthy("healthy-80ms", "80 ms of round-trip time", on=_FAR),
    _healthy("healthy-mesh", "five hundred peers", mesh.mesh(500)),
    _healthy("healthy-strict", "strict reverse-path filters everywhere", on=Setup(filter="strict")),
    # the overlay on a
    _broken("interface-missing", "overlay.absent", "tunnel-missing"),
    _broken("interface-down", "overlay.down", "tunnel-down"),
    _broken("wrong-key", "overlay.no-handshake", "session-stale-key"),
    _broken("underlay-udp-blocked", "overlay.no-handshake", "network-blocked"),
    _broken("peer-gone", "reach.unreachable overlay.handshake-stale", "socket-outer-gone-b"),
    _broken("allowed-ips", "overlay.allowed-ips", "session-not-allowed"),
    _broken("config-drift", "overlay.config-drift", "tunnel-older-file", exit_code=0),
    _broken("route-leak", "overlay.route-leak", "route-to-uplink"),
    _broken("route-leak-strict", "overlay.route-leak", "route-to-uplink", on=Setup(filter="strict")),
    _broken("route-leak-udp", "overlay.route-leak", "route-udp-to-uplink", on=_INSIDE_V6, direction="forward"),
    _broken("subnet-conflict", "overlay.subnet-conflict", "route-subnet"),
    _broken("mtu-too-big", "overlay.mtu-too-big", "tunnel-too-large"),
    # reachability
    _broken("drop-forward", "reach.no-forward", "input-drop", direction="forward"),
    _broken("drop-reverse", "reach.no-reverse", "filter-out-drop-answers", direction="reverse"),
    _broken("drop-local", "host.firewall-drop", "input-drop-answers", direction="reverse"),
    # The path to the control plane is dead too: b's hellos show the direction, if they get through.
    _broken("solo-drop", "reach.no-forward", "input-drop", on=_AT_B, direction="forward", topology="solo"),
    _broken(
        "solo-drop-reverse",
        "reach.unreachable",
        "filter-out-drop-answers",
        on=_AT_B,
        direction="round-trip",
        topology="solo",
    ),
    _broken("icmp-filtered", "reach.icmp-filtered", "input-echo", exit_code=0),
    _broken("loss-forward", "udp.loss reach.loss", "network-loss-forward", direction="forward", exit_code=None),
    _broken("loss-reverse", "udp.loss reach.loss", "network-loss-reverse", direction="reverse", exit_code=None),
    _broken("reordering", "udp.reordering", "network-reordering-forward", direction="forward", exit_code=0),
    _broken("duplication", "udp.duplication", "network-twice", on=_HUB, direction="forward", exit_code=0),
    _broken("jitter", "udp.jitter", "network-jitter-reverse", direction="reverse", exit_code=0),
    _broken("deep-queue", "perf.bufferbloat", "network-deep-queue-forward", direction="forward", exit_code=0),
    _broken("load-off", "perf.responder-load-off", "socket-no-load", exit_code=3),
    _broken("rp-filter", "host.rp-filter", "rp-second-path", direction="forward"),
    _broken("rp-filter-leak", "host.rp-filter", "rp-leak", direction="forward"),
    _broken("route-leak-peer", "overlay.route-leak", "route-to-uplink-answers", direction="reverse"),
    _broken("second-path-strict-here", "overlay.route-leak", "rp-second-path-answers", direction="reverse"),
    _broken("asymmetric-route", "reach.asymmetric", "route-second-path-answers", direction="reverse", exit_code=0),
    _broken(
        "asymmetric-route-v6",
        "reach.asymmetric",
        "route-second-path-answers",
        on=_INSIDE_V6,
        direction="reverse",
        exit_code=0,
    ),
    _broken("nat-timeout", "overlay.no-keepalive udp.nat-timeout", "network-nat-timeout", exit_code=0),
    _broken("mesh-silent", "reach.unreachable", more=(mesh.mesh(100), mesh.silent(7, 50, 99))),
    _broken("overlay-nat", "overlay.translated", "forward-translated", on=_HUB, direction="forward", exit_code=0),
    # path MTU
    _broken("mtu-reduced", "mtu.reduced", "network-reduced", exit_code=0),
    _broken("black-hole-forward", "mtu.black-hole", "network-narrow-forward", direction="forward"),
    _broken("black-hole-reverse", "mtu.black-hole", "network-narrow-reverse", direction="reverse"),
    _broken("black-hole-both", "mtu.black-hole", "network-narrow-both", direction="round-trip"),
    _broken(
        "black-hole-lossy",
        "mtu.black-hole",
        "network-narrow-both",
        more=(faults.random_loss("a", "b", 2), faults.random_loss("b", "a", 2)),
        direction="round-trip",
        maybe=("udp.loss", "reach.loss"),  # 2 %, and the limit is 1 %
    ),
    _broken("black-hole-far", "mtu.black-hole", "network-large-both", on=_FAR, direction="round-trip"),
    _broken("black-hole-hub", "mtu.black-hole", "network-narrow-behind", on=_HUB, direction="forward"),
    _broken("black-hole-v6", "mtu.black-hole", "network-narrow-both", on=_INSIDE_V6, direction="round-trip"),
    _broken("black-hole-underlay-v6", "mtu.black-hole", "network-narrow-both", on=_OUTSIDE_V6, direction="round-trip"),
    _broken("mtu-reduced-v6", "mtu.reduced", "network-reduced", on=_INSIDE_V6, exit_code=0),
    _broken("mtu-reduced-underlay-v6", "mtu.reduced", "network-reduced", on=_OUTSIDE_V6, exit_code=0),
    # the path MTU as one side alone can measure it
    _broken("healthy-no-responder", "run.needs-responder", on=_ALONE, exit_code=3),
    _broken("black-hole-no-responder", "mtu.black-hole", "network-narrow-both", on=_ALONE, direction="forward"),
    _broken(
        "black-hole-reverse-no-responder", "mtu.black-hole", "network-narrow-reverse", on=_ALONE, direction="reverse"
    ),
    # with the control plane on b, mtu.tcp finds the black hole too
    _broken(
        "black-hole-solo", "mtu.black-hole", "network-narrow-forward", on=_AT_B, direction="forward", topology="solo"
    ),
    # c is not a peer, and its probe port is filtered: only TCP to the control plane shows it
    *(
        _broken(
            f"black-hole-tcp-{direction}",
            "mtu.black-hole",
            f"network-narrow-control-{direction}",
            more=(_PROBES_FILTERED,),
            direction=direction,
        )
        for direction in ("forward", "reverse")
    ),
    _broken(
        "black-hole-enroll", "mtu.black-hole", "network-narrow-control-forward", more=(_LONG_JOIN,), direction="forward"
    ),
    # the control URL
    _broken("url-lan", "control.url-off-overlay", "route-lan"),
    _broken("url-bind-all", "control.url-bind-all", "source-bind-all"),
    _broken("url-missing", "control.url-missing", "source-missing"),
    _broken("control-refused", "control.refused", "connect-refused"),
    _broken("control-drop", "control.timeout", "connect-silent"),
    _broken("control-hang", "control.timeout", "answer-hang"),
    _broken("dns-nxdomain", "control.dns-nxdomain", "name-nxdomain", on=_NAMED),
    _broken("dns-timeout", "control.dns-timeout", "name-silent", on=_NAMED),
    _broken("dns-split", "control.dns-split", "name-split", on=_NAMED),
    _broken("dead-aaaa", "control.address-family", "connect-family", on=_NAMED, exit_code=None),
    _broken("tls-expiring", "control.tls-expiring", "tls-expiring", on=_TLS, exit_code=0),
    _broken("tls-expired", "control.tls-expired", "tls-expired", on=_TLS),
    _broken("tls-untrusted", "control.tls-untrusted", "tls-untrusted", on=_TLS),
    _broken("tls-name", "control.tls-name", "tls-name", on=_TLS),
    _broken("tls-none-off-overlay", "control.plain-http", "route-outside", on=_NAMED),
    _broken("not-populi", "control.not-populi", "server-another-site"),
    _broken("redirect", "control.redirected", "server-redirect"),
    _broken("unhealthy", "control.unhealthy", "server-unhealthy"),
    _healthy("throttled", "the control plane answers 429 first, then works", services.drill("throttle")),
    _healthy("restart", "the control plane is killed during the enrolment, and restarts", services.dies_once()),
    _broken("clock-skew", "control.clock-skew", "answer-clock"),
    _broken("slow-control", "control.slow", "network-slow-control", exit_code=0),
    # enrolment
    _broken("bootstrap-spent", "enroll.bootstrap-spent", "token-spent"),
    _broken("bootstrap-invalid", "enroll.bootstrap-invalid", "token-invalid"),
    _broken("bootstrap-disabled", "enroll.bootstrap-disabled", "token-disabled"),
    _broken("bootstrap-expired", "enroll.bootstrap-spent", "token-expired"),
    _broken("scope-mismatch", "enroll.scope-mismatch", "scope-other"),
    _broken("token-unknown", "enroll.unauthorized", "bearer-unknown"),
    _broken("token-submitter", "enroll.forbidden", "bearer-submitter"),
    _broken("heartbeat-lost", "enroll.heartbeat-failed", "answer-heartbeat-500"),
    # posture
    _broken("open-server", "posture.open", "posture-open"),
    _broken("one-token-for-all", "posture.shared-token", "posture-shared-token", exit_code=0),
    _broken("scope-open", "posture.scope-open", "posture-scope-open"),
    _broken("exposed", "posture.exposed", "posture-exposed"),
    _broken("token-in-compose", "posture.secret-in-git", "posture-secret-in-git"),
    # the cluster
    _healthy("healthy-cluster", "the cluster has working nodes", on=Setup(cluster="working")),
    _broken("stale-node", "nodes.stale", "nodes-stale", exit_code=0),
    _broken("quarantined-self", "nodes.quarantined", "nodes-quarantined"),
    _broken("draining-self", "nodes.draining", "nodes-draining", exit_code=0),
    _broken("version-skew", "nodes.version-skew", "nodes-version-skew", exit_code=0),
    _broken("duplicate-address", "nodes.duplicate-address", "nodes-duplicate-address", exit_code=0),
    # other products
    *_of_product("vxlan"),
    *_of_product("nebula"),
    *_of_product("openvpn"),
    _broken("black-hole-nebula", "mtu.black-hole", "network-narrow-forward", on=_NEBULA, direction="forward"),
    _broken("fragments-vxlan", "mtu.reduced", "network-narrow-forward", on=_VXLAN, direction="forward", exit_code=0),
    _broken("black-hole-openvpn", "mtu.black-hole", "network-narrow-forward", on=_OPENVPN, direction="forward"),
    _broken("drop-reverse-nebula", "reach.no-reverse", "filter-out-drop-answers", on=_NEBULA, direction="reverse"),
    _broken("drop-forward-vxlan", "reach.no-forward", "input-drop", on=_VXLAN, direction="forward"),
    _broken("no-echo-openvpn", "reach.icmp-filtered", "input-echo", on=_OPENVPN, exit_code=0),
    _broken("plugin-broken", "run.plugin-broken", "run-plugin-incomplete", exit_code=0),
    # two at once: both are named, the one to repair first comes first
    _both(
        "black-hole-and-scope",
        "mtu.black-hole forward",
        "enroll.scope-mismatch",
        "network-narrow-forward",
        "scope-other",
    ),
    _both(
        "wrong-key-and-tls", "overlay.no-handshake", "control.tls-expired", "session-stale-key", "tls-expired", on=_TLS
    ),
    _both(
        "drop-reverse-and-url-lan",
        "reach.unreachable round-trip",
        "control.url-off-overlay",
        "filter-out-drop-answers",
        "route-lan",
    ),
    _both("loss-and-spent-token", "udp.loss reverse", "enroll.bootstrap-spent", "network-loss-reverse", "token-spent"),
    _both(
        "black-hole-and-loss",
        "mtu.black-hole forward",
        "udp.loss reverse",
        "network-narrow-forward",
        "network-loss-reverse",
    ),
    _both(
        "black-hole-and-heartbeats",
        "mtu.black-hole forward",
        "enroll.heartbeat-failed",
        "network-narrow-control-forward",
        "answer-heartbeat-500",
    ),
    _both(
        "wrong-key-and-control-drop", "overlay.no-handshake", "control.timeout", "session-stale-key", "connect-silent"
    ),
    _both(
        "own-firewall-and-tls",
        "host.firewall-drop reverse",
        "control.tls-expired",
        "input-drop-answers",
        "tls-expired",
        on=_TLS,
    ),
    _both(
        "tunnel-down-and-secret-in-git", "overlay.down", "posture.secret-in-git", "tunnel-down", "posture-secret-in-git"
    ),
    _both(
        "split-dns-and-shared-token",
        "control.dns-split",
        "posture.shared-token",
        "name-split-behind",
        "posture-shared-token",
        on=_NAMED,
        exit_code=0,
    ),
    _both("spent-and-unknown-token", "enroll.bootstrap-spent", "enroll.unauthorized", "bearer-unknown", "token-spent"),
    _both("open-and-exposed", "posture.open", "posture.exposed", "posture-open", "posture-exposed"),
    _both(
        "black-hole-and-token-nebula",
        "mtu.black-hole forward",
        "enroll.unauthorized",
        "network-narrow-forward",
        "bearer-unknown",
        on=_NEBULA,
    ),
)

SCENARIOS = {scenario.name: scenario for scenario in _ALL}


def scenario_called(name: str) -> Scenario | None:
    """A scenario, or a topology with nothing wrong in it; None if there is neither."""
    if name in TOPOLOGIES:
        return Scenario(name, TOPOLOGIES[name].summary, name, exit_code=0)
    return SCENARIOS.get(name)
