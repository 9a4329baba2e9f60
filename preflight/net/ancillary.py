"""Control data of `recvmsg` and `sendmsg`: receive times, TTL, traffic class, local addresses, queued errors.

Numbers are Linux's, where Python's `socket` lacks their names (see ip(7), ipv6(7), socket(7), cmsg(3)).
"""

import os
import socket
import struct
import sys
from collections.abc import Iterable
from typing import Final

from preflight.proto.core import Address, Refusal

IP_PKTINFO: Final = 8
IP_RECVERR: Final = 11
IPV6_RECVERR: Final = 25
SO_TIMESTAMPNS: Final = 35
CONTROL_BYTES: Final = 512

_TIMESPEC = struct.Struct("@ll")
_INT = struct.Struct("@i")
_EXTENDED_ERROR = struct.Struct("=IBBBBII")  # struct sock_extended_err of linux/errqueue.h
_FAMILY = struct.Struct("=H")
_CLASS_KINDS = {(socket.IPPROTO_IP, socket.IP_TOS), (socket.IPPROTO_IPV6, socket.IPV6_TCLASS)}
_TTL_KINDS = {(socket.IPPROTO_IP, socket.IP_TTL), (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT)}
_INTERFACE_AT = {(socket.IPPROTO_IP, IP_PKTINFO): 0, (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO): 16}
_ERROR_KINDS = {(socket.IPPROTO_IP, IP_RECVERR), (socket.IPPROTO_IPV6, IPV6_RECVERR)}

Control = list[tuple[int, int, bytes]]
"""Control data as `recvmsg` returns it and `sendmsg` accepts it."""


def ttl_control(family: int, ttl: int) -> Control:
    """Control data for `send` that gives one datagram its own TTL or hop limit."""
    if family == socket.AF_INET6:
        return [(socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT, _INT.pack(ttl))]
    return [(socket.IPPROTO_IP, socket.IP_TTL, _INT.pack(ttl))]


def class_control(family: int, traffic_class: int) -> Control:
    """Control data for `send` that gives one datagram its own DSCP and ECN (RFC 2474, RFC 3168)."""
    if family == socket.AF_INET6:
        return [(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, _INT.pack(traffic_class))]
    return [(socket.IPPROTO_IP, socket.IP_TOS, _INT.pack(traffic_class))]


def local_control(control: Control) -> Control:
    """Control data for an answer that leaves from the address its request came to."""
    for level, kind, value in control:
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            return [(level, kind, value)]
        if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO):
            # struct in_pktinfo: interface, local address, destination. The route chooses the interface.
            return [(level, kind, bytes(4) + value[4:8] + bytes(4))]
    return []


def local_address(control: Control) -> str | None:
    """The local address that a datagram came to, from its control data."""
    for level, kind, value in local_control(control):
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            return socket.inet_ntop(socket.AF_INET6, value[:16])
        return socket.inet_ntop(socket.AF_INET, value[4:8])
    return None


def source_control(address: str) -> Control:
    """Control data for a datagram that leaves a wildcard socket from this address."""
    if ":" in address:
        packed = socket.inet_pton(socket.AF_INET6, address)
        return [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, packed + bytes(4))]
    return [(socket.IPPROTO_IP, IP_PKTINFO, bytes(4) + socket.inet_aton(address) + bytes(4))]


def read_control(control: Iterable[tuple[int, int, bytes]]) -> tuple[int, int | None]:
    """Kernel receive time (UNIX nanoseconds, 0 if absent) and TTL of a datagram's control data."""
    received_ns, ttl = 0, None
    for level, kind, value in control:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = _TIMESPEC.unpack_from(value)
            received_ns = seconds * 1_000_000_000 + nanoseconds
        elif (level, kind) in _TTL_KINDS:
            ttl = _INT.unpack_from(value)[0]
    return received_ns, ttl


def read_traffic_class(control: Iterable[tuple[int, int, bytes]]) -> int | None:
    """DSCP and ECN of a datagram's control data, IPv4's byte or IPv6's int; None = unknown."""
    for level, kind, value in control:
        if (level, kind) in _CLASS_KINDS:
            return int.from_bytes(value, sys.byteorder)
    return None


def read_refusals(control: Control, quoted: bytes, destination: Address | None) -> list[Refusal]:
    """The entries of the error queue in the control data of one message; `quoted` is that message's payload."""
    return [
        _refusal(value, quoted, destination, _arrival_interface(control))
        for level, kind, value in control
        if (level, kind) in _ERROR_KINDS and len(value) >= _EXTENDED_ERROR.size
    ]


def queue_errors(connection: socket.socket) -> None:
    """Let the kernel keep each ICMP error with its sender, where it can (for TCP since Linux 5.15)."""
    level, option = (socket.IPPROTO_IP, IP_RECVERR)
    if connection.family == socket.AF_INET6:
        level, option = (socket.IPPROTO_IPV6, IPV6_RECVERR)
    try:
        connection.setsockopt(level, option, 1)
    except OSError:
        pass  # another platform: then nobody knows who sent an error


def first_offender(connection: socket.socket) -> str | None:
    """Who sent the first ICMP error in a socket's queue; None if there is none, or if this node itself made it."""
    queue = getattr(socket, "MSG_ERRQUEUE", None)
    if queue is None:
        return None
    try:
        quoted, control, _, _ = connection.recvmsg(CONTROL_BYTES, CONTROL_BYTES, queue | socket.MSG_DONTWAIT)
    except OSError:
        return None
    return next((refusal.offender for refusal in read_refusals(control, quoted, None) if refusal.icmp), None)


def _refusal(value: bytes, quoted: bytes, destination: Address | None, interface: str) -> Refusal:
    code, origin, icmp_type, icmp_code, _, info, _ = _EXTENDED_ERROR.unpack_from(value)
    offender = _offender(value[_EXTENDED_ERROR.size :])
    reason = os.strerror(code)
    return Refusal(code, origin, icmp_type, icmp_code, info, quoted, destination, offender, interface, reason)


def _arrival_interface(control: Control) -> str:
    """The name of the interface in the packet information; empty if there is none, or if it is gone by now."""
    for level, kind, value in control:
        at = _INTERFACE_AT.get((level, kind))
        if at is not None:
            try:
                return socket.if_indextoname(_INT.unpack_from(value, at)[0])
            except OSError:
                return ""
    return ""


def _offender(sockaddr: bytes) -> str | None:
    """The address in the struct sockaddr that follows the error; family 0 if the kernel has none."""
    (family,) = _FAMILY.unpack_from(sockaddr.ljust(_FAMILY.size, b"\0"))
    if family == socket.AF_INET and len(sockaddr) >= 8:
        return socket.inet_ntop(socket.AF_INET, sockaddr[4:8])
    if family == socket.AF_INET6 and len(sockaddr) >= 24:
        return socket.inet_ntop(socket.AF_INET6, sockaddr[8:24])
    return None
