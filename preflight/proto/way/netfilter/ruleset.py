"""The rules of nftables and of the older iptables, as data that both share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Self

from preflight.model.flow import Flow

Family = Literal["ip", "ip6", "inet", "netdev", "arp", "bridge"]
Hook = Literal["prerouting", "input", "forward", "output", "postrouting", "ingress", "egress"]
ChainKind = Literal["filter", "nat", "route"]
VerdictKind = Literal["accept", "drop", "queue", "stolen", "continue", "break", "jump", "goto", "return"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule does with a packet that matches. chain: the target of `jump` and `goto`."""

    kind: VerdictKind
    chain: str | None = None


@dataclass(frozen=True, slots=True)
class Expression:
    """One step of a rule, by the name that the kernel gives it, with its attributes as the kernel holds them.

    verdict: of `immediate`. Matches and targets of iptables are `match` and `target`, its header `header`.
    """

    name: str
    attributes: Mapping[int, bytes] = field(default_factory=dict)
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class Counted:
    """What a counter has seen until now."""

    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a set. end: the last key of a range, or None. A key of None is for whatever no other one has.

    opens: False for a key at which an interval ends. data: of a map, with the verdict if it is one.
    """

    key: bytes | None
    end: bytes | None = None
    opens: bool = True
    data: bytes | None = None
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class Set:
    """A set or map. intervals: keys begin and end ranges. fields: the bytes of each part of a joined key.

    elements: None if they were not read. key_bytes: of a whole key.
    """

    elements: Sequence[Element] | None = None
    intervals: bool = False
    fields: tuple[int, ...] = ()
    key_bytes: int = 4


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. number: its place in its chain, from 1. handle: iptables-legacy has none.

    counter: None if the rule has none in front of its verdict, or has matches behind it.
    """

    number: int
    expressions: tuple[Expression, ...]
    handle: int | None = None
    comment: str | None = None
    counter: Counted | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A chain. hook, priority, kind, policy: of one where the kernel begins; devices: of one at devices.

    legacy: of iptables-legacy. counter: of what the policy decided, where the kernel counts that.
    """

    family: Family
    table: str
    name: str
    rules: Sequence[Rule] = ()
    hook: Hook | None = None
    priority: int = 0
    kind: ChainKind = "filter"
    policy: Literal["accept", "drop"] | None = None
    devices: tuple[str, ...] = ()
    legacy: bool = False
    counter: Counted | None = None

    @property
    def key(self) -> tuple[bool, str, str, str]:
        """The key of the chain."""
        return (self.legacy, self.family, self.table, self.name)


@dataclass(frozen=True, slots=True)
class Ruleset:
    """Every chain and set of a network namespace. devices: the numbers of its interfaces."""

    chains: tuple[Chain, ...] = ()
    sets: Mapping[tuple[str, str, str], Set] = field(default_factory=dict)
    devices: Mapping[str, int] = field(default_factory=dict)

    def joined(self, other: Self) -> Self:
        """This one and the chains of another one."""
        return replace(self, chains=(*self.chains, *other.chains), sets={**self.sets, **other.sets})


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked:
    """What connection tracking holds of a flow. established: its next packet is not the first one of a connection.

    source, source_port, destination, destination_port: what translation makes of the flow's packets. answers: the
    connection began in the other direction.
    """

    established: bool
    source: str
    destination: str
    source_port: int | None = None
    destination_port: int | None = None
    answers: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterSnapshot:
    """What one reading of the firewall found.

    unreadable: why there is no ruleset; None if there is one. tracked: of the flows that were asked for; None: it is
    not tracked. addresses: this node's own.
    """

    ruleset: Ruleset = Ruleset()
    unreadable: str | None = None
    tracked: Mapping[Flow, Tracked | None] = field(default_factory=dict)
    addresses: frozenset[str] = frozenset()

    def asked(self, flow: Flow) -> bool:
        """Whether connection tracking was asked for a flow."""
        return any(each.connection == flow.connection for each in self.tracked)

    def held(self, flow: Flow) -> Tracked | None:
        """What it holds of the flow; None if it holds nothing, or was not asked."""
        return next((held for each, held in self.tracked.items() if each.connection == flow.connection), None)
