"""Faults of firewalls inside the tunnel: what a sends and what b answers, dropped at either end and at every hook."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from preflight.lab import probe
from preflight.lab.axes.setup import Setup
from preflight.lab.stations import proofs, words
from preflight.lab.stations.fault import Fault, NotThereError, anywhere
from preflight.lab.stations.levers import LARGE, Lever, by_ipsec, by_iptables, chain, policy, rewrite, rule
from preflight.lab.stations.making import OTHER, ruleset
from preflight.lab.stations.outside import through_a_third
from preflight.lab.truth import Deciding, Place, Truth

if TYPE_CHECKING:
    from preflight.lab.network import Network

_OWN = "host.firewall-drop"
_TOO_LARGE = f"meta length > {LARGE}"
_LARGE_DATAGRAM = 1262
"""Bytes of a datagram whose packet is larger than that with either family, and fits into every tunnel."""

_SENDING = {
    "filter-out": (
        rule("output"),
        rule("output", "reject", "reject"),
        policy("output"),
        by_iptables("nft", "OUTPUT"),
        by_iptables("legacy", "OUTPUT"),
        by_ipsec("out"),
    ),
    "post-out": (rule("postrouting"), policy("postrouting"), by_iptables("legacy", "POSTROUTING", "mangle")),
    "egress": (rule("egress"), policy("egress"), rule("egress", "large", "drop", _TOO_LARGE)),
}
_RECEIVING = {
    "prerouting": (
        rule("prerouting"),
        policy("prerouting"),
        by_iptables("legacy", "PREROUTING", "raw"),
        rule("ingress", "ingress"),
    ),
    "input": (
        rule("input"),
        rule("input", "reject", "reject with icmpx type port-unreachable"),
        rule("input", "admin", "reject with icmpx type admin-prohibited"),
        policy("input"),
        by_iptables("nft", "INPUT"),
        by_iptables("legacy", "INPUT"),
        by_ipsec("in"),
        rule("input", "udp", "drop", "meta l4proto udp"),
        rule("input", "large", "drop", _TOO_LARGE),
    ),
}
"""The ways of each station."""


def _sent_by_a(station: str, lever: Lever) -> Callable[[Setup], Truth]:
    def truth(setup: Setup) -> Truth:
        if setup.user == "root":
            less = ("mtu.black-hole",) if lever.name == "large" else ()
            return words.here(setup, _OWN, station, deciding=lever.deciding("a"), vague=less)
        if station == "egress" and lever.name == "large":
            return replace(_too_large(setup, "forward", Place("packet", station)), place=None, where="node")
        if station == "egress":
            return words.silence(setup, "forward", where="node")
        # Without root the kernel's EPERM says that a firewall refuses, and not at which hook.
        return Truth(_OWN, "b", "forward", heals="command", vague=(words.UNREACHABLE, words.NO_FORWARD))

    return truth


def _answered_by_b(station: str, lever: Lever) -> Callable[[Setup], Truth]:
    def truth(setup: Setup) -> Truth:
        if lever.name == "large":
            return _too_large(setup, "reverse", Place("packet", station, "sender"))
        return words.answers_there(setup, station, deciding=lever.deciding("b"))

    return truth


def _received_by_b(station: str, lever: Lever) -> Callable[[Setup], Truth]:
    def truth(setup: Setup) -> Truth:
        if lever.name == "large":
            return _too_large(setup, "forward", Place("packet", station, "receiver"))
        if lever.name == "udp":
            return words.udp_there(setup, station, lever.deciding("b"))
        if lever.name in ("reject", "admin") and not words.observed(setup):
            return _refused(setup, station)
        return words.there(setup, station, deciding=lever.deciding("b"))

    return truth


def _received_by_a(station: str, lever: Lever) -> Callable[[Setup], Truth]:
    def truth(setup: Setup) -> Truth:
        if lever.name == "udp" and setup.user != "root":
            return words.udp_back(setup)
        less = {"large": ("mtu.black-hole",), "udp": ("udp.blocked",)}.get(lever.name, ())
        return words.arrives_here(setup, _OWN, station, deciding=lever.deciding("a"), vague=less)

    return truth


def _refused(setup: Setup, station: str) -> Truth:
    """b's own error says who refuses, and for echo requests only a firewall does; by which rule, only b could see."""
    deciding = Deciding("offender", lambda network: network.plan.address("b", network.plan.families[0]))
    return Truth(
        words.NO_FORWARD,
        "b",
        "forward",
        place=Place("packet", station, "receiver"),
        deciding=deciding,
        where="peer",
        vague=(words.UNREACHABLE,),
    )


