"""Faults of links that carry less than the tunnel needs, where no ICMP says so: a black hole for large packets."""

import re
from typing import TYPE_CHECKING

from preflight.lab import faults
from preflight.lab.axes.setup import Setup
from preflight.lab.names import ROUTER
from preflight.lab.part import Part
from preflight.lab.processes import program, run
from preflight.lab.stations import outside_proofs
from preflight.lab.stations.fault import Fault, NotThereError
from preflight.lab.stations.network import PLACE, large_is, no_narrow_link, ways
from preflight.lab.stations.outside import Dead, plan_of, remote_end, through_a_third
from preflight.lab.stations.outside_proofs import narrow
from preflight.lab.stations.proofs import Proof, large_ones_die
from preflight.lab.truth import Truth
from preflight.lab.tunnels import in_the_kernel

if TYPE_CHECKING:
    from preflight.lab.network import Network

_HEADERS = 48
"""Of IPv6 and UDP: a datagram that is smaller than the tunnel's MTU by them fits into it."""
_MUTE = ("absent", "filtered")
"""Responders that say nothing of what they get."""
_SAID: dict[Dead, str] = {
    "forward": "from a to its remote end",
    "reverse": "from a's remote end to a",
    "round-trip": "between a and its remote end",
}


def _holes(setup: Setup, direction: Dead) -> tuple[Part, ...]:
    plan = plan_of(setup)
    end, size = remote_end(plan), narrow(plan)
    there, back = faults.black_hole("a", end, size), faults.black_hole(end, "a", size)
    return {"forward": there, "reverse": back, "round-trip": (*there, *back)}[direction]


def _fragmented(setup: Setup) -> bool:
    """Whether the router may cut the tunnel's own packets into fragments, so that none is lost.

    wireguard-go forbids it, unlike the kernel's WireGuard.
    """
    return _may_be_cut(setup.product) and setup.outer == "ipv4"


def _may_be_cut(product: str) -> bool:
    return product == "vxlan" or (product == "wireguard" and in_the_kernel())


def _is(setup: Setup, direction: Dead) -> Truth:
    if _fragmented(setup):
        # A smaller MTU of the tunnel ends it. Without a responder's word fragments are seen where they come in: at a.
        seen = "reverse" if setup.responder in _MUTE else direction
        return Truth("mtu.reduced", "b", seen, heals="command", warns=True)
    return large_is(setup, direction)


def _proof(direction: Dead) -> Proof:
    def prove(network: "Network") -> None:
        cut = _may_be_cut(network.plan.product) and network.plan.underlay == 4
        ways(direction, _arrive_in_fragments if cut else outside_proofs.large_ones_die)(network)

    return prove


def _arrive_in_fragments(source: str, target: str) -> Proof:
    """Large datagrams arrive, and the router has cut their packets."""

    def prove(network: "Network") -> None:
        size, before = network.plan.tunnel_mtu - _HEADERS, _fragments(network)
        if not outside_proofs.burst(network, source, target, size=size).arrived:
            raise NotThereError(f"large datagrams from {source} do not reach {target}")
        if _fragments(network) == before:
            raise NotThereError("the router cuts no packets")

    return prove


def _fragments(network: "Network") -> int:
    text = run(network.command(ROUTER, program("cat"), "/proc/net/snmp"))
    names, values = re.findall(r"^Ip: (.*)$", text, re.MULTILINE)
    return int(dict(zip(names.split(), values.split(), strict=True))["FragCreates"])


def _unseen(setup: Setup, direction: Dead) -> str | None:
    if _fragmented(setup) and direction == "forward" and setup.responder in _MUTE:
        return "what b gets is cut and put together again, and nobody says so"
    return no_narrow_link(setup)


def _between(direction: Dead) -> Fault:
    name = "both" if direction == "round-trip" else direction
    return Fault(
        name=f"network-narrow-{name}",
        summary=f"a link {_SAID[direction]} carries less, and no ICMP says so",
        place=PLACE,
        made=lambda setup: _holes(setup, direction),
        expected=lambda setup: _is(setup, direction),
        proof=_proof(direction),
        excluded=lambda setup: _unseen(setup, direction),
    )


# Behind the hub


def _behind(setup: Setup) -> tuple[Part, ...]:
    plan = plan_of(setup)
    return faults.black_hole(remote_end(plan), "b", narrow(plan))


def _behind_excluded(setup: Setup) -> str | None:
    if setup.layout != "hub":
        return "nobody is between a and b"
    return "the router cuts this tunnel's packets into fragments" if _fragmented(setup) else no_narrow_link(setup)


# To the control plane


def _to_control(direction: Dead) -> Fault:
    ends = ("a", "c") if direction == "forward" else ("c", "a")

    def prove(network: "Network") -> None:
        large_ones_die(*ends, network.plan.tunnel_mtu - _HEADERS)(network)

    return Fault(
        name=f"network-narrow-control-{direction}",
        summary=f"a link from {ends[0]} to {ends[1]}, the control host, carries less, and no ICMP says so",
        place=PLACE,
        made=lambda setup: faults.black_hole(*ends, narrow(plan_of(setup))),
        expected=lambda setup: Truth("mtu.black-hole", "control", direction, place=PLACE, heals="command"),
        proof=prove,
        excluded=_to_control_excluded,
    )


def _to_control_excluded(setup: Setup) -> str | None:
    if setup.home != "third" or setup.control == "none" or through_a_third(setup):
        return "there is no way to a control plane that is not the way to b too"
    return "the router cuts this tunnel's packets into fragments" if _fragmented(setup) else no_narrow_link(setup)


_DIRECTIONS: tuple[Dead, ...] = ("forward", "reverse")

FAULTS = (
    *(_between(direction) for direction in (*_DIRECTIONS, "round-trip")),
    Fault(
        name="network-narrow-behind",
        summary="a link between the hub and b carries less, and no ICMP says so",
        place=PLACE,
        made=_behind,
        expected=lambda setup: Truth("mtu.black-hole", "b", "forward", place=PLACE, heals="command"),
        proof=outside_proofs.large_ones_die("a", "b"),
        excluded=_behind_excluded,
    ),
    *(_to_control(direction) for direction in _DIRECTIONS),
)
