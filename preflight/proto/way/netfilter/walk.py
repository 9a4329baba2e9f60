"""Follows a packet through every chain of a hook, in the kernel's order, and notes what may stop or change it."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Literal

from preflight.model.flow import Flow
from preflight.proto.way.netfilter.action import ENDING, Action
from preflight.proto.way.netfilter.attributes import number
from preflight.proto.way.netfilter.bits import Bits, Tri, any_of
from preflight.proto.way.netfilter.machine import MARK, Outcome, run
from preflight.proto.way.netfilter.packet import Packet, in_host_order
from preflight.proto.way.netfilter.ruleset import Chain, Counted, Hook, Rule, Ruleset

ChainKey = tuple[bool, str, str, str]
Key = tuple[ChainKey, int]
"""A chain, and the number of a rule in it; 0 for its policy."""
DEEPEST = 16
"""How deep the kernel lets chains call each other."""
KillKind = Literal["drop", "reject", "queue", "take", "proxy", "unknown"]
_OPEN: frozenset[KillKind] = frozenset(("queue", "proxy", "unknown"))
"""What a rule hands on to another program, which decides."""
_KILLS: Mapping[str, KillKind] = {
    **{"drop": "drop", "stolen": "take", "queue": "queue"},
    **{"reject": "reject", "take": "take", "proxy": "proxy", "unknown": "unknown"},
}


@dataclass(frozen=True, slots=True)
class Kill:
    """A rule, or the policy of a chain where `rule` is None, that stops a packet. sure: whether it does.

    counted: the packets that its counter saw in the meantime; None where nothing counts.
    """

    chain: Chain
    rule: Rule | None
    kind: KillKind
    sure: Tri
    counted: int | None = None

    @property
    def open(self) -> bool:
        """Whether the rule only hands the packet on, and another program decides."""
        return self.kind in _OPEN


@dataclass(frozen=True, slots=True)
class Change:
    """A rule that changes a packet, and the packets that its counter saw."""

    chain: Chain
    rule: Rule
    action: Action
    counted: int | None = None


class Counters:
    """What the counters saw between two readings. Chains that were changed in between say nothing."""

    def __init__(self, before: Ruleset, after: Ruleset) -> None:
        self._before = {chain.key: chain for chain in before.chains}
        self._after = {chain.key: chain for chain in after.chains}
        self._same: dict[ChainKey, bool] = {}

    def of(self, key: Key) -> int | None:
        """What one of them saw; None if it does not count, or was not there before."""
        chain, number = key
        if not self._is_same(chain):
            return None
        first, last = _counted(self._before[chain], number), _counted(self._after[chain], number)
        moved = None if first is None or last is None else last.packets - first.packets
        return None if moved is not None and moved < 0 else moved

    def _is_same(self, key: ChainKey) -> bool:
        if key not in self._same:
            first, last = self._before.get(key), self._after.get(key)
            both = first is not None and last is not None
            self._same[key] = both and _handles(first) == _handles(last)
        return self._same[key]


def _handles(chain: Chain | None) -> list[int | None]:
    return [] if chain is None else [rule.handle for rule in chain.rules]


def _counted(chain: Chain, number: int) -> Counted | None:
    return chain.rules[number - 1].counter if number else chain.counter


@dataclass(frozen=True, slots=True)
class Counts:
    """The counters, and how many packets of the flow were sent meanwhile; 0 where that is not known."""

    counters: Counters
    sent: int = 0

    def of(self, chain: Chain, rule: Rule | None) -> int | None:
        """What the counter of a rule, or of a policy, saw."""
        return self.counters.of(key_of(chain, rule))


class Walk:
    """One packet on its way through hooks.

    nat: whether rules that translate are asked for it. passed: rules, or policies, as if one in front accepted it.
    """

    def __init__(
        self,
        ruleset: Ruleset,
        counts: Counts,
        packet: Packet,
        *,
        nat: Tri = Tri.YES,
        passed: frozenset[Key] = frozenset(),
    ) -> None:
        self.packet = packet
        self.kills: list[Kill] = []
        self.changes: list[Change] = []
        self.missed = False
        self.alive = Tri.YES
        self._ruleset, self._counts, self._nat, self._passed = ruleset, counts, nat, passed
        self._chains = {chain.key: chain for chain in ruleset.chains}

    def pass_hook(self, hook: Hook) -> None:
        """Through all chains of a hook; what is stopped for certain goes no further.

        missed: a counter that every packet has to move did not move, so none came here.
        """
        for chain in chains_at(self._ruleset, hook, self.packet.flow):
            if not self.alive or self.missed:
                return
            self.pass_chain(chain, hook)

    def pass_chain(self, chain: Chain, hook: Hook) -> None:
        """Through one chain at which the kernel begins."""
        self.packet = replace(self.packet, hook=hook, priority=chain.priority)
        if is_marked_beside(self._ruleset, chain, chains_at(self._ruleset, hook, self.packet.flow)):
            self.packet = replace(self.packet, mark=Bits.unknown(4))
        reach = self.alive & self._nat if chain.kind == "nat" else self.alive
        if reach:
            self._base(chain, reach)

    def _base(self, chain: Chain, reach: Tri) -> None:
        left = self._through(chain, reach, 0)
        if chain.policy == "drop" and left and key_of(chain, None) not in self._passed:
            counted = self._counts.of(chain, None)
            if counted == 0 and self._counts.sent:
                self.missed = self.missed or left is Tri.YES
                return
            self._killed(Kill(chain, None, "drop", left, counted))

    def _killed(self, kill: Kill) -> None:
        found = replace(kill, sure=kill.sure & Tri.MAYBE) if kill.kind in _OPEN else kill
        self.kills.append(found)
        self.alive &= ~found.sure

    def _through(self, chain: Chain, reach: Tri, depth: int) -> Tri:
        """Through one chain; whether the packet comes out of it without a verdict."""
        here, returned = reach, Tri.NO
        for rule in chain.rules if depth < DEEPEST else ():
            if not here or self.missed:
                break
            if key_of(chain, rule) in self._passed:
                return returned
            outcome = self._run(chain, rule, here)
            counted = self._counts.of(chain, rule)
            self._apply(chain, rule, outcome, here, counted)
            ended, back = self._verdicts(chain, rule, outcome, here, counted, depth)
            here &= ~ended
            returned |= back
        return here | returned

    def _run(self, chain: Chain, rule: Rule, here: Tri) -> Outcome:
        """What the rule does, and what its counter adds to that: where it did not move, the rule did not match."""
        outcome = run(self.packet, chain, rule, self._ruleset.sets)
        if self._counts.of(chain, rule) != 0 or not outcome.match:
            return outcome
        # Rules that translate are asked for the first packet of a flow only.
        if outcome.match is Tri.YES and here is Tri.YES and chain.kind != "nat":
            self.missed = self._counts.sent > 0
            return Outcome(Tri.NO) if self.missed else outcome
        return Outcome(Tri.NO)

    def _apply(self, chain: Chain, rule: Rule, outcome: Outcome, here: Tri, counted: int | None) -> None:
        for action in outcome.actions:
            sure = action.sure & here
            if not sure:
                continue
            if action.kind in _KILLS:
                self._killed(Kill(chain, rule, _KILLS[action.kind], sure, counted))
            elif action.kind == "mark":
                mark = action.mark if sure is Tri.YES and action.mark is not None else Bits.unknown(4)
                self.packet = replace(self.packet, mark=mark)
            elif action.kind == "notrack":
                self._untrack(sure)
            else:
                self.changes.append(Change(chain, rule, replace(action, sure=sure), counted))
                if sure is Tri.YES:
                    self.packet = replace(self.packet, flow=_changed(self.packet.flow, action))

    def _untrack(self, sure: Tri) -> None:
        """Take the packet out of connection tracking; what that has seen already stays in it."""
        if self.packet.is_early:
            self.packet = replace(self.packet, state="untracked" if sure is Tri.YES else None)

    def _verdicts(
        self, chain: Chain, rule: Rule, outcome: Outcome, here: Tri, counted: int | None, depth: int
    ) -> tuple[Tri, Tri]:
        """Whether the rule keeps the packet from the next one, and whether it leaves the chain without a verdict."""
        ended = any_of(action.sure for action in outcome.actions if action.kind in ENDING)
        back = Tri.NO
        for match, verdict in outcome.verdicts:
            sure = match & here
            if verdict.kind in _KILLS and sure:
                self._killed(Kill(chain, rule, _KILLS[verdict.kind], sure, counted))
            if verdict.kind in ("accept", "return", "goto", *_KILLS):
                ended |= match
            if verdict.kind == "return":
                back |= sure
            elif verdict.kind in ("jump", "goto") and sure:
                out = self._called(chain, verdict.chain, sure, depth)
                back |= out if verdict.kind == "goto" else Tri.NO
                # A packet that comes back from a chain goes on behind the rule.
                ended |= Tri.NO if verdict.kind == "goto" or out is sure else (match & ~out)
        return ended, back

    def _called(self, chain: Chain, name: str | None, reach: Tri, depth: int) -> Tri:
        target = self._chains.get((chain.legacy, chain.family, chain.table, name or ""))
        return reach if target is None else self._through(target, reach, depth + 1)


def mark_of_sent(ruleset: Ruleset, flow: Flow) -> int | None:
    """The mark with which a flow that this node sends is routed, behind the rules for what it sends.

    None where they may have changed it and nobody can know to what: the kernel then routes again by a mark of theirs.
    It does so behind the chains that are made for it: what another chain marks keeps its route.
    """
    packet = Packet(flow=flow, hook="output", mark=in_host_order(flow.mark), devices=ruleset.devices)
    walk = Walk(ruleset, Counts(Counters(ruleset, ruleset)), packet)
    mark = packet.mark
    for chain in chains_at(ruleset, "output", flow):
        had = walk.packet.mark
        walk.pass_chain(chain, "output")
        if _routes_again(chain) and walk.packet.mark != had:
            mark = walk.packet.mark
    return int.from_bytes(mark.value, sys.byteorder) if mark.is_known else None


def _routes_again(chain: Chain) -> bool:
    """Whether the kernel looks for a route again where a rule of the chain has given a packet another mark."""
    return chain.kind == "route" or (chain.legacy and chain.table == "mangle")


def key_of(chain: Chain, rule: Rule | None) -> Key:
    """The key of a rule, or of the policy of a chain."""
    return chain.key, 0 if rule is None else rule.number


def chains_at(ruleset: Ruleset, hook: Hook, flow: Flow) -> Sequence[Chain]:
    """The chains at which the kernel begins for a flow at a hook, in its order.

    Of equal priorities the one that came last is first (`nf_hook_entries_grow`).
    """
    family = "ip6" if flow.is_ipv6 else "ip"
    device = flow.interface_out if hook == "egress" else flow.interface_in
    found = []
    for chain in ruleset.chains:
        at_device = chain.family == "netdev" or hook == "ingress"
        fits = device in chain.devices if at_device else chain.family in (family, "inet")
        if chain.hook == hook and fits:
            found.append(chain)
    found.reverse()
    return sorted(found, key=attrgetter("priority"))


def is_marked_beside(ruleset: Ruleset, chain: Chain, met: Iterable[Chain]) -> bool:
    """Whether a chain of another table, with the same priority, may set a mark before this one. met: at the hook.

    Tables are listed in their order, and not their chains: one may have come after those of the next table.
    """
    tables = {other.key[:3] for other in met if other.priority == chain.priority} - {chain.key[:3]}
    rules = (rule for other in ruleset.chains if other.key[:3] in tables for rule in other.rules)
    return any(map(_sets_mark, rules))


def _sets_mark(rule: Rule) -> bool:
    """Whether a rule has an expression, or a target of iptables, that gives a packet a mark."""
    return any(
        (each.name == "meta" and 3 in each.attributes and number(each.attributes.get(2)) == MARK)
        or (each.name == "target" and each.attributes.get(1, b"").rstrip(b"\0") in _MARKING)
        for each in rule.expressions
    )


_MARKING = (b"MARK", b"CONNMARK")


def _changed(flow: Flow, action: Action) -> Flow:
    """The flow as it is behind a rule that changes it."""
    return replace(
        flow,
        source=action.source or flow.source,
        source_port=action.source_port or flow.source_port,
        destination=action.destination or flow.destination,
        destination_port=action.destination_port or flow.destination_port,
    )
