"""nftables: the answers of the kernel to dumps of chains, rules and sets, as a ruleset."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from preflight.proto.way.netfilter import attributes
from preflight.proto.way.netfilter.attributes import number, text
from preflight.proto.way.netfilter.lazy import Lazy
from preflight.proto.way.netfilter.ruleset import (
    Chain,
    ChainKind,
    Counted,
    Element,
    Expression,
    Family,
    Hook,
    Rule,
    Ruleset,
    Set,
    Verdict,
    VerdictKind,
)

NEW_CHAIN, NEW_RULE, NEW_SET, NEW_ELEMENTS = 3, 6, 9, 12
GET_CHAIN, GET_RULE, GET_SET, GET_ELEMENTS = 4, 7, 10, 13
"""Numbers of messages (linux/netfilter/nf_tables.h)."""
SET_TABLE, SET_NAME = 1, 2
FAMILIES: Mapping[int, Family] = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
_HOOKS: tuple[Hook, ...] = ("prerouting", "input", "forward", "output", "postrouting", "ingress")
_DEVICE_HOOKS: tuple[Hook, ...] = ("ingress", "egress")
_INTERVAL, _HAS_FIELDS = 0x4, 0x80
_INTERVAL_END, _CATCH_ALL = 1, 2
_VERDICTS: Mapping[int, VerdictKind] = {
    **{0: "drop", 1: "accept", 2: "stolen", 3: "queue"},
    **{-1: "continue", -2: "break", -3: "jump", -4: "goto", -5: "return"},
}
_MATCHING = frozenset(
    ("cmp", "range", "lookup", "limit", "quota", "match", "connlimit", "dynset", "fib", "socket", "osf", "objref")
)
"""Expressions behind which a rule may be over."""


class Message(NamedTuple):
    """One message of a dump, without the header of netlink: its number, the family, and its attributes."""

    kind: int
    family: int
    data: bytes


def ruleset_of(messages: Iterable[Message]) -> Ruleset:
    """The ruleset in the dumps of chains, rules, sets and elements. Raises ValueError for what cannot be read."""
    chains: dict[_Place, Chain] = {}
    rules: dict[_Place, list[bytes]] = {}
    sets: dict[_Place, Set] = {}
    elements: dict[_Place, list[bytes]] = {}
    for message in messages:
        family, found = FAMILIES.get(message.family), attributes.table(message.data)
        if family is None:
            continue
        place = (family, text(found.get(1)), text(found.get(2)))
        if message.kind == NEW_CHAIN:
            chain = _chain(family, found)
            chains[family, chain.table, chain.name] = chain
        elif message.kind == NEW_RULE:
            rules.setdefault(place, []).append(message.data)
        elif message.kind == NEW_SET:
            sets[place] = _set(found)
        elif message.kind == NEW_ELEMENTS:
            elements.setdefault(place, []).extend(value for _, value in attributes.each(found.get(3, b"")))
    return Ruleset(
        chains=tuple(replace(chain, rules=_rules(rules.get(place, []))) for place, chain in chains.items()),
        sets={
            place: replace(each, elements=_elements(elements[place])) if place in elements else each
            for place, each in sets.items()
        },
    )


_Place = tuple[str, str, str]
"""Family, table, and chain or set."""


def _rules(held: list[bytes]) -> Lazy[Rule]:
    return Lazy(len(held), lambda: tuple(_rule(place, attributes.table(data)) for place, data in enumerate(held, 1)))


def _elements(held: list[bytes]) -> Lazy[Element]:
    return Lazy(len(held), lambda: tuple(_element(attributes.table(data)) for data in held))


def _chain(family: Family, found: Mapping[int, bytes]) -> Chain:
    hook, priority, devices = None, 0, tuple[str, ...]()
    if 4 in found:
        where = attributes.table(found[4])
        hooks = _DEVICE_HOOKS if family == "netdev" else _HOOKS
        hook = hooks[number(where.get(1))] if number(where.get(1)) < len(hooks) else None
        priority = int.from_bytes(where.get(2, b"\0"), "big", signed=True)
        listed = [value for _, value in attributes.each(where.get(4, b""))]
        devices = tuple(map(text, listed or ([where[3]] if 3 in where else [])))
    kinds: Mapping[str, ChainKind] = {"nat": "nat", "route": "route"}
    counted = attributes.table(found[8]) if 8 in found else None
    return Chain(
        family=family,
        table=text(found.get(1)),
        name=text(found.get(3)),
        hook=hook,
        priority=priority,
        kind=kinds.get(text(found.get(7)), "filter"),
        policy=None if hook is None else ("drop" if 5 in found and number(found[5]) == 0 else "accept"),
        devices=devices,
        counter=None if counted is None else Counted(number(counted.get(2)), number(counted.get(1))),
    )


def _rule(place: int, found: Mapping[int, bytes]) -> Rule:
    expressions = tuple(_expression(each) for _, each in attributes.each(found.get(4, b"")))
    return Rule(
        place,
        expressions,
        handle=number(found.get(3)),
        comment=_comment(found.get(7, b"")) or _comment_of_iptables(expressions),
        counter=_counter(expressions),
    )


def _expression(data: bytes) -> Expression:
    found = attributes.table(data)
    values = attributes.table(found.get(2, b""))
    name = text(found.get(1))
    held = attributes.table(values[2]) if name == "immediate" and 2 in values else {}
    return Expression(name, values, _verdict(held[2]) if 2 in held else None)


def _verdict(data: bytes) -> Verdict:
    found = attributes.table(data)
    # The code of a queue holds its number too.
    code = int.from_bytes(found.get(1, b"\0\0\0\0"), "big", signed=True)
    kind = _VERDICTS.get(code if code < 0 else code & 0xFF, "continue")
    return Verdict(kind, text(found[2]) if 2 in found else None)


def _counter(expressions: tuple[Expression, ...]) -> Counted | None:
    """The counter that has counted exactly what the rule decides."""
    for expression in reversed(expressions):
        if expression.name == "counter":
            found = expression.attributes
            return Counted(number(found.get(2)), number(found.get(1)))
        if expression.name in _MATCHING:
            return None
    return None


def _comment(data: bytes) -> str | None:
    """A rule's comment: records of type, length and value, the comment has the type 0."""
    while len(data) >= 2:
        kind, length = data[0], data[1]
        if kind == 0:
            return text(data[2 : 2 + length]) or None
        data = data[2 + length :]
    return None


def _comment_of_iptables(expressions: tuple[Expression, ...]) -> str | None:
    for each in expressions:
        if each.name == "match" and text(each.attributes.get(1)) == "comment":
            return text(each.attributes.get(3)) or None
    return None


def _set(found: Mapping[int, bytes]) -> Set:
    flags = number(found.get(3))
    description = attributes.table(found.get(9, b""))
    fields = (attributes.table(each) for _, each in attributes.each(description.get(2, b"")))
    return Set(
        None,
        intervals=bool(flags & _INTERVAL) and not flags & _HAS_FIELDS,
        fields=tuple(number(each.get(1)) for each in fields),
        key_bytes=number(found.get(5), 4),
    )


def _element(found: Mapping[int, bytes]) -> Element:
    flags = number(found.get(3))
    data = attributes.table(found.get(2, b""))
    return Element(
        None if flags & _CATCH_ALL else _value(found.get(1)),
        end=_value(found[10]) if 10 in found else None,
        opens=not flags & _INTERVAL_END,
        data=data.get(1),
        verdict=_verdict(data[2]) if 2 in data else None,
    )


def _value(data: bytes | None) -> bytes:
    return attributes.table(data or b"").get(1, b"")
