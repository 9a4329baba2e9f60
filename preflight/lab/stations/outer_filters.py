"""Faults of a node's own rules for its tunnel's packets: firewall, translation and queues, on their way out and in."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from preflight.lab.axes.setup import Setup
from preflight.lab.links import OVERHEAD
from preflight.lab.processes import program, run
from preflight.lab.stations import outside
from preflight.lab.stations import outside_proofs as proofs
from preflight.lab.stations.outside import leaving, own_uplink
from preflight.lab.stations.proofs import handle_of
from preflight.lab.stations.sides import OTHER, on_both_sides
from preflight.lab.stations.words import at_receiver, at_sender, by_own_rule, dead, observed
from preflight.lab.topology import underlay_address
from preflight.lab.truth import Deciding, Healer, Place, Truth

if TYPE_CHECKING:
    from preflight.lab.network import Network
    from preflight.lab.stations.proofs import Proof

    Step = Callable[[Network, str], None]
    Expected = Callable[[Setup, str], Truth]

NOTE = "not for the tunnel"
"""The comment of every rule that is a fault here."""
_TABLE = "outside"
_MARK = 0x6D
_IPV6_NEEDS = 1280
_CLOSED = 51999
"""A port at which nobody listens."""


def _filter(network: "Network", node: str, hook: str, *rules: str, priority: int = 0, policy: str = "accept") -> None:
    chain = f"type filter hook {hook} priority {priority}; policy {policy}; {'; '.join(rules)};"
    outside.table(network, node, f"table inet {_TABLE} {{ chain {hook} {{ {chain} }}; }}")


def _noted(rule: str) -> str:
    return f'{rule} comment "{NOTE}"'


# On the way out


def _drop_out(network: "Network", node: str, hook: str = "output") -> None:
    _filter(network, node, hook, _noted(f"{leaving(network, node).to} counter drop"))


def _policy_out(network: "Network", node: str) -> None:
    _filter(network, node, "output", leaving(network, node).others, policy="drop")


def _marked_out(network: "Network", node: str) -> None:
    for device in outside.tunnels(network, node):
        if network.wg(node, "show", device, "fwmark").strip() == "off":
            network.wg(node, "set", device, "fwmark", hex(_MARK))
    mark = network.wg(node, "show", outside.tunnel_to_remote_end(network, node), "fwmark").strip()
    _filter(network, node, "output", _noted(f"meta mark {mark} counter drop"))


def _kill_switch(network: "Network", node: str) -> None:
    inner = ", ".join(f'"{device}"' for device in ("lo", *outside.tunnels(network, node)))
    ask = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept"
    last = _noted("counter reject with icmpx admin-prohibited")
    _filter(network, node, "output", f"oifname {{ {inner} }} accept", ask, last, priority=-10)


def _large_out(network: "Network", node: str) -> None:
    way, limit = leaving(network, node), proofs.narrow(network.plan)
    _filter(network, node, "postrouting", _noted(f"{way.to} meta length > {limit} counter drop"))


def _wrong_source(network: "Network", node: str) -> None:
    way = leaving(network, node)
    outside.translate(network, node, way.to, way.back, _noted(f"snat {way.ip} to {proofs.nobody(way)}"))


def _drop_at_device(network: "Network", node: str) -> None:
    way = leaving(network, node)
    chain = f'type filter hook egress device "{way.device}" priority 0; {_noted(f"{way.to} counter drop")};'
    outside.table(network, node, f"table netdev {_TABLE} {{ chain egress {{ {chain} }}; }}")


def _queue(network: "Network", node: str, *words: str) -> None:
    device = leaving(network, node).device
    run(network.command(node, program("tc"), "qdisc", "replace", "dev", device, "root", *words))


def _tiny_queue(network: "Network", node: str) -> None:
    # What asks for a neighbour still fits.
    _queue(network, node, "bfifo", "limit", "100")


def _tiny_burst(network: "Network", node: str) -> None:
    largest = str(proofs.narrow(network.plan) + _ETHERNET)
    _queue(network, node, "tbf", "rate", "100mbit", "burst", largest, "limit", "100000")


_ETHERNET = 14


# On the way in


def _drop_in(network: "Network", node: str, hook: str = "input", priority: int = 0, what: str = "drop") -> None:
    _filter(network, node, hook, _noted(f"{leaving(network, node).back} counter {what}"), priority=priority)


def _policy_in(network: "Network", node: str) -> None:
    _filter(network, node, "input", leaving(network, node).others_back, policy="drop")


def _redirect_in(network: "Network", node: str) -> None:
    way = leaving(network, node)
    into = f"type nat hook prerouting priority -100; {_noted(f'{way.back} redirect to :{_CLOSED}')};"
    # Untracked on the way out, or what comes in would be answers, which are never redirected.
    out = f"type filter hook output priority -300; {way.to} notrack;"
    outside.table(network, node, f"table inet {_TABLE} {{ chain in {{ {into} }}; chain out {{ {out} }}; }}")
    outside.forget_flows(network, node)


def _drop_at_entrance(network: "Network", node: str) -> None:
    way = leaving(network, node)
    chain = f'type filter hook ingress device "{way.device}" priority 0; {_noted(f"{way.back} counter drop")};'
    outside.table(network, node, f"table netdev {_TABLE} {{ chain ingress {{ {chain} }}; }}")


# What is true then

_RULE = Deciding("rule_handle", handle_of("a", NOTE))


def _rule_out(station: str, deciding: Deciding = _RULE, *, everything: bool = False) -> "Expected":
    def expected(setup: Setup, node: str) -> Truth:
        return by_own_rule(setup, node, at_sender(setup, node, station, deciding, everything=everything))

    return expected


def _queue_is(setup: Setup, node: str) -> Truth:
    """All may read what a queue drops, and by which uplink a VXLAN sends; not by which one another tunnel does."""
    known = setup.product == "vxlan"
    deciding = Deciding("interface", _device)
    return at_sender(setup, node, "egress-outer", deciding, everything=True, public=known)


def _kill_switch_is(setup: Setup, node: str) -> Truth:
    """It keeps the questions for the control host's name in too, and that the kernel says to all (EPERM)."""
    if node == "a" and setup.user != "root" and setup.control in ("dns", "search"):
        place, deciding = Place("request", "name"), Deciding("problem", "Operation not permitted")
        return Truth("host.firewall-drop", "control", place=place, deciding=deciding, vague=("reach.unreachable",))
    return _rule_out("filter-outer", everything=True)(setup, node)


