"""Faults of a's own firewall between a's programs and what they ask: the control plane's port, and the resolver's."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from preflight.lab.axes.setup import Setup
from preflight.lab.part import Part
from preflight.lab.processes import program, run
from preflight.lab.services import FIRST_RESOLVER
from preflight.lab.stations import asks, proofs
from preflight.lab.stations.fault import Fault
from preflight.lab.stations.proofs import Proof
from preflight.lab.topology import CONTROL_NAME
from preflight.lab.truth import Deciding, Place, Truth

if TYPE_CHECKING:
    from preflight.lab.network import Network

_OWN = "host.firewall-drop"
_CONNECT, _NAME = Place("request", "connect"), Place("request", "name")
_COMMENT = "keep in"
_HANDLE = Deciding("rule_handle", proofs.handle_of("a", _COMMENT))
_CHAIN = "table inet own {{ chain {hook} {{ type filter hook {hook} priority 0; {policy} }}; }}"


@dataclass(frozen=True, slots=True)
class _Way:
    """One way in which a's firewall stops what a asks.

    hook, rules: of nft, with `PORT` for the control plane's port; policy: of the chain. ends: how a's connection ends.
    unseen: the code of what an ordinary user sees, who may read no rule.
    """

    name: str
    summary: str
    hook: str
    rules: tuple[str, ...]
    ends: tuple[str, ...]
    unseen: str
    policy: str = ""
    deciding: Deciding = _HANDLE


_WAYS = (
    _Way(
        "drop",
        "a rule of a's own firewall drops what a sends to the control plane's port",
        "output",
        ("tcp dport PORT drop",),
        ("silent",),
        "control.timeout",
    ),
    _Way(
        "reject",
        "a rule of a's own firewall rejects what a sends to the control plane's port, by ICMP",
        "output",
        ("tcp dport PORT reject with icmpx admin-prohibited",),
        ("unreachable", "forbidden", "refused"),
        "control.unreachable",
    ),
    _Way(
        "reset",
        "a rule of a's own firewall resets connections to the control plane's port",
        "output",
        ("tcp dport PORT reject with tcp reset",),
        ("refused", "silent"),
        "control.refused",
    ),
    _Way(
        "policy",
        "a's own firewall lets everything out except what a sends to the control plane's port",
        "output",
        ("meta l4proto != tcp accept", "tcp dport != PORT accept"),
        ("silent",),
        "control.timeout",
        policy="policy drop;",
        deciding=Deciding("chain", "own output"),
    ),
    _Way(
        "answers",
        "a rule of a's own firewall drops what the control plane's port answers",
        "input",
        ("tcp sport PORT drop",),
        ("silent",),
        "control.timeout",
    ),
)


def _guarded(summary: str, hook: str, rules: tuple[str, ...], policy: str = "") -> Part:
    def inject(network: "Network") -> None:
        port = str(asks.places_of(network).control_port)
        lines = [_CHAIN.format(hook=hook, policy=policy)]
        comment = "" if policy else f' comment "{_COMMENT}"'
        lines += [f"add rule inet own {hook} {rule.replace('PORT', port)}{comment}" for rule in rules]
        run(network.command("a", program("nft"), "-f", "-"), text="\n".join(lines))

    return Part(summary, inject=inject)


def _seen_by_root(place: Place, deciding: Deciding, unseen: str) -> Callable[[Setup], Truth]:
    def expected(setup: Setup) -> Truth:
        if setup.user != "root":
            return Truth(unseen, "control", place=place)
        return Truth(_OWN, "control", place=place, deciding=deciding, heals="command", vague=(unseen,))

    return expected


def _connection_is(way: _Way) -> Callable[[Setup], Truth]:
    """What wg-quick makes for a default route drops a reset: its source is the other end, and it comes by `lo`."""

    def expected(setup: Setup) -> Truth:
        dropped = way.unseen == "control.refused" and setup.routes == "default" and setup.product == "wireguard"
        return _seen_by_root(_CONNECT, way.deciding, "control.timeout" if dropped else way.unseen)(setup)

    return expected


def _connects(way: _Way) -> Fault:
    return Fault(
        name=f"connect-own-{way.name}",
        summary=way.summary,
        place=_CONNECT,
        made=lambda setup: (_guarded(way.summary, way.hook, way.rules, way.policy),),
        expected=_connection_is(way),
        proof=asks.connection_ends(*way.ends),
        excluded=asks.needs_control,
    )


def _asks_resolver(setup: Setup) -> str | None:
    return None if setup.control in ("dns", "search") else "a asks no resolver for the control host"


def _resolves(name: str, hook: str, end: str) -> Fault:
    what = "asks its resolver" if hook == "output" else "is answered by its resolver"
    summary = f"a rule of a's own firewall drops what a {what}"
    rules = (f"meta l4proto {{ tcp, udp }} th {end} 53 drop",)
    return Fault(
        name=f"name-own-{name}",
        summary=summary,
        place=_NAME,
        made=lambda setup: (_guarded(summary, hook, rules),),
        # The kernel refuses to send what a rule drops at once, with an error that only its own firewall makes.
        expected=_seen_by_root(_NAME, _HANDLE, _OWN if hook == "output" else "control.dns-timeout"),
        proof=_is_silent(),
        excluded=_asks_resolver,
    )


def _is_silent() -> Proof:
    # A dropped question is an error of the kernel at once, and a dropped answer is not.
    return asks.resolver_says(FIRST_RESOLVER, CONTROL_NAME, "silent", "forbidden")


FAULTS = (
    *map(_connects, _WAYS),
    _resolves("drop", "output", "dport"),
    _resolves("answers", "input", "sport"),
)
