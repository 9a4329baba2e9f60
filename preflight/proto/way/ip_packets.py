"""The headers of an IP packet, as a tap without link-layer header gives it; ICMP errors with what they are about."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import ip_address
from typing import Final

from preflight.model.tapped import IcmpError, Refused

UDP: Final = 17
ICMP: Final = 1
ICMPV6: Final = 58
_V4 = struct.Struct("!BBHHHBBH4s4s")
_V6 = struct.Struct("!IHBB16s16s")
_UDP = struct.Struct("!HHHH")
_PORTS = struct.Struct("!HH")
_UDP_BYTES, _ICMP_BYTES = 8, 8
_FRAGMENT, _EXTENSIONS = 44, (0, 43, 60)
_MOST_EXTENSIONS = 8
_EXTENSION_BYTES = 8
_OFFSET = 0x1FFF
_V6_OFFSET = 0xFFF8


@dataclass(frozen=True, slots=True)
class IpPacket:
    """The headers of one packet. payload: what is behind them, as far as it was captured; payload_bytes: all of it.

    fragment: a later fragment, without ports. error: what an ICMP error says.
    """

    source: str
    destination: str
    protocol: int
    length_bytes: int
    ttl: int
    source_port: int | None = None
    destination_port: int | None = None
    fragment: bool = False
    payload: bytes = b""
    payload_bytes: int = 0
    error: IcmpError | None = None


def read(head: bytes, length: int = 0) -> IpPacket | None:
    """The packet that begins so; None if it is not IP or too short. length: the whole packet's, if the header has 0."""
    found = _headers(head, length)
    if found is None:
        return None
    packet, begins = found
    if packet.protocol in (ICMP, ICMPV6) and not packet.fragment and len(head) >= begins + _ICMP_BYTES:
        error = _error(packet.protocol, head[begins], head[begins + 1], head[begins + _ICMP_BYTES :])
        return replace(packet, error=error)
    return _with_ports(head, begins, packet)


def ends(head: bytes) -> tuple[str, int, int] | None:
    """The source, its port and the port that a packet of TCP or UDP is for; None for any other, and for fragments."""
    found = _headers(head, 0)
    if found is None or found[0].fragment or len(head) < found[1] + _PORTS.size:
        return None
    source_port, destination_port = _PORTS.unpack_from(head, found[1])
    return found[0].source, source_port, destination_port


def _headers(head: bytes, length: int) -> tuple[IpPacket, int] | None:
    """The packet without what is behind its headers, and where that begins."""
    version = head[0] >> 4 if head else 0
    if version == 4 and len(head) >= _V4.size:
        return _v4(head, length)
    if version == 6 and len(head) >= _V6.size:
        return _v6(head, length)
    return None


def _v4(head: bytes, length: int) -> tuple[IpPacket, int]:
    first, _, total, _, offset, ttl, protocol, _, source, destination = _V4.unpack_from(head)
    later = bool(offset & _OFFSET)
    packet = IpPacket(_text(source), _text(destination), protocol, total or length, ttl, fragment=later)
    return packet, (first & 15) * 4


def _v6(head: bytes, length: int) -> tuple[IpPacket, int]:
    _, behind, protocol, ttl, source, destination = _V6.unpack_from(head)
    begins, later = _V6.size, False
    for _ in range(_MOST_EXTENSIONS):
        if later or protocol not in (_FRAGMENT, *_EXTENSIONS) or len(head) < begins + _EXTENSION_BYTES:
            break
        if protocol == _FRAGMENT:
            later = bool(int.from_bytes(head[begins + 2 : begins + 4], "big") & _V6_OFFSET)
            more = 0
        else:
            more = head[begins + 1] * _EXTENSION_BYTES
        protocol, begins = head[begins], begins + _EXTENSION_BYTES + more
    total = behind + _V6.size if behind else length
    return IpPacket(_text(source), _text(destination), protocol, total, ttl, fragment=later), begins


def _with_ports(head: bytes, begins: int, packet: IpPacket) -> IpPacket:
    if packet.protocol != UDP or packet.fragment or len(head) < begins + _UDP_BYTES:
        return packet
    source_port, destination_port, datagram_bytes, _ = _UDP.unpack_from(head, begins)
    behind = begins + _UDP_BYTES
    # The length in the header is of the whole datagram, also in a first fragment.
    payload_bytes = (datagram_bytes or packet.length_bytes - begins) - _UDP_BYTES
    return replace(
        packet,
        source_port=source_port,
        destination_port=destination_port,
        payload=head[behind:],
        payload_bytes=max(0, payload_bytes),
    )


_V4_REASONS: Mapping[tuple[int, int], Refused] = {
    **{(3, code): "network" for code in (0, 6, 8, 11)},
    **{(3, code): "host" for code in (1, 5, 7, 12)},
    **{(3, code): "prohibited" for code in (9, 10, 13, 14, 15)},
    (3, 2): "protocol",
    (3, 3): "port",
    (3, 4): "too big",
    (11, 0): "expired",
}
_V6_REASONS: Mapping[tuple[int, int], Refused] = {
    (1, 0): "network",
    (1, 1): "prohibited",
    (1, 2): "source",
    (1, 3): "host",
    (1, 4): "port",
    (1, 5): "source",
    (1, 6): "prohibited",
    (2, 0): "too big",
    (3, 0): "expired",
    (4, 1): "protocol",
}


def _error(protocol: int, kind: int, code: int, quoted: bytes) -> IcmpError | None:
    reason = (_V4_REASONS if protocol == ICMP else _V6_REASONS).get((kind, code))
    about = _quoted(quoted) if reason is not None else None
    if reason is None or about is None:
        return None
    return IcmpError(
        reason=reason,
        source=about.source,
        destination=about.destination,
        source_port=about.source_port,
        destination_port=about.destination_port,
    )


def _quoted(head: bytes) -> IpPacket | None:
    """The packet that an error is about; errors about errors are never sent, so they are not read."""
    found = _headers(head, 0)
    if found is None or found[0].protocol in (ICMP, ICMPV6):
        return None
    return _with_ports(head, found[1], found[0])


@lru_cache(maxsize=4096)
def _text(packed: bytes) -> str:
    return str(ip_address(packed))
