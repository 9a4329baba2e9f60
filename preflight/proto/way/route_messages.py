"""Questions for a route and their answers as netlink messages (rtnetlink(7)), with every selector of a rule.

pyroute2 0.9 silently leaves out the user, the protocol and the ports of such a question. A subclass of its message with
the missing attributes loses them too, as soon as the plain class was used: the table of attributes is made once.
"""

import errno
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Final

from preflight.model.flow import Flow
from preflight.model.kernel import MAIN_TABLE
from preflight.model.overlay import IPNetwork
from preflight.model.routing import RouteType, protocol_number

GETROUTE: Final = 26
LOOKUP_TABLE: Final = 0x1000
"""Without it the kernel reports every table as the main one."""
FIB_MATCH: Final = 0x2000
"""The answer is the entry that decides, in the place of what it leads to."""

TYPES: Final[Mapping[int, RouteType]] = {
    1: "unicast",
    2: "local",
    3: "broadcast",
    6: "blackhole",
    7: "unreachable",
    8: "prohibit",
    9: "throw",
}
"""`rtm_type` of linux/rtnetlink.h."""
REFUSALS: Final[Mapping[int, RouteType]] = {
    errno.EINVAL: "blackhole",
    errno.EHOSTUNREACH: "unreachable",
    errno.EACCES: "prohibit",
    errno.ENETUNREACH: "none",
}
"""The kernel answers a refusal by an error, never by a type. A rule `unreachable` gives the same as no route at all."""

_INET, _INET6 = 2, 10
_REQUEST, _ERROR = 1, 2
_HEADER = struct.Struct("=IHHII")
_ROUTE = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_CODE = struct.Struct("=i")
_DST, _SRC, _IIF, _OIF, _GATEWAY, _PREFSRC = 1, 2, 3, 4, 5, 7
_TABLE, _MARK, _VIA, _UID, _IP_PROTO, _SPORT, _DPORT = 15, 16, 18, 25, 27, 28, 29
_ALIGNED = 4
_FAMILY_BYTES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteAnswer:
    """One answer. interface: its index. destination: of the entry, where that was asked for."""

    type: RouteType
    interface: int | None = None
    gateway: str | None = None
    source: str | None = None
    table: int = MAIN_TABLE
    destination: IPNetwork


def question(flow: Flow, number: int, flags: int, *, bound_to: int | None = None, incoming: int | None = None) -> bytes:
    """A question about a flow. bound_to, incoming: indexes of the socket's device, and of one to come in by."""
    length = 128 if flow.is_ipv6 else 32
    family = _INET6 if flow.is_ipv6 else _INET
    route = _ROUTE.pack(family, length, length if flow.source else 0, 0, 0, 0, 0, 0, flags)
    body = route + b"".join(_packed(kind, value) for kind, value in _selectors(flow, bound_to, incoming))
    return _HEADER.pack(_HEADER.size + len(body), GETROUTE, _REQUEST, number, 0) + body


def _selectors(flow: Flow, bound_to: int | None, incoming: int | None) -> Iterator[tuple[int, bytes]]:
    yield _DST, ip_address(flow.destination).packed
    if flow.source:
        yield _SRC, ip_address(flow.source).packed
    if incoming is not None:
        yield _IIF, struct.pack("=I", incoming)
    if bound_to is not None:
        yield _OIF, struct.pack("=I", bound_to)
    if flow.mark:
        yield _MARK, struct.pack("=I", flow.mark)
    yield _UID, struct.pack("=I", flow.uid)
    yield _IP_PROTO, bytes((protocol_number(flow),))
    if flow.protocol != "icmp":
        ports = ((_SPORT, flow.source_port), (_DPORT, flow.destination_port))
        yield from ((kind, port.to_bytes(2, "big")) for kind, port in ports if port is not None)


def _packed(kind: int, value: bytes) -> bytes:
    padding = -len(value) % _ALIGNED
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(padding)


def read_answer(message: bytes, number: int) -> RouteAnswer | int | None:
    """An answer, the errno of a refusal, or None for a message that is about another question."""
    if len(message) < _HEADER.size:
        return None
    _, kind, _, about, _ = _HEADER.unpack_from(message)
    if about != number:
        return None
    if kind == _ERROR:
        return -int(_CODE.unpack_from(message, _HEADER.size)[0])
    family, length, _, _, _, _, _, type_, _ = _ROUTE.unpack_from(message, _HEADER.size)
    found = dict(_attributes(message[_HEADER.size + _ROUTE.size :]))
    default = "::" if family == _INET6 else "0.0.0.0"  # noqa: S104 - a prefix, nothing is bound
    via = found.get(_VIA, b"")[_FAMILY_BYTES:] or found.get(_GATEWAY, b"")
    return RouteAnswer(
        type=TYPES.get(type_, "other"),
        interface=_number(found.get(_OIF)),
        gateway=_address(via),
        source=_address(found.get(_PREFSRC, b"")),
        table=_number(found.get(_TABLE)) or MAIN_TABLE,
        destination=ip_network(f"{_address(found.get(_DST, b'')) or default}/{length}", strict=False),
    )


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            return
        yield kind, data[_ATTRIBUTE.size : length]
        data = data[length + -length % _ALIGNED :]


def _number(value: bytes | None) -> int | None:
    return int.from_bytes(value, "little" if struct.pack("=H", 1)[0] else "big") if value else None


def _address(packed: bytes) -> str | None:
    return str(ip_address(packed)) if packed else None