def _too_large(setup: Setup, direction: str, place: Place) -> Truth:
    """Small answers to large packets, and the reverse, say in which direction large ones die; only b sees where."""
    seen = words.observed(setup)
    largest = Deciding("mtu_bytes", LARGE)
    return Truth(
        "mtu.black-hole",
        "b",
        direction,
        place=place if seen else None,
        deciding=largest,
        heals="command",
        where="peer",
    )


def _proof(station: str, lever: Lever, node: str) -> proofs.Proof:
    """What really dies. node: that with the firewall."""
    peer = OTHER[node]
    sending = station in _SENDING
    ends = (node, peer) if sending else (peer, node)
    if lever.name == "large":
        return proofs.large_ones_die(*ends, _LARGE_DATAGRAM)
    return proofs.never_leaves(*ends) if sending else proofs.dies_behind_the_tap(*ends)


def _excluded(station: str, lever: Lever, node: str) -> Callable[[Setup], str | None]:
    def reason(setup: Setup) -> str | None:
        if lever.name == "large" and setup.link_mtu == "1280":
            return "no packet of this tunnel is that large"
        if lever.name == "udp" and node == "b" and not setup.keyed:
            return "without a responder nothing at b answers UDP"
        if lever.name == "udp" and setup.user != "root" and setup.responder in ("absent", "filtered"):
            return "without a responder at b UDP is as silent, and only root reads the rules"
        if setup.namespace == "vrf" and (station, node) == ("input", "a"):
            return "what comes out of a tunnel in a VRF has the VRF's device there"
        return None

    return reason if lever.name in ("large", "udp") or (station, node) == ("input", "a") else anywhere


def _faults(station: str, lever: Lever) -> tuple[Fault, Fault]:
    """What a sends to b, and what b answers."""
    sending = station in _SENDING
    first, second = ("a", "b") if sending else ("b", "a")
    truths = (_sent_by_a, _answered_by_b) if sending else (_received_by_b, _received_by_a)
    place = Place("packet", station, "sender" if sending else "receiver")

    def fault(node: str, suffix: str, which: int) -> Fault:
        packets = "what a sends to b" if not suffix else "what b answers to a"
        return Fault(
            name=f"{station}-{lever.name}{suffix}",
            summary=f"at {node}, {lever.what}: {packets}",
            place=place,
            made=lambda setup: (lever.part(node),),
            expected=truths[which](station, lever),
            proof=_proof(station, lever, node),
            excluded=_excluded(station, lever, node),
        )

    return fault(first, "", 0), fault(second, "-answers", 1)


def _any_source(setup: Setup) -> str | None:
    return "VXLAN carries packets with any source" if setup.product == "vxlan" else None


def _rewritten_is(setup: Setup) -> Truth:
    lever = rewrite("a")
    if setup.user != "root":
        return words.silence(setup, "forward", where="node")
    less = ("overlay.translated",)
    return words.here(setup, words.NO_FORWARD, "post-out", deciding=lever.deciding("a"), vague=less)


def _rewritten_there(setup: Setup) -> Truth:
    """Where b does not report its rule, root at a's end of WireGuard sees that the source is refused, but not why."""
    answers = setup.keyed or setup.responder == "keyless"
    ends_here = setup.product == "wireguard" and not through_a_third(setup)
    if words.observed(setup) or not (answers and ends_here and words.watches_outside(setup)):
        return words.answers_there(setup, "post-out", deciding=rewrite("b").deciding("b"))
    refused, less = Place("packet", "session", "receiver"), (words.NO_REVERSE, words.UNREACHABLE)
    owner = Deciding("address", lambda network: probe.address_of(network, "b"))
    return Truth("overlay.wrong-source", "b", "reverse", place=refused, deciding=owner, where="peer", vague=less)


