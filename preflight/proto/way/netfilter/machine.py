"""Runs one rule on one packet, step by step as the kernel does, with three answers: it matches, does not, or may."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from preflight.proto.way.netfilter import xtables
from preflight.proto.way.netfilter.action import ENDING, Action
from preflight.proto.way.netfilter.attributes import number, table, text
from preflight.proto.way.netfilter.bits import Bits, Tri, any_of, certainly
from preflight.proto.way.netfilter.packet import ADDRESS_AT, STATES, Packet, address_type, in_host_order, meta, payload
from preflight.proto.way.netfilter.registers import Registers, length_of
from preflight.proto.way.netfilter.ruleset import Chain, Expression, Rule, Set, Verdict
from preflight.proto.way.netfilter.sets import found_in


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a rule does with a packet. match: whether it gets to the last step of the rule.

    verdicts: each with whether the rule gives it. actions: whatever else it does, in order.
    """

    match: Tri
    verdicts: tuple[tuple[Tri, Verdict], ...] = ()
    actions: tuple[Action, ...] = ()


class Machine:
    """One run of a rule. sets: of the whole ruleset."""

    def __init__(self, packet: Packet, chain: Chain, sets: Mapping[tuple[str, str, str], Set]) -> None:
        self.packet = packet
        self.registers = Registers()
        self.match = Tri.YES
        self.verdicts: list[tuple[Tri, Verdict]] = []
        self.actions: list[Action] = []
        self._chain, self._sets = chain, sets

    def run(self, rule: Rule) -> Outcome:
        """Step by step until one does not match or ends the rule."""
        for expression in rule.expressions:
            self._step(expression)
            if not self.match or self.verdicts or any(each.kind in ENDING for each in self.actions):
                break
        return Outcome(self.match, tuple(self.verdicts), tuple(self.actions))

    def held(self, name: str) -> Set:
        """A set of the chain's table."""
        return self._sets.get((self._chain.family, self._chain.table, name), Set())

    def act(self, action: Action) -> None:
        """Note what the rule does."""
        self.actions.append(action)

    def _step(self, expression: Expression) -> None:
        if expression.verdict is not None:
            self.verdicts.append((self.match, expression.verdict))
            return
        known = _STEPS.get(expression.name)
        if known is None:
            # Whatever it writes is not known, and neither is whether the rule goes on.
            self.registers, self.match = Registers(), self.match & Tri.MAYBE
            return
        self.match &= known(self, expression.attributes)


Found = Mapping[int, bytes]


def _meta(machine: Machine, found: Found) -> Tri:
    key = number(found.get(2))
    if 3 in found:
        if key == MARK:
            machine.act(Action("mark", machine.match, mark=machine.registers.read(found[3], 4)))
        return Tri.YES
    return _loaded(machine, found.get(1), meta(machine.packet, key))


MARK = 3
"""The key of a packet's mark (`NFT_META_MARK`)."""


def _loaded(machine: Machine, register: bytes | None, bits: Bits | None) -> Tri:
    if bits is None:
        machine.registers.write_unknown(register)
        return Tri.MAYBE
    machine.registers.write(register, bits)
    return Tri.YES


def _payload(machine: Machine, found: Found) -> Tri:
    base, offset, length = (number(found.get(each)) for each in (2, 3, 4))
    if 5 in found:
        _rewritten(machine, base, offset, machine.registers.read(found[5], length))
        return Tri.YES
    machine.registers.write(found.get(1), payload(machine.packet, base, offset, length))
    flow = machine.packet.flow
    return certainly(base == 1 or (base == 2 and (flow.protocol != "icmp" or flow.echo is not None))) or Tri.MAYBE


def _rewritten(machine: Machine, base: int, offset: int, bits: Bits) -> None:
    """Note a new address or port."""
    source, destination, length = ADDRESS_AT[machine.packet.flow.is_ipv6]
    sure = machine.match
    if base == 1 and len(bits) == length and offset in (source, destination):
        address = str(ip_address(bits.value)) if bits.is_known else None
        one = Action("rewrite", sure, source=address) if offset == source else (
            Action("rewrite", sure, destination=address)
        )  # fmt: skip
        machine.act(one)
    elif base == 2 and len(bits) == 2 and offset in (0, 2) and machine.packet.flow.protocol != "icmp":
        port = int.from_bytes(bits.value, "big") if bits.is_known else None
        machine.act(
            Action("rewrite", sure, source_port=port) if offset == 0 else Action("rewrite", sure, destination_port=port)
        )


