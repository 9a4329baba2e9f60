"""iptables-legacy: the tables that the kernel gives out by getsockopt, as chains."""

import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from preflight.proto.way.netfilter.attributes import text
from preflight.proto.way.netfilter.ruleset import (
    Chain,
    ChainKind,
    Counted,
    Expression,
    Hook,
    Rule,
    Verdict,
    VerdictKind,
)

INFO_BYTES, ENTRIES_HEADER_BYTES = 84, 40
"""Of struct ipt_getinfo, and of struct ipt_get_entries in front of the entries."""
_HOOKS: tuple[Hook, ...] = ("prerouting", "input", "forward", "output", "postrouting")
_PRIORITIES: Mapping[str, tuple[int, int, int, int, int]] = {
    "raw": (-300, -300, -300, -300, -300),
    "mangle": (-150, -150, -150, -150, -150),
    "nat": (-100, 100, 0, -100, 100),
    "filter": (0, 0, 0, 0, 0),
    "security": (50, 50, 50, 50, 50),
}
"""By table and hook (linux/netfilter_ipv4.h)."""
_ERROR = "ERROR"
"""The target of the entry in front of a chain that is not the kernel's own: its data is the chain's name."""
_RETURN = -5
_VERDICTS: Mapping[int, VerdictKind] = {-1: "drop", -2: "accept", -4: "queue"}
_GOTO = {"ip": 0x02, "ip6": 0x04}


class Layout(NamedTuple):
    """Where the parts of an entry are. size: of an entry in front of its matches; counters, flags: their offsets."""

    family: str
    header: int
    size: int
    counters: int
    flags: int


IPV4 = Layout("ip", 84, 112, 96, 82)
IPV6 = Layout("ip6", 136, 168, 152, 131)


class TableInfo(NamedTuple):
    """What the kernel says of a table: where the chain of each hook begins, and its size."""

    name: str
    begins: Mapping[Hook, int]
    bytes: int


class _Entry(NamedTuple):
    offset: int
    expressions: tuple[Expression, ...]
    counted: Counted
    target: str
    code: int
    name: str
    goto: bool


def table_info(data: bytes) -> TableInfo:
    """struct ipt_getinfo. Raises struct.error if it is cut short."""
    name, valid = struct.unpack_from("=32sI", data)
    begins = struct.unpack_from("=5I", data, 36)
    there = [(number, hook) for number, hook in enumerate(_HOOKS) if valid & 1 << number]
    _, size = struct.unpack_from("=2I", data, 76)
    return TableInfo(text(name), {hook: begins[number] for number, hook in there}, size)


def chains_of(info: TableInfo, entries: bytes, layout: Layout) -> tuple[Chain, ...]:
    """The chains of a table. Raises ValueError or struct.error for what cannot be read."""
    found = list(_entries(entries, layout))
    begins = {offset: hook for hook, offset in info.begins.items()}
    starts: list[tuple[int, str, Hook | None]] = []
    for entry in found:
        if entry.offset in begins:
            starts.append((entry.offset, begins[entry.offset].upper(), begins[entry.offset]))
        elif entry.target == _ERROR and entry.offset != found[-1].offset:
            starts.append((entry.offset, entry.name, None))
    # A jump leads to the first rule behind the entry with the name.
    targets = {_behind(found, offset): name for offset, name, hook in starts if hook is None}
    bounds = [*(offset for offset, _, _ in starts), found[-1].offset if found else 0]
    return tuple(
        _chain(info, layout, start, [each for each in found if start[0] <= each.offset < end], targets)
        for start, end in zip(starts, bounds[1:], strict=True)
    )


def _behind(found: list[_Entry], offset: int) -> int:
    return min((each.offset for each in found if each.offset > offset), default=offset)


def _chain(
    info: TableInfo,
    layout: Layout,
    start: tuple[int, str, Hook | None],
    entries: list[_Entry],
    targets: Mapping[int, str],
) -> Chain:
    _, name, hook = start
    last = entries[-1]
    # The last entry is the policy, or the way back to where the chain was called.
    rules = entries[:-1] if hook else entries[1:-1]
    kind: ChainKind = "nat" if info.name == "nat" else "filter"
    return Chain(
        family="ip" if layout.family == "ip" else "ip6",
        table=info.name,
        name=name,
        rules=tuple(_rule(number, each, rules, last, targets) for number, each in enumerate(rules, 1)),
        hook=hook,
        priority=_PRIORITIES.get(info.name, _PRIORITIES["filter"])[_HOOKS.index(hook)] if hook else 0,
        kind=kind,
        policy=None if hook is None else ("drop" if last.code == -1 else "accept"),
        legacy=True,
        counter=last.counted if hook else None,
    )


def _rule(number: int, entry: _Entry, rules: list[_Entry], last: _Entry, targets: Mapping[int, str]) -> Rule:
    following = rules[number].offset if number < len(rules) else last.offset
    decides = () if entry.target else (Expression("immediate", verdict=_verdict(entry, following, targets)),)
    comments = (text(each.attributes[3]) for each in entry.expressions if text(each.attributes.get(1)) == "comment")
    expressions = (*entry.expressions, *decides)
    return Rule(number, expressions, comment=next(comments, None) or None, counter=entry.counted)


def _verdict(entry: _Entry, following: int, targets: Mapping[int, str]) -> Verdict:
    if entry.code == _RETURN:
        return Verdict("return")
    if entry.code < 0:
        return Verdict(_VERDICTS.get(entry.code, "drop"))
    if entry.code == following:
        return Verdict("continue")
    return Verdict("goto" if entry.goto else "jump", targets.get(entry.code, ""))


def _entries(data: bytes, layout: Layout) -> Iterator[_Entry]:
    offset = 0
    while offset < len(data):
        target_at, following = struct.unpack_from("=HH", data, offset + layout.header + 4)
        if not layout.size <= target_at < following <= len(data) - offset:
            raise ValueError("an entry of iptables is cut short")
        entry = data[offset : offset + following]
        header = Expression("header", {1: layout.family.encode(), 3: entry[: layout.header]})
        matches = [_part("match", body) for body in _parts(entry[layout.size : target_at])]
        target = _part("target", entry[target_at:])
        packets, size = struct.unpack_from("=QQ", entry, layout.counters)
        name, info = text(target.attributes[1]), target.attributes[3]
        yield _Entry(
            offset,
            (header, *matches, *((target,) if name else ())),
            Counted(packets, size),
            name,
            struct.unpack_from("=i", info)[0] if not name else 0,
            text(info) if name == _ERROR else "",
            bool(entry[layout.flags] & _GOTO[layout.family]),
        )
        offset += following


def _parts(data: bytes) -> Iterator[bytes]:
    while len(data) >= 32:
        (size,) = struct.unpack_from("=H", data)
        if not 32 <= size <= len(data):
            raise ValueError("a match of iptables is cut short")
        yield data[:size]
        data = data[size:]


def _part(kind: str, data: bytes) -> Expression:
    """A match or a target, with the numbers that nftables gives to its name, its revision and its parameters."""
    (size,) = struct.unpack_from("=H", data)
    return Expression(kind, {1: data[2:31], 2: data[31:32].rjust(4, b"\0"), 3: data[32:size]})
