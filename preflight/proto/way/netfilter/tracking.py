"""Connection tracking: the question for one flow, and the kernel's answer to it."""

import struct
from collections.abc import Mapping
from ipaddress import ip_address

from preflight.model.flow import Flow
from preflight.proto.way.netfilter.attributes import attribute, number, table
from preflight.proto.way.netfilter.ruleset import Tracked

_ORIGINAL, _REPLY, _STATUS = 1, 2, 3
_IP, _PROTOCOL = 1, 2
_NUMBERS = {"udp": 17, "tcp": 6}
_SEEN_REPLY = 2


def question(flow: Flow) -> bytes | None:
    """The attributes that ask for a flow of UDP or TCP; None where its ports are not known."""
    if flow.protocol == "icmp" or flow.source_port is None or flow.destination_port is None:
        return None
    first = 3 if flow.is_ipv6 else 1
    addresses = attribute(first, ip_address(flow.source).packed) + attribute(
        first + 1, ip_address(flow.destination).packed
    )
    ports = attribute(1, bytes((_NUMBERS[flow.protocol],)))
    ports += attribute(2, struct.pack("!H", flow.source_port)) + attribute(3, struct.pack("!H", flow.destination_port))
    both = attribute(_IP, addresses, nested=True) + attribute(_PROTOCOL, ports, nested=True)
    return attribute(_ORIGINAL, both, nested=True)


def tracked(flow: Flow, data: bytes) -> Tracked:
    """What the answer says of the flow. Raises ValueError if it cannot be read."""
    found = table(data)
    original, reply = _ends(found.get(_ORIGINAL, b"")), _ends(found.get(_REPLY, b""))
    asked = (flow.source, flow.source_port, flow.destination, flow.destination_port)
    answers = original != asked
    # What leaves on the other side is the reverse of the other direction.
    there = _turned(original if answers else reply)
    answered = bool(number(found.get(_STATUS)) & _SEEN_REPLY)
    return Tracked(
        established=answers or answered,
        source=there[0],
        source_port=there[1],
        destination=there[2],
        destination_port=there[3],
        answers=answers,
    )


_Ends = tuple[str, int, str, int]


def _ends(data: bytes) -> _Ends:
    found = table(data)
    addresses, ports = table(found.get(_IP, b"")), table(found.get(_PROTOCOL, b""))
    source, destination = (_address(addresses, first) for first in (1, 2))
    return source, number(ports.get(2)), destination, number(ports.get(3))


def _address(found: Mapping[int, bytes], first: int) -> str:
    data = found.get(first) or found.get(first + 2)
    if data is None:
        raise ValueError("an answer of connection tracking has no address")
    return str(ip_address(data))


def _turned(ends: _Ends) -> _Ends:
    source, source_port, destination, destination_port = ends
    return destination, destination_port, source, source_port