def _bitwise(machine: Machine, found: Found) -> Tri:
    length = length_of(found, 3)
    held = machine.registers.read(found.get(1), length)
    if number(found.get(6)) == 0 and 4 in found and 5 in found:
        mask, flipped = _data(found, 4), _data(found, 5)
        machine.registers.write(found.get(2), held.masked(mask, flipped))
    else:
        machine.registers.write_unknown(found.get(2), length)
    return Tri.YES


def _byteorder(machine: Machine, found: Found) -> Tri:
    length, size = length_of(found, 4), length_of(found, 5)
    held = machine.registers.read(found.get(1), length)
    machine.registers.write(found.get(2), held.swapped(size) if sys.byteorder == "little" else held)
    return Tri.YES


def _immediate(machine: Machine, found: Found) -> Tri:
    machine.registers.write(found.get(1), Bits.of(_data(found, 2)))
    return Tri.YES


def _data(found: Found, attribute: int) -> bytes:
    return table(found.get(attribute, b"")).get(1, b"")


def _cmp(machine: Machine, found: Found) -> Tri:
    wanted = _data(found, 3)
    held = machine.registers.read(found.get(1), len(wanted))
    equal = held.equals(wanted)
    operation = number(found.get(2))
    if operation in (0, 1):
        return ~equal if operation else equal
    results = {2: ~held.at_least(wanted), 3: held.at_most(wanted), 4: ~held.at_most(wanted), 5: held.at_least(wanted)}
    return results.get(operation, Tri.MAYBE)


def _range(machine: Machine, found: Found) -> Tri:
    first, last = _data(found, 3), _data(found, 4)
    held = machine.registers.read(found.get(1), len(first))
    inside = held.at_least(first) & held.at_most(last)
    return ~inside if number(found.get(2)) else inside


def _lookup(machine: Machine, found: Found) -> Tri:
    held = machine.held(text(found.get(1)))
    key = machine.registers.read(found.get(2), held.key_bytes)
    sure, elements = found_in(held, key)
    if number(found.get(5)) & 1:
        return ~sure
    if 3 not in found:
        return sure
    if number(found[3]) == 0:
        _verdicts_of(machine, held, [(each.sure, each.element.verdict) for each in elements])
        return sure
    values = {each.element.data for each in elements}
    only = values.pop() if len(values) == 1 else None
    return _loaded(machine, found[3], None if only is None else Bits.of(only)) and sure


def _verdicts_of(machine: Machine, held: Set, those: list[tuple[Tri, Verdict | None]]) -> None:
    machine.verdicts += ((machine.match & sure, verdict) for sure, verdict in those if verdict is not None)
    if held.elements is None:
        machine.act(Action("unknown", machine.match & Tri.MAYBE))


def _ct(machine: Machine, found: Found) -> Tri:
    if 4 in found:
        return Tri.YES
    if number(found.get(2)) == 0:
        state = machine.packet.seen_state
        machine.registers.write(found.get(1), Bits.unknown(4) if state is None else in_host_order(STATES[state]))
        return Tri.YES
    return _loaded(machine, found.get(1), None)


def _fib(machine: Machine, found: Found) -> Tri:
    result, flags = number(found.get(2)), number(found.get(3))
    if result == _ADDRESS_TYPE and flags & 3:
        kind = address_type(machine.packet, of_source=bool(flags & 1))
        return _loaded(machine, found.get(1), None if kind is None else in_host_order(kind))
    machine.registers.write_unknown(found.get(1))
    return Tri.YES


_ADDRESS_TYPE = 3


def _dynset(machine: Machine, found: Found) -> Tri:
    # A limit in it may stop the rule, and a set may be full.
    return Tri.MAYBE if 7 in found or 10 in found else Tri.YES