def _rule_in(station: str, deciding: Deciding = _RULE) -> "Expected":
    def expected(setup: Setup, node: str) -> Truth:
        return by_own_rule(setup, node, at_receiver(setup, node, station, deciding))

    return expected


def _refused_in(station: str) -> "Expected":
    """a's own rule; or b's, of which a gets an ICMP error that names b."""

    def expected(setup: Setup, node: str) -> Truth:
        if node == "a":
            return _rule_in(station)(setup, node)
        if station == "prerouting-outer" and setup.firewall != "open":
            return at_receiver(setup, node, station)  # b's firewall answers nobody at a port that is not open
        # A rule of NAT counts nothing, and each flow of a VXLAN comes from another port: b can only say that it fits.
        known = observed(setup, outer=True) and not (station == "prerouting-outer" and setup.product == "vxlan")
        if outside.through_a_third(setup) or known:
            return at_receiver(setup, node, station)  # the third member gets the error, or b names its own rule
        # Only that b refuses is known, and not by which of its rules.
        refuses = Deciding("offender", _address_of_remote_end(setup))
        return dead(setup, "forward", deciding=refuses, proven=True, heals="nothing", where="peer")

    return expected


def _address_of_remote_end(setup: Setup) -> str:
    plan = outside.plan_of(setup)
    return underlay_address(outside.remote_end(plan), outside.family_of(plan))


def _wrong_source_is(setup: Setup, node: str) -> Truth:
    if node == "a":
        # What a sends arrives, and makes b answer to an address that nobody has. The answers die, and the place is on
        # the way there, so neither direction says more than the code does.
        truth = dead(setup, "reverse", place=Place("packet", "post-outer"), deciding=_RULE, proven=True)
        return replace(truth, direction=None) if truth.place is not None else truth
    # b's packets arrive, and make a send to an address that nobody has. Which rule of b does it only b could see.
    heals: Healer = "command" if observed(setup, outer=True) else "nothing"
    roamed = Deciding("answered_from", _roamed_to)
    return dead(setup, "forward", deciding=roamed, proven=True, heals=heals, where="peer")


def _roamed_to(network: "Network") -> str:
    return outside.endpoint(network, "a")[0]


def _large_is(station: str, deciding: Deciding) -> "Expected":
    def expected(setup: Setup, node: str) -> Truth:
        if node == "b":
            return Truth("mtu.black-hole", "b", "reverse", heals=_by_mtu(setup), where="peer")
        if setup.user != "root":
            return Truth("mtu.black-hole", "b", "forward", heals=_by_mtu(setup))
        place = Place("packet", station)
        return Truth("mtu.black-hole", "b", "forward", place=place, deciding=deciding, heals="command")

    return expected


def _by_mtu(setup: Setup) -> Healer:
    """Who does not see the rule or the queue can make the tunnel's packets smaller, if what is inside can be."""
    plan = outside.plan_of(setup)
    left = proofs.narrow(plan) - OVERHEAD[plan.product]
    return "nothing" if left < _IPV6_NEEDS and 6 in plan.families else "command"


def _device(network: "Network") -> str:
    return proofs.leaves(network, "a").device


# What excludes them


def _has_marks(setup: Setup, node: str) -> str | None:
    if setup.product != "wireguard":
        return "only WireGuard marks its own packets"
    return own_uplink(setup, node)


