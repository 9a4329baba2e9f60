"""Faults of the network between the tunnel's two ends that stop packets: all, refused ones, or those of one kind."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from preflight.lab import faults
from preflight.lab.axes.setup import Setup
from preflight.lab.names import ROUTER
from preflight.lab.part import Part, Step
from preflight.lab.stations import outside, outside_packets
from preflight.lab.stations import outside_proofs as proofs
from preflight.lab.stations.fault import Fault
from preflight.lab.stations.outside import Dead, family_of, on_the_way, plan_of, port_of, remote_end
from preflight.lab.stations.words import dead, never_up, observed
from preflight.lab.topology import gateway_address
from preflight.lab.truth import Deciding, Place, Truth

if TYPE_CHECKING:
    from preflight.lab.network import Network
    from preflight.lab.stations.proofs import Proof

PLACE = Place("packet", "network", "network")
_ENDS: dict[Dead, tuple[tuple[str, str], ...]] = {
    "forward": (("a", "b"),),
    "reverse": (("b", "a"),),
    "round-trip": (("a", "b"), ("b", "a")),
}
_WAYS: dict[Dead, tuple[Dead, ...]] = {
    "forward": ("forward",),
    "reverse": ("reverse",),
    "round-trip": ("forward", "reverse"),
}
_SAID: dict[Dead, str] = {"forward": "from a", "reverse": "to a", "round-trip": "from a and to a"}


def on_the_router(direction: Dead, rule: "Callable[[Network], str]") -> Step:
    """A rule in the router's forward chain for what passes between a and its remote end in a direction."""

    def inject(network: "Network") -> None:
        matches = (on_the_way(network.plan, each) for each in _WAYS[direction])
        network.nft(ROUTER, *(f"forward {match} {rule(network)}" for match in matches))

    return inject


def ways(direction: Dead, proof: "Callable[[str, str], Proof]") -> "Proof":
    """A proof for each way that the fault strikes."""
    return proofs.all_of(*(proof(*ends) for ends in _ENDS[direction]))


def _one_way(direction: Dead, proof: "Callable[[str, str], Proof]") -> "Proof":
    """It strikes these ways, and the other one, if there is another, is whole."""
    others = [ends for each, (ends, *more) in _ENDS.items() if not more and each not in _WAYS[direction]]
    return proofs.all_of(ways(direction, proof), *(proofs.passes(*ends) for ends in others))


def _part(summary: str, inject: Step) -> Callable[[Setup], tuple[Part, ...]]:
    return lambda setup: (Part(summary, inject=inject),)


def wireguard_only(setup: Setup) -> str | None:
    """For a fault of WireGuard's handshakes."""
    return None if setup.product == "wireguard" else "only WireGuard's packets are known by their first byte"


# Only large ones


def _large(direction: Dead) -> Fault:
    rule = on_the_router(direction, lambda network: f"meta length > {proofs.narrow(network.plan)} drop")
    summary = f"large packets {_SAID[direction]} vanish, and nobody says so"
    name = direction if direction != "round-trip" else "both"
    return Fault(
        name=f"network-large-{name}",
        summary=summary,
        place=PLACE,
        made=_part(summary, rule),
        expected=lambda setup: large_is(setup, direction),
        proof=ways(direction, proofs.large_ones_die),
    )


def large_is(setup: Setup, direction: Dead) -> Truth:
    """Plain packets to the endpoint vanish at the same size, which only root can compare: that places what a sends.

    A container has no uplink, so it can compare nothing, and does not see at its host's uplink what arrives. What b
    sends is seen at b's own uplink by its observers only. Without a responder b's host refuses what comes to a
    closed port, which proves the way there alone; where it refuses nothing, nobody says which way is dead.
    """
    refuses = setup.responder == "absent" or (setup.responder == "keyless" and setup.firewall == "open")
    if not setup.keyed and not refuses:
        direction = "round-trip"
    elif not setup.keyed and direction == "round-trip":
        direction = "forward"
    compares = setup.user == "root" and outside.own_uplink(setup, "a") is None
    seen = compares and (direction == "forward" or observed(setup, outer=True))
    return Truth("mtu.black-hole", "b", direction, place=PLACE if seen else None, heals="command")


