"""Faults of overlay addresses: one that two members have, or none has."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import yaml

from preflight.lab.axes.setup import Setup
from preflight.lab.blueprint import Blueprint
from preflight.lab.part import Part
from preflight.lab.processes import program, run
from preflight.lab.stations import proofs, words
from preflight.lab.stations.fault import Fault, NotThereError, anywhere
from preflight.lab.stations.making import OTHER, commands, device
from preflight.lab.stations.outside import plan_of
from preflight.lab.truth import Deciding, Healer, Place, Truth

if TYPE_CHECKING:
    from preflight.lab.network import Network

_DUPLICATE = "overlay.duplicate-address"
_PLACE = Place("packet", "address", "sender")
_TAKEN_S, _LOOK_S = 4.0, 0.1
_DEVICES = {"tunnel": "$tunnel", "uplink": "$lan", "loopback": "lo"}


def _address(node: str) -> Deciding:
    """The overlay address of a member, the one that the settings name."""
    return Deciding("address", lambda network: network.plan.address(node, network.plan.families[0]))


# A member has the other's address too


def _own_here(setup: Setup) -> Truth:
    return Truth(_DUPLICATE, "b", place=_PLACE, deciding=_address("b"), heals="command", vague=(words.UNREACHABLE,))


def _own_there(setup: Setup) -> Truth:
    if not words.observed(setup):
        # IPv4 takes nothing from what is an own address, so both directions are dead. IPv6 takes it, and cannot answer.
        return words.silence(setup, "reverse" if setup.families == "ipv6" else "round-trip")
    less = (words.UNREACHABLE, words.NO_FORWARD, words.NO_REVERSE)
    return Truth(_DUPLICATE, "b", place=_PLACE, deciding=_address("a"), heals="command", where="peer", vague=less)


def _who_answers_first(setup: Setup) -> str | None:
    return "the others hear the one that answers first" if setup.product == "vxlan" else None


def _on_uplink(setup: Setup) -> str | None:
    return words.without_uplink(setup) or _who_answers_first(setup)


def _own(where: str, node: str) -> Fault:
    peer = OTHER[node]
    summary = f"{node} has {peer}'s overlay address too, on its {where}"
    return Fault(
        name=f"address-own-{where}{'' if node == 'a' else '-answers'}",
        summary=summary,
        place=_PLACE,
        made=lambda setup: (commands(summary, node, f"address add $peer/$length dev {_DEVICES[where]}"),),
        expected=_own_here if node == "a" else _own_there,
        proof=proofs.each_of(_is_local(node, peer), proofs.never_leaves(node, peer)),
        excluded=_on_uplink if (where, node) == ("uplink", "a") else _who_answers_first,
    )


def _is_local(node: str, peer: str) -> proofs.Proof:
    """The kernel of a member delivers what it sends to another one to itself.

    IPv6 looks for a duplicate first (RFC 4862 section 5.4), which takes a second or two.
    """

    def prove(network: "Network") -> None:
        address, deadline = network.plan.address(peer, network.plan.families[0]), time.monotonic() + _TAKEN_S
        asking = network.command(node, program("ip"), "route", "get", address)
        while not (said := run(asking)).startswith("local "):
            if time.monotonic() > deadline:
                raise NotThereError(f"{peer}'s address is not {node}'s: {said.splitlines()[0]}")
            time.sleep(_LOOK_S)

    return prove


# A third member has it


def _third(node: str) -> Part:
    """c has the address of the member's other end, and the member has learnt it from c.

    The other end has just learnt both of them: its own questions, which all hear, would teach the member the truth.
    """
    peer = OTHER[node]

    def hardware_of(network: "Network", member: str) -> str:
        file = f"/sys/class/net/{network.names.tunnel(member)}/address"
        return run(network.command(member, program("cat"), file)).strip()

    def learn(network: "Network", who: str, address: str, owner: str, state: str) -> None:
        hardware = hardware_of(network, owner)
        entry = ("neighbour", "replace", address, "lladdr", hardware, "dev", device(network, who, OTHER[who]))
        run(network.command(who, program("ip"), *entry, "nud", state))

    def inject(network: "Network") -> None:
        for family in network.plan.families:
            address, length = network.plan.address(peer, family), 32 if family == 4 else 128
            # IPv6 would find the duplicate, and not take the address: here it came while the other one was away.
            last = ("nodad",) if family == 6 else ()
            add = ("address", "add", f"{address}/{length}", "dev", network.names.tunnel("c"), *last)
            run(network.command("c", program("ip"), *add))
            for other in (node, "c"):
                learn(network, peer, network.plan.address(other, family), other, "reachable")
            learn(network, node, address, "c", "stale")

    return Part(f"{peer} and c have one overlay address, and {node} talks to c", inject=inject)


# Two hardware addresses are all that a sees: whose machine has the address wrongly, only a person can say.


def _two_there(setup: Setup) -> Truth:
    # To a's question who has its address c answers: a needs nobody's report for that, and a raw socket.
    if setup.user == "root":
        less = (words.UNREACHABLE, words.NO_REVERSE)
        return Truth(_DUPLICATE, "b", place=_PLACE, deciding=_address("a"), where="peer", vague=less)
    return words.silence(setup, "reverse")


def _two_here(setup: Setup) -> Truth:
    if setup.user == "root":
        less = (words.UNREACHABLE, words.NO_FORWARD)
        return Truth(_DUPLICATE, "b", place=_PLACE, deciding=_address("b"), where="peer", vague=less)
    # The other machine, which is the control host, answers a and keeps what is for b's mailbox: b cannot report.
    return Truth("run.needs-responder", "b", "round-trip", where="peer", undecided=True)


def _only_vxlan(setup: Setup) -> str | None:
    return None if setup.product == "vxlan" else "this product sends by its peers' keys, and asks no neighbour"


def _two_excluded(node: str) -> Callable[[Setup], str | None]:
    def excluded(setup: Setup) -> str | None:
        if node == "a" and setup.user != "root" and setup.home == "peer":
            return "the other machine answers what is for the control plane too, which is a second cause"
        return _only_vxlan(setup)

    return excluded


def _two(node: str, expected: Callable[[Setup], Truth]) -> Fault:
    part = _third(node)
    return Fault(
        name=f"address-two{'' if node == 'a' else '-answers'}",
        summary=part.summary,
        place=_PLACE,
        made=lambda setup: (part,),
        expected=expected,
        proof=proofs.dies_between_the_taps(node, OTHER[node]),
        excluded=_two_excluded(node),
    )


# Nobody has it


def _none_here(setup: Setup) -> Truth:
    """A file that this node may read says which address it had; else only its peers know it."""
    return Truth("overlay.no-address", "node", place=_PLACE, heals="command" if _has_file(setup) else "nothing")


def _has_file(setup: Setup) -> bool:
    return plan_of(setup).quick("a") and setup.user == "root"


def _none_there(setup: Setup) -> Truth:
    # Without its address b reports nothing. Only over VXLAN a asks who has it, and a b that is off is as silent.
    if setup.product == "vxlan":
        return Truth(words.UNREACHABLE, "b", place=_PLACE, deciding=_address("b"), where="peer")
    return Truth(words.UNREACHABLE, "b", "round-trip", heals="command", where="peer")


def _one_tunnel(setup: Setup) -> str | None:
    return "a's other tunnel has the same address" if setup.routes == "per-peer" else None


def _none(node: str) -> Fault:
    summary = f"{node}'s tunnel has no address"
    return Fault(
        name=f"address-none{'' if node == 'a' else '-answers'}",
        summary=summary,
        place=_PLACE,
        made=lambda setup: (commands(summary, node, "address flush dev $tunnel"),),
        expected=_none_here if node == "a" else _none_there,
        proof=proofs.dies("a", "b") if node == "b" else proofs.each_of(proofs.dies("a", "b"), _has_no_address("a")),
        excluded=_one_tunnel if node == "a" else anywhere,
        alone=True,
    )


def _has_no_address(node: str) -> proofs.Proof:
    def prove(network: "Network") -> None:
        tunnel = device(network, node, OTHER[node])
        found = run(network.command(node, program("ip"), "-o", "address", "show", "dev", tunnel, "scope", "global"))
        if found:
            raise NotThereError(f"{node}'s tunnel has addresses: {found.splitlines()[0]}")

    return prove


def _mistyped(plan: Blueprint) -> Blueprint:
    """a's settings name an address for b that nobody has."""
    wrong = f"{plan.address('b', plan.families[0])}0"
    peers = [{"address": wrong, "name": "b", "responder": 862, "agent_id": "2"}]
    return replace(plan, node={**plan.node, "peers": peers})