def _rewritten(node: str, suffix: str, expected: Callable[[Setup], Truth]) -> Fault:
    lever = rewrite(node)
    return Fault(
        name=f"post-out-rewrite{suffix}",
        summary=f"at {node}, {lever.what} of what goes into the tunnel",
        place=Place("packet", "post-out", "sender"),
        made=lambda setup: (lever.part(node),),
        expected=expected,
        proof=proofs.dies_between_the_taps(node, OTHER[node]),
        excluded=_any_source,
    )


# Echo requests alone

_ECHO_RULE = 'add rule inet guard input iifname "$tunnel" $icmp type echo-request drop comment "guard echo"'
_NO_ECHO = "b's firewall drops ICMP echo requests, and nothing else"


def _no_answer(network: "Network") -> None:
    proofs.arrives("a", "b")(network)
    _no_echo(network)


def _no_echo(network: "Network") -> None:
    if probe.echoed(network, "a", "b"):
        raise NotThereError("b answers echo requests")


_TCP_RULE = 'add rule inet guard input iifname "$tunnel" meta l4proto != tcp drop comment "guard tcp"'
_TCP_HANDLE = Deciding("rule_handle", proofs.handle_of("b", "guard tcp"))
_ONLY_TCP = "b's firewall lets in TCP through the tunnel, and nothing else"


def _only_tcp_is(setup: Setup) -> Truth:
    """A host that answers TCP is there. Without b's word it stays open whether a responder runs behind its filter.

    A mailbox at b passes the filter too.
    """
    with_mailbox = replace(setup, home="third") if setup.home == "peer" else setup
    if words.heard(with_mailbox):
        return words.there(with_mailbox, "input", code=words.UDP_BLOCKED, deciding=_TCP_HANDLE)
    return Truth("reach.icmp-filtered", "b", "round-trip", where="peer", undecided=True)


_STATEFUL = rule("input", "new", "drop", "ct state new")
_NEW_DROPPED = f"at b, {_STATEFUL.what}: what a sends to b, and no answer of a to what b sends"


def _echo_excluded(setup: Setup) -> str | None:
    if setup.responder in ("absent", "filtered"):
        return "without a responder nothing else of b answers"
    return None


FAULTS = (
    Fault(
        name="input-echo",
        summary=_NO_ECHO,
        place=Place("packet", "input", "receiver"),
        made=lambda setup: (ruleset(_NO_ECHO, "b", chain("input"), _ECHO_RULE),),
        # b's observers look at what carries this node's UDP, so b's rule for echoes is for a person there to find.
        expected=lambda setup: Truth("reach.icmp-filtered", "b", where="peer", warns=True),
        proof=_no_answer,
        excluded=_echo_excluded,
    ),
    Fault(
        name="input-tcp-only",
        summary=_ONLY_TCP,
        place=Place("packet", "input", "receiver"),
        made=lambda setup: (ruleset(_ONLY_TCP, "b", chain("input"), _TCP_RULE),),
        expected=_only_tcp_is,
        proof=proofs.each_of(proofs.dies_behind_the_tap("a", "b"), _no_echo),
        excluded=_echo_excluded,
    ),
    Fault(
        name="input-new",
        summary=_NEW_DROPPED,
        place=Place("packet", "input", "receiver"),
        made=lambda setup: (_STATEFUL.part("b"),),
        expected=_received_by_b("input", _STATEFUL),
        proof=proofs.dies_behind_the_tap("a", "b"),
    ),
    _rewritten("a", "", _rewritten_is),
    _rewritten("b", "-answers", _rewritten_there),
    *(
        fault
        for station, levers in (*_SENDING.items(), *_RECEIVING.items())
        for lever in levers
        for fault in _faults(station, lever)
    ),
)