def _reduced(setup: Setup) -> tuple[Part, ...]:
    plan = plan_of(setup)
    end, size = remote_end(plan), proofs.narrow(plan)
    return faults.underlay_mtu("a", end, size), faults.underlay_mtu(end, "a", size)


def no_narrow_link(setup: Setup) -> str | None:
    """Why no link of a set-up can carry less."""
    if setup.delay != "none":
        return "the lab's bad links and narrow routes need the same rules of the router"
    if setup.outer == "ipv6" and setup.uplinks != "one":
        return "the kernel notes the size at the route of one of its tables, and sends by another"
    narrow_v6 = proofs.narrow(plan_of(setup)) < _LEAST_V6 and setup.outer == "ipv6"
    return "IPv6 needs 1280 bytes" if narrow_v6 else None


def _reduced_is(setup: Setup) -> Truth:
    # A tunnel that is made as small as the link has no IPv6 any more: then only a larger link heals.
    large = proofs.narrow(plan_of(setup)) >= _LEAST_V6 + _AROUND[setup.outer == "ipv6"]
    return Truth("mtu.reduced", "b", heals="command" if large else "nothing", warns=True)


_LEAST_V6 = 1280
_AROUND = {False: 60, True: 80}
"""Bytes that WireGuard, which adds most, has around what is inside: over IPv4, over IPv6."""


# Nothing


def _silent(direction: Dead) -> Fault:
    name = direction if direction != "round-trip" else "both"
    summary = f"the router drops the tunnel's packets {_SAID[direction]}"
    return Fault(
        name=f"network-silent-{name}",
        summary=summary,
        place=PLACE,
        made=_part(summary, on_the_router(direction, lambda network: "drop")),
        expected=lambda setup: dead(setup, direction, heals="nothing", where="router"),
        proof=_one_way(direction, proofs.dies_between),
    )


def _before(direction: Dead, verdict: str) -> Step:
    """The router does it from before the first handshake: both ends have forgotten their sessions."""

    def inject(network: "Network") -> None:
        places = {node: outside.endpoint_text(network, node) for node in ("a", "b")}
        on_the_router(direction, lambda network: verdict)(network)
        for node, place in places.items():
            outside.forget(network, node, place)

    return inject


def _before_excluded(setup: Setup) -> str | None:
    if setup.product != "wireguard":
        return "the lab starts the tunnels of WireGuard again, and no others"
    if outside.through_a_third(setup):
        return "the hub has no endpoint of a that it could call"
    return "nobody can call a through a translation" if setup.nat != "none" else None


def _blocked(network: "Network") -> None:
    """No UDP passes, from before every first handshake."""
    network.nft(ROUTER, "forward meta l4proto udp drop")
    for node in network.plan.topology.members:
        network.configure_tunnel(node)


def _wireguard_starts(setup: Setup) -> str | None:
    return None if setup.product == "wireguard" else "the lab starts the tunnels of WireGuard again, and no others"


_REFUSES = {"prohibited": "admin-prohibited", "port": "port-unreachable"}


def _router(setup: Setup) -> str:
    return gateway_address("a", family_of(plan_of(setup)))


def _refused_is(setup: Setup) -> Truth:
    refuses = Deciding("offender", _router(setup))
    return dead(setup, "forward", place=PLACE, deciding=refuses, proven=True, heals="nothing", where="router")


def _refused(what: str) -> Fault:
    summary = f"the router refuses a's packets with {_REFUSES[what]}"
    return Fault(
        name=f"network-refused-{what}",
        summary=summary,
        place=PLACE,
        made=_part(summary, on_the_router("forward", lambda network: f"reject with icmpx {_REFUSES[what]}")),
        expected=_refused_is,
        proof=proofs.all_of(_one_way("forward", proofs.dies_between), outside_packets.refused_by()),
    )