def _mistyped_is(setup: Setup) -> Truth:
    """By WireGuard a knows which addresses its peers have, and that those who may be b answer at theirs."""
    wrong = Deciding("address", lambda network: f"{network.plan.address('b', network.plan.families[0])}0")
    if setup.product == "wireguard" and setup.layout == "mesh" and setup.user == "root":
        # Only a responder of a's says which of them is b. One that is off is silent at the right address too.
        known = (setup.keyed or setup.responder == "keyless") and setup.others == "none"
        heals: Healer = "file" if known else "nothing"
        less = (words.UNREACHABLE,)
        return Truth("overlay.allowed-ips", "b", place=_PLACE, deciding=wrong, heals=heals, vague=less)
    seen = setup.product in ("vxlan", "nebula") and setup.layout == "mesh" and setup.user == "root"
    return Truth(words.UNREACHABLE, "b", place=_PLACE if seen else None, deciding=wrong)


def _nobody_has_it(network: "Network") -> None:
    settings = yaml.safe_load((network.names.files("a") / "preflight.yaml").read_text(encoding="utf-8"))
    wanted = {peer["address"] for peer in settings["peers"]}
    members = network.plan.topology.members
    real = {network.plan.address(node, family) for node in members for family in network.plan.families}
    if wanted <= real:
        raise NotThereError(f"a member has each of {', '.join(sorted(wanted))}")


_MISTYPED = Fault(
    name="address-nobody",
    summary="a's settings name an address for b that no member has",
    place=_PLACE,
    made=lambda setup: (Part("b's address is mistyped in a's settings", shape=_mistyped),),
    expected=_mistyped_is,
    proof=_nobody_has_it,
)

FAULTS = (
    *(_own(where, node) for node in ("a", "b") for where in _DEVICES),
    _two("a", _two_here),
    _two("b", _two_there),
    _none("a"),
    _none("b"),
    _MISTYPED,
)