def _roams(setup: Setup, node: str) -> str | None:
    if setup.product != "wireguard":
        return "only the lab's WireGuard follows a peer to another address"
    if node == "b" and setup.nat != "none":
        return "the translation lets nothing in from an address that a has not sent to"
    return own_uplink(setup, node)


# Proofs


def _leaves_nothing(node: str) -> "Proof":
    return proofs.dies_before_the_wire(node, OTHER[node])


def _dies_inside(node: str) -> "Proof":
    return proofs.dies_behind_the_wire(OTHER[node], node)


def _answers_die(node: str) -> "Proof":
    return proofs.all_of(proofs.passes(node, OTHER[node]), proofs.dies(OTHER[node], node))


def _large_die(node: str) -> "Proof":
    return proofs.large_ones_die(node, OTHER[node])


_sent = partial(on_both_sides, proof=_leaves_nothing)
_received = partial(on_both_sides, proof=_dies_inside)

FAULTS = (
    *_sent(
        "filter-outer",
        "rule",
        "a rule in {node}'s own firewall drops what its tunnel sends to the remote end",
        step=_drop_out,
        expected=_rule_out("filter-outer"),
    ),
    *_sent(
        "filter-outer",
        "policy",
        "{node}'s firewall lets out everything except its tunnel's UDP, by the policy of a chain",
        step=_policy_out,
        expected=_rule_out("filter-outer", Deciding("chain", f"{_TABLE} output")),
    ),
    *_sent(
        "filter-outer",
        "mark",
        "a rule in {node}'s own firewall drops what has the tunnel's mark",
        step=_marked_out,
        expected=_rule_out("filter-outer", everything=True),
        excluded=_has_marks,
        alone="a",
    ),
    *_sent(
        "filter-outer",
        "kill-switch",
        "the kill switch of another VPN on {node} rejects what the tunnel sends",
        step=_kill_switch,
        expected=_kill_switch_is,
        alone="a",
    ),
    *_sent(
        "post-outer",
        "drop",
        "a rule behind {node}'s routing drops what its tunnel sends to the remote end",
        step=partial(_drop_out, hook="postrouting"),
        expected=_rule_out("post-outer"),
    ),
    *on_both_sides(
        "post-outer",
        "large",
        "a rule behind {node}'s routing drops only the large packets of its tunnel",
        step=_large_out,
        expected=_large_is("post-outer", _RULE),
        proof=_large_die,
    ),
    *on_both_sides(
        "post-outer",
        "snat",
        "{node} gives its tunnel's packets a source address that nobody has",
        step=_wrong_source,
        expected=_wrong_source_is,
        proof=_answers_die,
        excluded=_roams,
    ),
    *_sent(
        "egress-outer",
        "rule",
        "a rule at {node}'s uplink drops what its tunnel sends to the remote end",
        step=_drop_at_device,
        expected=_rule_out("egress-outer"),
    ),
    *_sent(
        "egress-outer",
        "queue",
        "the queue of {node}'s uplink is smaller than the packets of its tunnel",
        step=_tiny_queue,
        expected=_queue_is,
        alone="a",
    ),
    *on_both_sides(
        "egress-outer",
        "burst",
        "the shaper of {node}'s uplink has a burst that is smaller than large packets",
        step=_tiny_burst,
        expected=_large_is("egress-outer", Deciding("interface", _device)),
        proof=_large_die,
    ),
    *_received(
        "prerouting-outer",
        "rule",
        "a rule before {node}'s routing drops what comes from its tunnel's remote end",
        step=partial(_drop_in, hook="prerouting", priority=-300),
        expected=_rule_in("prerouting-outer"),
    ),
    *_received(
        "prerouting-outer",
        "redirect",
        "a rule on {node} redirects what comes from its tunnel's remote end to a closed port",
        step=_redirect_in,
        expected=_refused_in("prerouting-outer"),
    ),
    *_received(
        "prerouting-outer",
        "entrance",
        "a rule at {node}'s uplink drops what comes from its tunnel's remote end",
        step=_drop_at_entrance,
        expected=_rule_in("prerouting-outer"),
    ),
    *_received(
        "input-outer",
        "rule",
        "a rule in {node}'s own firewall drops what comes from its tunnel's remote end",
        step=_drop_in,
        expected=_rule_in("input-outer"),
    ),
    *_received(
        "input-outer",
        "policy",
        "{node}'s firewall lets in everything except its tunnel's UDP, by the policy of a chain",
        step=_policy_in,
        expected=_rule_in("input-outer", Deciding("chain", f"{_TABLE} input")),
    ),
    *_received(
        "input-outer",
        "reject",
        "a rule in {node}'s own firewall rejects what comes from its tunnel's remote end",
        step=partial(_drop_in, what="reject"),
        expected=_refused_in("input-outer"),
    ),
)
