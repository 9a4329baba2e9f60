"""Tracing a flow through nftables: the table that asks for it, and what the kernel reports of each packet."""

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from preflight.model.flow import Flow
from preflight.proto.way.netfilter.attributes import attribute, number, table, text
from preflight.proto.way.netfilter.nftables import FAMILIES, Message

TRACE, NEW_TABLE, NEW_CHAIN, NEW_RULE = 17, 0, 3, 6
"""Numbers of messages (linux/netfilter/nf_tables.h)."""
INET = 1
_OWNER = 2
"""The table goes with the socket that made it, also when its process is killed, and no other one changes it."""
_HOOKS = ((0, "prerouting"), (3, "output"))
_PRIORITY = -450
"""In front of every rule that people write; what an even earlier one drops is not reported."""
_META_TRACE, _META_FAMILY, _META_PROTOCOL = 12, 15, 16
_NUMBERS = {"udp": 17, "tcp": 6}
_RULE, _POLICY = 3, 1
_DROP = 0


@dataclass(frozen=True, slots=True)
class Dropped:
    """A packet of a flow that a rule, or a policy where `handle` is None, dropped.

    base: the table and chain where the kernel began. family, table, chain: those of the rule.
    """

    flow: Flow
    base: tuple[str, str, str]
    family: str
    table: str
    chain: str
    handle: int | None


def batch(name: str, flows: Iterable[Flow]) -> list[tuple[int, bytes]]:
    """The messages, as numbers and attributes, that make a table which traces these flows and decides nothing."""
    head = attribute(1, _text(name))
    messages = [(NEW_TABLE, head + attribute(2, struct.pack("!I", _OWNER)))]
    for hook, chain in _HOOKS:
        where = attribute(1, struct.pack("!I", hook)) + attribute(2, struct.pack("!i", _PRIORITY))
        kind = attribute(7, _text("filter")) + attribute(5, struct.pack("!I", 1))
        messages.append((NEW_CHAIN, head + attribute(3, _text(chain)) + attribute(4, where, nested=True) + kind))
    for _, chain in _HOOKS:
        for flow in flows:
            steps = b"".join(attribute(1, step, nested=True) for step in _steps(flow))
            messages.append((NEW_RULE, head + attribute(2, _text(chain)) + attribute(4, steps, nested=True)))
    return messages


def _text(name: str) -> bytes:
    return name.encode("ascii") + b"\0"


def _steps(flow: Flow) -> Iterator[bytes]:
    """The expressions of the rule for a flow."""
    icmp = 58 if flow.is_ipv6 else 1
    yield from _equals("meta", {1: 1, 2: _META_FAMILY}, bytes((10 if flow.is_ipv6 else 2,)))
    yield from _equals("meta", {1: 1, 2: _META_PROTOCOL}, bytes((_NUMBERS.get(flow.protocol, icmp),)))
    offset, length = (8, 16) if flow.is_ipv6 else (12, 4)
    both = ip_address(flow.source).packed, ip_address(flow.destination).packed
    for place, value in enumerate(both):
        yield from _equals("payload", {1: 1, 2: 1, 3: offset + place * length, 4: length}, value)
    for place, port in enumerate((flow.source_port, flow.destination_port)):
        if port is not None and flow.protocol != "icmp":
            yield from _equals("payload", {1: 1, 2: 2, 3: place * 2, 4: 2}, struct.pack("!H", port))
    one = attribute(1, struct.pack("!I", 1)) + attribute(2, attribute(1, b"\1"), nested=True)
    yield _expression("immediate", one)
    yield _expression("meta", _numbers({2: _META_TRACE, 3: 1}))


def _equals(name: str, load: dict[int, int], value: bytes) -> Iterator[bytes]:
    yield _expression(name, _numbers(load))
    data = attribute(3, attribute(1, value), nested=True)
    yield _expression("cmp", _numbers({1: 1, 2: 0}) + data)


def _numbers(values: dict[int, int]) -> bytes:
    return b"".join(attribute(kind, struct.pack("!I", value)) for kind, value in values.items())


def _expression(name: str, data: bytes) -> bytes:
    return attribute(1, _text(name)) + attribute(2, data, nested=True)


def dropped(messages: Iterable[Message], flows: Sequence[Flow]) -> list[Dropped]:
    """Packets of these flows that were dropped, in the order of the events.

    The kernel numbers packets by the address of their buffer, so numbers repeat: a packet is known by its headers,
    which come with the first event of each chain where the kernel begins.
    """
    found: list[Dropped] = []
    now: dict[int, tuple[Flow | None, tuple[str, str, str]]] = {}
    for message in messages:
        event = table(message.data)
        family = FAMILIES.get(message.family, "inet")
        place = (family, text(event.get(1)), text(event.get(2)))
        packet = number(event.get(6))
        if 8 in event:
            now[packet] = (_flow_of(event[8], event.get(9, b""), flows), place)
        flow, base = now.get(packet, (None, place))
        if flow is not None and _is_drop(event):
            handle = number(event[3]) if 3 in event else None
            found.append(Dropped(flow, base, *place, handle))
    return found


def _is_drop(event: dict[int, bytes]) -> bool:
    if number(event.get(4)) == _POLICY:
        return 16 in event and number(event[16]) == _DROP
    verdict = table(event.get(5, b""))
    return number(event.get(4)) == _RULE and 3 in event and 1 in verdict and number(verdict[1]) == _DROP


def _flow_of(network: bytes, transport: bytes, flows: Sequence[Flow]) -> Flow | None:
    """The flow with these headers; None behind a rule that has translated it."""
    offset, length = (8, 16) if network[:1] >= b"\x60" else (12, 4)
    ends = [network[offset + place * length : offset + (place + 1) * length] for place in range(2)]
    ports = struct.unpack_from("!HH", transport) if len(transport) >= 4 else (None, None)
    for flow in flows:
        wanted = [ip_address(flow.source).packed, ip_address(flow.destination).packed]
        same_ports = flow.protocol == "icmp" or all(
            own in (None, seen) for own, seen in zip((flow.source_port, flow.destination_port), ports, strict=True)
        )
        if ends == wanted and same_ports:
            return flow
    return None