def _never_up(direction: Dead | None, *, refused: bool = False) -> Callable[[Setup], Truth]:
    def expected(setup: Setup) -> Truth:
        refuses = Deciding("offender", _router(setup)) if refused else None
        place = PLACE if refused else None
        return never_up(setup, direction=direction, place=place, deciding=refuses, heals="nothing", where="router")

    return expected


# What is selected


def _only_data(direction: Dead) -> Fault:
    """In a session of before: WireGuard's next handshake, which shows it, comes 15 s later, behind the end of a run."""
    name = direction if direction != "round-trip" else "both"
    summary = f"handshakes pass, and data {_SAID[direction]} does not"
    return Fault(
        name=f"network-data-{name}",
        summary=summary,
        place=PLACE,
        made=_part(summary, on_the_router(direction, lambda network: f"udp dport > 0 {_FIRST_BYTE} 4 drop")),
        expected=lambda setup: dead(setup, direction, heals="nothing", where="router"),
        proof=proofs.all_of(_one_way(direction, proofs.dies_between), outside_packets.passes_outside(_INITIATION)),
        excluded=wireguard_only,
    )


_FIRST_BYTE = "@th,64,8"
_INITIATION = b"\1\0\0\0"
"""How WireGuard's first message begins."""


def _old_flow(network: "Network") -> str:
    return f"udp sport {outside_packets.source_port(network)} udp dport {port_of(network.plan)} drop"


def _old_flow_excluded(setup: Setup) -> str | None:
    return "VXLAN has a source port for each flow in it" if setup.product == "vxlan" else None


FAULTS = (
    *(_large(direction) for direction in _ENDS),
    Fault(
        name="network-reduced",
        summary="a link between a and its remote end carries less, and ICMP says so",
        place=PLACE,
        made=_reduced,
        expected=_reduced_is,
        proof=outside_packets.narrower_than_the_uplink(),
        excluded=no_narrow_link,
    ),
    *(_silent(direction) for direction in _ENDS),
    Fault(
        name="network-silent-before",
        summary="the router has dropped the tunnel's packets since before the first handshake",
        place=PLACE,
        made=_part("the router drops the tunnel's packets from the start", _before("round-trip", "drop")),
        expected=_never_up(None),
        proof=proofs.never_shook_hands("a"),
        excluded=_before_excluded,
    ),
    Fault(
        name="network-silent-answers",
        summary="b calls, and the router has dropped a's answers since before the first handshake",
        place=PLACE,
        made=_part("the router drops a's packets from the start", _before("forward", "drop")),
        expected=_never_up("forward"),
        proof=proofs.all_of(proofs.never_shook_hands("a"), outside_packets.is_called()),
        excluded=_before_excluded,
    ),
    Fault(
        name="network-refused-answers",
        summary="b calls, and the router refuses a's packets: it has no entry for them",
        place=PLACE,
        made=_part(
            "the router refuses a's packets from the start",
            _before("forward", "reject with icmpx port-unreachable"),
        ),
        expected=_never_up("forward", refused=True),
        proof=proofs.all_of(proofs.never_shook_hands("a"), outside_packets.is_called(), outside_packets.refused_by()),
        excluded=_before_excluded,
    ),
    Fault(
        name="network-blocked",
        summary="the network has let no UDP pass since before the first handshake, from no member",
        place=PLACE,
        made=_part("the router drops all UDP from the start", _blocked),
        expected=_never_up(None),
        proof=proofs.all_of(proofs.never_shook_hands("a"), proofs.dies("a", "b"), proofs.dies("b", "a")),
        excluded=_wireguard_starts,
        alone=True,
    ),
    *(_refused(what) for what in _REFUSES),
    *(_only_data(direction) for direction in _ENDS),
    Fault(
        name="network-old-flow",
        summary="the router drops a's flow of before, and lets one from another port pass",
        place=PLACE,
        made=_part("the router drops a's old flow", on_the_router("forward", _old_flow)),
        expected=lambda setup: dead(setup, "forward"),
        proof=proofs.all_of(_one_way("forward", proofs.dies_between), outside_packets.passes_outside(b"")),
        excluded=_old_flow_excluded,
    ),
)
