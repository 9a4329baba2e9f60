"""ICMP sockets: raw, else a ping socket if `net.ipv4.ping_group_range` allows it; one for a whole sweep.

A raw socket per target would also receive the replies of all other targets. Hundreds of such sockets overflow, and
lose replies that did arrive.
"""

import os
import socket
from time import monotonic_ns, time_ns
from typing import Final

from preflight.model.event import Tell, silent
from preflight.net import bpf, udp
from preflight.net.ancillary import SO_TIMESTAMPNS
from preflight.net.bpf import Instruction, attach_filter
from preflight.proto.icmp.echo import TOKEN_BYTES, EchoCodec, Version
from preflight.proto.icmp.sweep import EchoSweep, Sweep

CLOSE_NS: Final = 2_000
CLOCK_READINGS: Final = 5

_VERSION: dict[int, Version] = {socket.AF_INET: 4, socket.AF_INET6: 6}
_PROTOCOL: Final = {socket.AF_INET: socket.IPPROTO_ICMP, socket.AF_INET6: socket.IPPROTO_ICMPV6}


def open_icmp(family: socket.AddressFamily) -> socket.socket:
    """A non-blocking socket for ICMP messages: raw, else a ping socket.

    Raises PermissionError if this process may open neither (CAP_NET_RAW, `net.ipv4.ping_group_range`), OSError if
    there is no such family.
    """
    flags = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    try:
        return socket.socket(family, socket.SOCK_RAW | flags, _PROTOCOL[family])
    except PermissionError:
        # Python has no name for the family's raw protocol in SOCK_DGRAM, but the kernel does: a ping socket.
        return socket.socket(family, socket.SOCK_DGRAM | flags, _PROTOCOL[family])


def open_sweep(
    family: socket.AddressFamily, packets_per_second: float, tell: Tell = silent
) -> tuple[socket.socket, EchoSweep]:
    """A sweep over one address family and the socket for it. Raises as `open_icmp` does."""
    identifier = int.from_bytes(os.urandom(2))
    codec = EchoCodec(_VERSION[family], identifier, os.urandom(TOKEN_BYTES))
    link = open_icmp(family)
    raw = link.type == socket.SOCK_RAW
    try:
        if raw:
            attach_filter(link, _ipv4_filter(identifier) if family == socket.AF_INET else _ipv6_filter(identifier))
        else:
            udp.watch_errors(link)
        link.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        udp.enlarge(link)
    except BaseException:
        link.close()
        raise
    return link, EchoSweep(Sweep(packets_per_second), codec, raw=raw, unix_ahead_ns=_unix_ahead_ns, tell=tell)


def _unix_ahead_ns() -> int:
    """UNIX time minus the steady clock's, from the closest of several pairs of readings: a pause may spoil one."""
    readings = []
    for _ in range(CLOCK_READINGS):
        before, unix_ns, after = monotonic_ns(), time_ns(), monotonic_ns()
        readings.append((after - before, unix_ns - (before + after) // 2))
        if after - before <= CLOSE_NS:
            break
    return min(readings)[1]


def _ipv4_filter(identifier: int) -> list[Instruction]:
    """Echo replies with our identifier, and errors that quote an echo request with it. Data starts at the IP header."""
    return [
        (bpf.IP_HEADER_LENGTH, 0, 0, 0),
        (bpf.LOAD_BYTE_BEHIND_HEADER, 0, 0, 0),
        (bpf.EQUAL, 0, 2, 0),  # echo reply
        (bpf.LOAD_HALF_BEHIND_HEADER, 0, 0, 4),
        (bpf.EQUAL, 5, 6, identifier),
        (bpf.EQUAL, 5, 0, 8),  # echo request: on loopback our own
        (bpf.LOAD_BYTE_BEHIND_HEADER, 0, 0, 28),
        (bpf.EQUAL, 0, 3, 8),
        (bpf.LOAD_HALF_BEHIND_HEADER, 0, 0, 32),
        (bpf.EQUAL, 0, 1, identifier),
        (bpf.RETURN, 0, 0, bpf.WHOLE),
        (bpf.RETURN, 0, 0, bpf.DROP),
    ]


def _ipv6_filter(identifier: int) -> list[Instruction]:
    """The same for ICMPv6, where data starts after the IP headers; types below 128 are errors."""
    return [
        (bpf.LOAD_BYTE, 0, 0, 0),
        (bpf.EQUAL, 0, 2, 129),
        (bpf.LOAD_HALF, 0, 0, 4),
        (bpf.EQUAL, 5, 6, identifier),
        (bpf.AT_LEAST, 5, 0, 128),
        (bpf.LOAD_BYTE, 0, 0, 48),
        (bpf.EQUAL, 0, 3, 128),
        (bpf.LOAD_HALF, 0, 0, 52),
        (bpf.EQUAL, 0, 1, identifier),
        (bpf.RETURN, 0, 0, bpf.WHOLE),
        (bpf.RETURN, 0, 0, bpf.DROP),
    ]
