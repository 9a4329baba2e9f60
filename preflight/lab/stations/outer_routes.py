"""Faults of a node's routes to the remote end of its tunnel, and of the neighbours on its uplink."""

from dataclasses import replace
from typing import TYPE_CHECKING

from preflight.lab.axes.setup import Setup
from preflight.lab.names import ROUTER, LabError
from preflight.lab.part import Part
from preflight.lab.stations import outside
from preflight.lab.stations import outside_proofs as proofs
from preflight.lab.stations.fault import Fault
from preflight.lab.stations.outside import family_of, ip, leaving
from preflight.lab.stations.sides import OTHER, on_both_sides
from preflight.lab.stations.words import at_sender, dead, watches_outside
from preflight.lab.topology import gateway_address
from preflight.lab.truth import Deciding, Place, Truth

if TYPE_CHECKING:
    from collections.abc import Callable

    from preflight.lab.network import Network
    from preflight.lab.stations.proofs import Proof

_NOWHERE = "02:00:00:00:00:99"
"""The hardware address of nobody in a lab."""


# No way out


def _no_default(network: "Network", node: str) -> None:
    version = "-6" if ":" in leaving(network, node).address else "-4"
    ip(network, node, version, "route", "del", "default")


def _uplink_down(network: "Network", node: str) -> None:
    ip(network, node, "link", "set", leaving(network, node).device, "down")


def _unplugged(network: "Network", node: str) -> None:
    where, device = other_end(network, node, leaving(network, node).device)
    ip(network, where, "link", "set", device, "down")


def other_end(network: "Network", node: str, device: str) -> tuple[str, str]:
    """The node and the device at the other end of a link. Raises LabError if no router has it."""
    own, gateways = outside.links(network, node)[device], network.plan.gateways
    where = gateways[0] if node == "a" and gateways else ROUTER
    for name, link in outside.links(network, where).items():
        if link["ifindex"] == own.get("link_index"):
            return where, name
    raise LabError(f"nobody is at the other end of {node}'s {device}")


# A way to nowhere


def _loop(network: "Network", node: str) -> None:
    way, to = leaving(network, node), outside.endpoint_text(network, node)
    ip(network, node, "route", "replace", way.host, "dev", outside.tunnel_to_remote_end(network, node))
    if network.plan.product == "wireguard":
        # wireguard-go answers by the device that it was called on, whatever the route says: b must not call.
        outside.forget(network, OTHER[node])
        outside.forget(network, node, to)


def _blackhole(network: "Network", node: str) -> None:
    ip(network, node, "route", "replace", "blackhole", leaving(network, node).host)


def _prohibited(network: "Network", node: str) -> None:
    way = leaving(network, node)
    version = "-6" if ":" in way.address else "-4"
    words = ["rule", "add", "to", way.host, "ipproto", "udp", *way.dport, "prohibit"]
    ip(network, node, version, *words)


def _dead_host_route(network: "Network", node: str) -> None:
    way = leaving(network, node)
    gateway = proofs.nobody(way)
    ip(network, node, "route", "replace", way.host, "via", gateway, "dev", way.device, "onlink")


def _dead_default(network: "Network", node: str) -> None:
    way = leaving(network, node)
    gateway = proofs.nobody(way)
    version = "-6" if ":" in gateway else "-4"
    ip(network, node, version, "route", "replace", "default", "via", gateway, "dev", way.device, "onlink")


def _wrong_neighbour(network: "Network", node: str) -> None:
    way = leaving(network, node)
    words = ["neigh", "replace", way.gateway or way.address, "lladdr", _NOWHERE, "dev", way.device, "nud", "permanent"]
    ip(network, node, *words)


# What is true then


def _endpoint(network: "Network") -> str:
    return outside.endpoint_text(network, "a")


def _uplink(network: "Network") -> str:
    return proofs.leaves(network, "a").device


def _neighbour(network: "Network") -> str:
    way = leaving(network, "a")
    return way.gateway or way.address


def _gateway(network: "Network") -> str:
    return leaving(network, "a").gateway


_GATEWAY = Deciding("gateway", _gateway)
_NONE = Deciding("route_type", "none")
_INTERFACE = Deciding("interface", _uplink)


