"""Packets of a trace as raw sockets send them, and ICMP errors as raw sockets give them: pure bytes."""

import struct
from dataclasses import replace
from ipaddress import ip_address
from typing import Final

from preflight.model.flow import Flow
from preflight.model.outer_error import OuterError
from preflight.model.routing import PROTOCOLS

_V4 = struct.Struct("!BBHHHBBH4s4s")
_V6 = struct.Struct("!IHBB16s16s")
_UDP = struct.Struct("!HHHH")
_ECHO = struct.Struct("!BBHHH")
_DONT_FRAGMENT: Final = 0x4000
_OFFSET: Final = 0x1FFF
_ERROR_HEADER: Final = 8
_ECHO_REQUEST: Final = {False: 8, True: 128}
_ECHO_REPLY: Final = {False: 0, True: 129}
_ERRORS_4: Final = (3, 11, 12)
_LAST_ERROR_6: Final = 127


def probe(flow: Flow, ttl: int, *, length: int, identifier: int = 0) -> bytes:
    """One IP packet of a flow with a TTL and a payload of `length` zero bytes, less than any daemon takes as its own.

    UDP by the flow's ports; ICMP as an echo request, whose sequence is the length.
    """
    payload = bytes(length)
    source, destination = ip_address(flow.source).packed, ip_address(flow.destination).packed
    if flow.protocol == "icmp":
        protocol = PROTOCOLS["icmpv6" if flow.is_ipv6 else "icmp"]
        head = _ECHO.pack(_ECHO_REQUEST[flow.is_ipv6], 0, 0, identifier, length)
        at = 2
    else:
        protocol, at = PROTOCOLS["udp"], 6
        head = _UDP.pack(flow.source_port or 0, flow.destination_port or 0, _UDP.size + length, 0)
    pseudo = b"" if protocol == PROTOCOLS["icmp"] else _pseudo(source, destination, protocol, len(head) + length)
    checked = checksum(pseudo + head + payload) or 0xFFFF
    data = head[:at] + checked.to_bytes(2, "big") + head[at + 2 :] + payload
    if flow.is_ipv6:
        return _V6.pack(6 << 28, len(data), protocol, ttl, source, destination) + data
    # The kernel fills in the identification, the total length and the checksum.
    return _V4.pack(0x45, 0, _V4.size + len(data), 0, _DONT_FRAGMENT, ttl, protocol, 0, source, destination) + data


def on_the_link(packet: bytes) -> bytes:
    """The same packet as it must be on a link, where no kernel fills in what a raw socket leaves open."""
    if packet[0] >> 4 == 6:
        return packet
    length = len(packet).to_bytes(2, "big")
    head = packet[:2] + length + packet[4:10] + bytes(2) + packet[12 : _V4.size]
    return head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + packet[_V4.size :]


def _pseudo(source: bytes, destination: bytes, protocol: int, length: int) -> bytes:
    if len(source) == 4:
        return source + destination + struct.pack("!BBH", 0, protocol, length)
    return source + destination + struct.pack("!IxxxB", length, protocol)


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    padded = data + bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def read_error(message: bytes, sender: str) -> OuterError | None:
    """What a raw ICMP socket gives as one error; None for anything else. IPv4's comes with its IP header."""
    ipv6 = ":" in sender
    icmp = message if ipv6 else _behind_v4(message)
    if icmp is None or len(icmp) < _ERROR_HEADER:
        return None
    kind, code = icmp[0], icmp[1]
    if kind > _LAST_ERROR_6 if ipv6 else kind not in _ERRORS_4:
        return None
    return _quoted(icmp[_ERROR_HEADER:], ipv6, sender, kind, code)


def read_reply(message: bytes, sender: str, identifier: int) -> int | None:
    """The sequence of an echo reply to this identifier; None for anything else."""
    ipv6 = ":" in sender
    icmp = message if ipv6 else _behind_v4(message)
    if icmp is None or len(icmp) < _ECHO.size:
        return None
    kind, _, _, found, sequence = _ECHO.unpack_from(icmp)
    return int(sequence) if (kind, found) == (_ECHO_REPLY[ipv6], identifier) else None


def _behind_v4(message: bytes) -> bytes | None:
    if len(message) < _V4.size or message[0] >> 4 != 4:
        return None
    return message[(message[0] & 15) * 4 :]


def _quoted(head: bytes, ipv6: bool, sender: str, kind: int, code: int) -> OuterError | None:
    """The packet that an error is about; None where too little of it is quoted, or it is a later fragment."""
    if ipv6:
        if len(head) < _V6.size + _UDP.size:
            return None
        _, _, protocol, _, source, destination = _V6.unpack_from(head)
        inner = head[_V6.size :]
    else:
        if len(head) < _V4.size + _UDP.size:
            return None
        _, _, _, _, offset, _, protocol, _, source, destination = _V4.unpack_from(head)
        inner = head[(head[0] & 15) * 4 :]
        if offset & _OFFSET or len(inner) < _UDP.size:
            return None
    error = OuterError(
        offender=str(ip_address(sender.partition("%")[0])),
        kind=kind,
        code=code,
        source=str(ip_address(source)),
        destination=str(ip_address(destination)),
        protocol=protocol,
    )
    return _with_ports(error, inner)


def _with_ports(error: OuterError, inner: bytes) -> OuterError | None:
    """What the header behind the quoted IP header says; None for ICMP other than an echo request."""
    if error.protocol in (PROTOCOLS["icmp"], PROTOCOLS["icmpv6"]):
        asked, _, _, identifier, sequence = _ECHO.unpack_from(inner)
        if asked != _ECHO_REQUEST[error.is_ipv6]:
            return None
        return replace(error, source_port=identifier, sequence=sequence)
    source_port, destination_port, length, _ = _UDP.unpack_from(inner)
    payload = length - _UDP.size if error.protocol == PROTOCOLS["udp"] else None
    return replace(error, source_port=source_port, destination_port=destination_port, payload_bytes=payload)