def _objref(machine: Machine, found: Found) -> Tri:
    # Quotas, limits and counts of connections match or not; counters and helpers always do.
    return Tri.MAYBE if number(found.get(1)) in (2, 4, 5) or 1 not in found else Tri.YES


def _match(machine: Machine, found: Found) -> Tri:
    return xtables.matches(machine.packet, text(found.get(1)), number(found.get(2)), found.get(3, b""))


def _target(machine: Machine, found: Found) -> Tri:
    name, revision, data = text(found.get(1)), number(found.get(2)), found.get(3, b"")
    action = xtables.target(machine.packet, name, revision, data, machine.match)
    if action is not None:
        machine.act(action)
    return Tri.YES


def _header(machine: Machine, found: Found) -> Tri:
    return xtables.header_matches(machine.packet, text(found.get(1)), found.get(3, b""))


def _nat(machine: Machine, found: Found) -> Tri:
    packet = machine.packet
    length = 16 if packet.flow.is_ipv6 else 4
    address, port = None, None
    if 3 in found:
        lowest = machine.registers.read(found[3], length)
        same = 4 not in found or machine.registers.read(found[4], length) == lowest
        address = str(ip_address(lowest.value)) if lowest.is_known and same else None
    if 5 in found:
        port = _port(machine, found[5])
    if number(found.get(1)) == 0:
        machine.act(Action("snat", machine.match, source=address, source_port=port))
    else:
        machine.act(Action("dnat", machine.match, destination=address, destination_port=port))
    return Tri.YES


def _redir(machine: Machine, found: Found) -> Tri:
    port = _port(machine, found[1]) if 1 in found else None
    machine.act(Action("redirect", machine.match, destination_port=port))
    return Tri.YES


def _port(machine: Machine, register: bytes) -> int | None:
    held = machine.registers.read(register, 2)
    return int.from_bytes(held.value, "big") if held.is_known else None


def _does(action: Callable[[Tri], Action]) -> Callable[[Machine, Found], Tri]:
    def step(machine: Machine, found: Found) -> Tri:
        machine.act(action(machine.match))
        return Tri.YES

    return step


def _nothing(machine: Machine, found: Found) -> Tri:
    return Tri.YES


def _perhaps(machine: Machine, found: Found) -> Tri:
    return Tri.MAYBE


_STEPS: Mapping[str, Callable[[Machine, Found], Tri]] = {
    "meta": _meta,
    "payload": _payload,
    "bitwise": _bitwise,
    "byteorder": _byteorder,
    "immediate": _immediate,
    "cmp": _cmp,
    "range": _range,
    "lookup": _lookup,
    "ct": _ct,
    "fib": _fib,
    "dynset": _dynset,
    "objref": _objref,
    "match": _match,
    "target": _target,
    "header": _header,
    "nat": _nat,
    "redir": _redir,
    "masq": _does(lambda sure: Action("masquerade", sure)),
    "reject": _does(lambda sure: Action("reject", sure)),
    "queue": _does(lambda sure: Action("queue", sure)),
    "fwd": _does(lambda sure: Action("take", sure)),
    "tproxy": _does(lambda sure: Action("proxy", sure & Tri.MAYBE)),
    "notrack": _does(lambda sure: Action("notrack", sure)),
    **dict.fromkeys(("counter", "log", "dup", "flow_offload", "last"), _nothing),
    **dict.fromkeys(("limit", "quota", "connlimit"), _perhaps),
}
"""What each step does: whether the rule goes on, and what it writes."""


def run(packet: Packet, chain: Chain, rule: Rule, sets: Mapping[tuple[str, str, str], Set]) -> Outcome:
    """What a rule of a chain does with a packet."""
    return Machine(packet, chain, sets).run(rule)


def may_end(outcome: Outcome) -> Tri:
    """Whether a rule keeps the packet from the next one."""
    given = any_of(sure for sure, verdict in outcome.verdicts if verdict.kind not in ("continue", "break"))
    return given | any_of(each.sure for each in outcome.actions if each.kind in ENDING)