def _link_is_down() -> "Callable[[Setup, str], Truth]":
    """Nothing leaves and nothing comes in, and everyone may look at this node's links.

    A command switches a link on, and plugs no cable in. The routes of the link, and all that was known of its
    neighbours, went with it: by which gateway its default route led, nobody here can say any more.
    """

    def expected(setup: Setup, node: str) -> Truth:
        if node == "b":
            return dead(setup, "round-trip", where="peer")
        less = ("reach.unreachable", "overlay.no-handshake")
        place = Place("packet", "route-outer")
        return Truth("host.uplink-down", "b", place=place, deciding=_INTERFACE, vague=less)

    return expected


def _unplugged_is(setup: Setup, node: str) -> Truth:
    """The router's end of the link is off, and with it its route: it says so to the one that sends there."""
    plan = outside.plan_of(setup)
    if node == "b" and outside.remote_end(plan) == "b" and watches_outside(setup):
        place = Place("packet", "network", "network")
        refuses = Deciding("offender", gateway_address("a", family_of(plan)))
        return dead(setup, "forward", place=place, deciding=refuses, proven=True, heals="nothing", where="peer")
    return _link_is_down()(setup, node)


def _may_read_its_end(setup: Setup) -> bool:
    """Whether not only root knows where the tunnel's packets go: all may read the forwarding table of a VXLAN."""
    return setup.product == "vxlan"


def _gateway_is_dead(
    deciding: Deciding, *, everything: bool = False, public: "Callable[[Setup], bool]" = _may_read_its_end
) -> "Callable[[Setup, str], Truth]":
    """The gateway does not answer. everything, public: as for `at_sender`.

    Who does not know the endpoint cannot know whether it is on the link, or of the other family of addresses.
    """

    def expected(setup: Setup, node: str) -> Truth:
        truth = at_sender(setup, node, "neighbour", deciding, everything=everything, public=public(setup))
        if node == "b" or truth.place is None:
            return truth
        return replace(truth, code="host.gateway-dead", vague=("reach.unreachable", truth.code))

    return expected


def _static_is(setup: Setup, node: str) -> Truth:
    """That another machine has the gateway's address only a raw socket can ask; a person's entry may be right."""
    deciding = Deciding("neighbour", _neighbour)
    return _gateway_is_dead(deciding, everything=True, public=lambda _: False)(setup, node)


def _no_way_around(setup: Setup, node: str) -> str | None:
    if setup.outer == "ipv6":
        return "the kernel goes round a dead gateway of IPv6, by its default route"
    return outside.main_table(setup, node)


def _loop_is(setup: Setup, node: str) -> Truth:
    if node == "b" or not (setup.user == "root" or _may_read_its_end(setup)):
        return at_sender(setup, node, "route-outer")
    return Truth(
        "overlay.endpoint-loop",
        "b",
        place=Place("packet", "route-outer"),
        deciding=Deciding("endpoint", _endpoint),
        heals="command",
        vague=("reach.unreachable", "reach.no-forward"),
    )


def _blackhole_is(setup: Setup, node: str) -> Truth:
    # A strict filter finds no way back to where b's packets come from either.
    both = node == "b" and setup.filter == "strict" and outside.family_of(outside.plan_of(setup)) == 4
    public = _may_read_its_end(setup)
    return at_sender(setup, node, "route-outer", Deciding("route_type", "blackhole"), everything=both, public=public)


def _before(setup: Setup) -> tuple[Part, ...]:
    def inject(network: "Network") -> None:
        to = _endpoint(network)
        _uplink_down(network, "a")
        outside.forget(network, "a", to)

    return (Part("a's uplink was down before its tunnel started", inject=inject),)


def _never_had_an_uplink(setup: Setup) -> Truth:
    if setup.below != "none" and setup.user != "root":
        # The link below that carrier works, and who may not read the endpoint does not know whether it is there. The
        # tunnel tries too rarely for its packets without a route to be counted as its own.
        return dead(setup, "round-trip")
    return _link_is_down()(setup, "a")


def _has_sessions(setup: Setup) -> str | None:
    if setup.product != "wireguard":
        return "the lab starts the tunnels of WireGuard again, and no others"
    return outside.own_uplink(setup, "a") or ("the other uplink is up" if setup.uplinks != "one" else None)


def _one_uplink(setup: Setup, node: str) -> str | None:
    if node == "a" and setup.uplinks != "one":
        return "the other uplink is up"
    return outside.own_uplink(setup, node)


_ROUTE, _NEIGHBOUR = Place("packet", "route-outer"), Place("packet", "neighbour")


def _no_exit(setup: Setup, node: str) -> str | None:
    if node == "a" and setup.routes in ("default", "halves"):
        return "the exit, by the same tunnel, carries on what is for b's underlay address"
    if setup.product == "wireguard" and node == "b":
        return "wireguard-go answers by the device that it was called on"
    if setup.layout == "hub":
        return "the hub calls its spokes"
    return outside.main_table(setup, node)


