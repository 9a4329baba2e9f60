"""Ways in which a firewall kills packets between two members, at each hook that it has."""

from collections.abc import Callable
from dataclasses import dataclass

from preflight.lab.part import Part
from preflight.lab.stations import proofs
from preflight.lab.stations.making import OTHER, ipsec, iptables, ruleset
from preflight.lab.truth import Deciding

LARGE = 1285
"""Bytes of the largest packet that `large` lets through: above what IPv6 needs, below every tunnel of a lab."""
_PRIORITY = {"prerouting": -300, "input": 0, "output": 0, "postrouting": 0, "ingress": 0, "egress": 0}
_OUTGOING = ("output", "postrouting", "egress")


@dataclass(frozen=True, slots=True)
class Lever:
    """One way. name: as names of faults have it; what: how a summary says it.

    part, deciding: for the member that has the firewall; the packets are those that it exchanges with the other one.
    """

    name: str
    what: str
    part: Callable[[str], Part]
    deciding: Callable[[str], Deciding]


def rule(hook: str, name: str = "drop", verdict: str = "drop", only: str = "") -> Lever:
    """A rule of nft. only: a further match, in nft's words."""
    comment = f"guard {hook}"
    what = f"a rule of nft at {hook} has the verdict {verdict}{f' for {only}' if only else ''}"
    line = f"add rule {_table(hook)} {_match(hook)} {only} {verdict} comment {_quoted(comment)}"
    return Lever(
        name,
        what,
        lambda node: ruleset(what, node, chain(hook), line),
        lambda node: Deciding("rule_handle", proofs.handle_of(node, comment)),
    )


def rewrite(node: str) -> Lever:
    """A member's source becomes an address that no member has, as that of an earlier overlay.

    For a's flows by address translation; b's answers belong to them, so only a rule without state reaches those.
    """
    comment = "guard source"
    what = "a rule of nft rewrites the source"
    if node == "a":
        chain = "table inet guard { chain source { type nat hook postrouting priority 100; }; }"
        verdict = "snat $ip to ${node}7"
    else:
        chain = "table inet guard { chain source { type filter hook postrouting priority 0; }; }"
        verdict = "$ip saddr set ${node}7"
    line = f"add rule inet guard source {_match('postrouting')} {verdict} comment {_quoted(comment)}"
    return Lever(
        "rewrite",
        what,
        lambda node: ruleset(what, node, chain, line),
        lambda node: Deciding("rule_handle", proofs.handle_of(node, comment)),
    )


def policy(hook: str) -> Lever:
    """A base chain of nft that lets everything through except by its policy."""
    what = f"a chain of nft at {hook} has the policy drop and no rule that lets the packet through"
    end, device = ("daddr", "oifname") if hook in _OUTGOING else ("saddr", "iifname")
    others = [f"add rule {_table(hook)} $ip {end} != $peer accept"]
    if hook not in ("ingress", "egress"):
        others.append(f'add rule {_table(hook)} {device} != "$tunnel" accept')
    others.append(f"add rule {_table(hook)} meta protocol != {{ ip, ip6 }} accept")
    return Lever(
        "policy",
        what,
        lambda node: ruleset(what, node, chain(hook, "policy drop;"), *others),
        lambda node: Deciding("chain", f"guard {hook}"),
    )


def by_iptables(variant: str, chain: str, table: str = "filter") -> Lever:
    """A rule of iptables, over nft or over the kernel's older tables."""
    what = f"a rule of iptables-{variant} in {table} {chain} drops"
    ends = "-o $tunnel -d $peer" if chain in ("OUTPUT", "POSTROUTING") else "-i $tunnel -s $peer"
    words = f"-t {table} -I {chain} {ends} -m comment --comment guard -j DROP"
    return Lever(
        "iptables" if variant == "nft" else "legacy",
        what,
        lambda node: iptables(what, node, variant, words),
        lambda node: (
            Deciding("rule_handle", proofs.newest_handle(node, chain))
            if variant == "nft"
            else Deciding("chain", f"{table} {chain}")
        ),
    )


def by_ipsec(direction: str) -> Lever:
    """A policy of IPsec, as it is left by another VPN: no tool for firewalls shows it. direction: `out` or `in`."""
    end = "dst" if direction == "out" else "src"
    what = f"a policy of IPsec blocks what goes {direction}"
    return Lever(
        "ipsec",
        what,
        lambda node: ipsec(what, node, f"{end} $peer dir {direction} action block"),
        lambda node: Deciding("address", lambda network: network.plan.address(OTHER[node], network.plan.families[0])),
    )


def _table(hook: str) -> str:
    return f"{_family(hook)} guard {hook}"


def _family(hook: str) -> str:
    return "netdev" if hook in ("ingress", "egress") else "inet"


def chain(hook: str, policy: str = "") -> str:
    """A table of nft with a chain at a hook, for rules of faults."""
    where = ' device "$tunnel"' if _family(hook) == "netdev" else ""
    start = f"type filter hook {hook}{where} priority {_PRIORITY[hook]};"
    return f"table {_family(hook)} guard {{ chain {hook} {{ {start} {policy} }}; }}"


def _match(hook: str) -> str:
    end = "$ip daddr $peer" if hook in _OUTGOING else "$ip saddr $peer"
    if _family(hook) == "netdev":
        return end
    return f'{"oifname" if hook in _OUTGOING else "iifname"} "$tunnel" {end}'


def _quoted(text: str) -> str:
    return f'"{text}"'