def _cable(setup: Setup, node: str) -> str | None:
    if node == "a" and setup.below != "none":
        return "a's uplink is a tunnel, which has no cable"
    return _one_uplink(setup, node)


def _silent(node: str) -> "Proof":
    return proofs.dies_before_the_wire(node, OTHER[node])


def _refused(words: str) -> "Callable[[str], Proof]":
    def of(node: str) -> "Proof":
        return proofs.all_of(proofs.look_up(node, lambda found: words in found.get("error", "")), _silent(node))

    return of


def _looped(node: str) -> "Proof":
    look = proofs.look_up(node, lambda found: found.get("dev", "").startswith("pl-"))
    return proofs.all_of(look, _silent(node))


def _sent_to_nobody(node: str) -> "Proof":
    return proofs.all_of(proofs.dies_on_the_way(node, OTHER[node]), proofs.static_gateway(node))


def _own(
    station: str, deciding: Deciding, *, everything: bool = False, public: bool = False
) -> "Callable[[Setup, str], Truth]":
    """public: as for `at_sender`, whatever the product is."""

    def expected(setup: Setup, node: str) -> Truth:
        known = public or _may_read_its_end(setup)
        return at_sender(setup, node, station, deciding, everything=everything, public=known)

    return expected


FAULTS = (
    *on_both_sides(
        "route-outer",
        "no-default",
        "{node} has lost its default route",
        step=_no_default,
        expected=_own("route-outer", Deciding("route_type", "none"), everything=True, public=True),
        proof=_refused("unreachable"),
        excluded=outside.only_default,
        alone="a",
    ),
    *on_both_sides(
        "route-outer",
        "uplink-down",
        "{node}'s uplink has gone down while the session lived",
        step=_uplink_down,
        expected=_link_is_down(),
        proof=lambda node: proofs.all_of(proofs.uplink_lacks(node, "UP"), _silent(node)),
        excluded=_one_uplink,
        alone="a",
    ),
    *on_both_sides(
        "route-outer",
        "unplugged",
        "{node}'s uplink has no carrier",
        step=_unplugged,
        expected=_unplugged_is,
        proof=lambda node: proofs.all_of(proofs.uplink_lacks(node, "LOWER_UP"), _silent(node)),
        excluded=_cable,
        alone="a",
    ),
    *on_both_sides(
        "route-outer",
        "loop",
        "a host route on {node} leads the tunnel's own packets into the tunnel",
        step=_loop,
        expected=_loop_is,
        proof=_looped,
        excluded=_no_exit,
    ),
    *on_both_sides(
        "route-outer",
        "blackhole",
        "a blackhole route on {node} for the remote end of its tunnel",
        step=_blackhole,
        expected=_blackhole_is,
        proof=_refused("Invalid argument"),
        excluded=outside.main_table,
    ),
    *on_both_sides(
        "route-outer",
        "rule",
        "a policy rule on {node} prohibits the tunnel's UDP to its remote end",
        step=_prohibited,
        expected=_own("route-outer", Deciding("route_type", "prohibit")),
        proof=_refused("Permission denied"),
    ),
    *on_both_sides(
        "neighbour",
        "host-route",
        "{node} has a host route to its remote end by a gateway that is dead; its default route is fine",
        step=_dead_host_route,
        expected=_gateway_is_dead(_GATEWAY),
        proof=_silent,
        excluded=_no_way_around,
    ),
    *on_both_sides(
        "neighbour",
        "default",
        "{node}'s default route leads to a gateway that is dead",
        step=_dead_default,
        expected=_gateway_is_dead(_GATEWAY, everything=True),
        proof=_silent,
        excluded=outside.only_default,
        alone="a",
    ),
    *on_both_sides(
        "neighbour",
        "static",
        "a static entry on {node} gives its gateway a hardware address that nobody has",
        step=_wrong_neighbour,
        expected=_static_is,
        proof=_sent_to_nobody,
        alone="a",
    ),
    Fault(
        name="route-outer-uplink-down-before",
        summary="a's uplink was down before its tunnel started",
        place=_ROUTE,
        made=_before,
        expected=_never_had_an_uplink,
        proof=proofs.all_of(proofs.uplink_lacks("a", "UP"), proofs.never_shook_hands("a")),
        excluded=_has_sessions,
        alone=True,
    ),
)
