"""UDP sockets as a measurement needs them: kernel timestamps, TTL, the error queue, and no fragments.

Numbers are Linux's, where Python's `socket` lacks their names (see ip(7), ipv6(7), socket(7)).
"""

import errno
import socket
import struct
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, NamedTuple

IP_PKTINFO: Final = 8
IP_MTU_DISCOVER: Final = 10
IP_RECVERR: Final = 11
IP_RECVTTL: Final = 12
IP_RECVTOS: Final = 13
IP_MTU: Final = 14
IPV6_MTU_DISCOVER: Final = 23
IPV6_MTU: Final = 24
IPV6_RECVERR: Final = 25
PMTUDISC_DO: Final = 2
PMTUDISC_PROBE: Final = 3
"""DF on, the cached path MTU ignored; only what the interface cannot send is refused (EMSGSIZE)."""
SO_RCVBUFFORCE: Final = 33
SO_MEMINFO: Final = 55
SO_TIMESTAMPNS: Final = 35
SO_TIMESTAMPING: Final = 37

ORIGIN_LOCAL: Final = 1
ORIGIN_ICMP: Final = 2
ORIGIN_ICMP6: Final = 3
ORIGIN_TIMESTAMPING: Final = 4

MAX_DATAGRAM: Final = 65535
TRACEROUTE_PORT = 33434
FULL_TTL = 255  # RFC 5357 section 4.1.2: what is left of it at the peer tells the number of hops
RECEIVE_BUFFER: Final = 4 * 1024 * 1024
"""A reader that is kept waiting must not look like loss; without CAP_NET_ADMIN `net.core.rmem_max` is the limit."""

MOST_AT_ONCE: Final = 1024
"""Datagrams or errors of one socket that are read in a row: who sends faster than this process reads must not keep it
from everything else. What is left makes the socket readable again at once."""

_TIMESPEC = struct.Struct("@ll")
_INT = struct.Struct("@i")
_MEMORY_INFO = struct.Struct("@9I")  # linux/sock_diag.h; the last of them is SK_MEMINFO_DROPS
_EXTENDED_ERROR = struct.Struct("=IBBBBII")  # struct sock_extended_err of linux/errqueue.h
_FAMILY = struct.Struct("=H")
CONTROL_BYTES = 512

Address = tuple[str, int] | tuple[str, int, int, int]
"""What `socket` calls an address of AF_INET or AF_INET6."""

Control = list[tuple[int, int, bytes]]
"""Control data as `recvmsg` gives and `sendmsg` takes it."""

PENDING_ERRORS: Final = frozenset(
    {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENOPROTOOPT, errno.EPROTO}
)
"""What an ICMP error about an earlier datagram leaves on the socket for the next call, whatever that call is."""


class Datagram(NamedTuple):
    """One datagram. received_ns: when the kernel got it, UNIX nanoseconds; ttl: None if the kernel did not tell."""

    data: bytes
    source: Address
    received_ns: int
    ttl: int | None


@dataclass(frozen=True, slots=True)
class QueuedError:
    """One entry of the error queue.

    code: the errno. origin: `ORIGIN_LOCAL`, `ORIGIN_ICMP`, `ORIGIN_ICMP6`. info: the MTU of a "too big".
    data: our own UDP payload as far as it was quoted. destination: where that was sent. offender: who complained.
    interface: number of the one by which the ICMP error came in; 0 = unknown, as without `tell_local_address`.
    """

    code: int
    origin: int
    icmp_type: int
    icmp_code: int
    info: int
    data: bytes
    destination: Address | None
    offender: str | None
    interface: int = 0

    @property
    def port_unreachable(self) -> bool:
        """The destination host itself says that nobody listens (RFC 792 type 3 code 3, RFC 4443 type 1 code 4)."""
        kind = (self.origin, self.icmp_type, self.icmp_code)
        return kind in {(ORIGIN_ICMP, 3, 3), (ORIGIN_ICMP6, 1, 4)}

    @property
    def interface_name(self) -> str:
        """The name of `interface`; empty if it is unknown, or has gone meanwhile."""
        try:
            return socket.if_indextoname(self.interface) if self.interface else ""
        except OSError:
            return ""

    @property
    def time_exceeded(self) -> bool:
        """A router counted the TTL down to zero (RFC 792 type 11, RFC 4443 type 3)."""
        return (self.origin, self.icmp_type) in {(ORIGIN_ICMP, 11), (ORIGIN_ICMP6, 3)}


def family_of(address: str) -> socket.AddressFamily:
    """AF_INET or AF_INET6, by the literal address."""
    return socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET


def open_udp(address: str, port: int = 0, *, shared: bool = False) -> socket.socket:
    """A non-blocking socket bound to a literal address, with TTL and kernel receive times, and DF on all it sends.

    shared: with other sockets that are opened so; each is to be connected then. Raises OSError as `bind` does. For the
    error queue see `watch_errors`.
    """
    family = family_of(address)
    udp = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        never_fragment(udp)
        if family == socket.AF_INET6:
            udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        else:
            udp.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
        udp.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        enlarge(udp)
        if shared:
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        udp.bind((address, port))
    except BaseException:
        udp.close()
        raise
    return udp


def enlarge(udp: socket.socket) -> None:
    """Give a socket `RECEIVE_BUFFER` bytes for what comes in, or as many as the system allows."""
    try:
        udp.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
    except PermissionError:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)


def overflowed(udp: socket.socket) -> int:
    """Datagrams that were dropped because the receive queue of a socket was full, since it was opened.

    The kernel counts those with a wrong checksum too. 0 where it cannot be asked.
    """
    try:
        return int(_MEMORY_INFO.unpack(udp.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, _MEMORY_INFO.size))[-1])
    except (OSError, struct.error):
        return 0


def open_towards(address: str, port: int) -> socket.socket:
    """A socket connected to a literal address, with its error queue on: its own address is the one the route gives it.

    Raises OSError when there is no route (ENETUNREACH), or none that this node may use.
    """
    udp = open_udp("::" if family_of(address) == socket.AF_INET6 else "0.0.0.0")  # noqa: S104 - connect narrows it
    try:
        watch_errors(udp)
        udp.connect((address, port))
    except BaseException:
        udp.close()
        raise
    return udp


def source_address(address: str, port: int) -> str:
    """The address that this node's routes give to packets for a literal address. Raises OSError without a route."""
    with socket.socket(family_of(address), socket.SOCK_DGRAM) as probe:
        probe.connect((address, port))
        return str(probe.getsockname()[0])


def never_fragment(udp: socket.socket) -> None:
    """DF on all that it sends, whatever the cached path MTU says (RFC 8899 section 3, point 1)."""
    if udp.family == socket.AF_INET6:
        udp.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_PROBE)
    else:
        udp.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_PROBE)


def watch_errors(udp: socket.socket) -> None:
    """Queue ICMP errors for `receive_errors`, each with the datagram that it quotes."""
    if udp.family == socket.AF_INET6:
        udp.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
    else:
        udp.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)


def set_ttl(udp: socket.socket, ttl: int) -> None:
    """TTL or hop limit of all that the socket sends from now on."""
    if udp.family == socket.AF_INET6:
        udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, ttl)
    else:
        udp.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)


def ttl_control(family: int, ttl: int) -> Control:
    """Control data for `send` that gives one datagram its own TTL or hop limit."""
    if family == socket.AF_INET6:
        return [(socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT, _INT.pack(ttl))]
    return [(socket.IPPROTO_IP, socket.IP_TTL, _INT.pack(ttl))]


def tell_local_address(udp: socket.socket) -> None:
    """Have each datagram's control data say which local address it came to: a wildcard socket has many."""
    if udp.family == socket.AF_INET6:
        udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        udp.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)


def tell_traffic_class(udp: socket.socket) -> None:
    """Have each datagram's control data say with which DSCP and ECN it came."""
    if udp.family == socket.AF_INET6:
        udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
    else:
        udp.setsockopt(socket.IPPROTO_IP, IP_RECVTOS, 1)


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
    """The local address that a datagram came to, by its control data."""
    for level, kind, value in local_control(control):
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            return socket.inet_ntop(socket.AF_INET6, value[:16])
        return socket.inet_ntop(socket.AF_INET, value[4:8])
    return None


def source_control(address: str) -> Control:
    """Control data for a datagram that leaves a wildcard socket from this address."""
    if family_of(address) == socket.AF_INET6:
        packed = socket.inet_pton(socket.AF_INET6, address)
        return [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, packed + bytes(4))]
    return [(socket.IPPROTO_IP, IP_PKTINFO, bytes(4) + socket.inet_aton(address) + bytes(4))]


def receive(udp: socket.socket, size: int = MAX_DATAGRAM) -> Datagram | None:
    """The next datagram, or None when there is none now. ICMP errors that stand in the way are passed over."""
    while True:
        try:
            data, control, _, source = udp.recvmsg(size, CONTROL_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno in PENDING_ERRORS or error.errno == errno.EMSGSIZE:
                continue
            raise
        received_ns, ttl = read_control(control)
        return Datagram(data, source, received_ns or time.time_ns(), ttl)


def waiting(udp: socket.socket, size: int = MAX_DATAGRAM) -> Iterator[Datagram]:
    """The datagrams that are there now, at most `MOST_AT_ONCE`."""
    for _ in range(MOST_AT_ONCE):
        if (datagram := receive(udp, size)) is None:
            return
        yield datagram


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
    """DSCP and ECN of a datagram's control data, IPv4's byte or IPv6's int; None if the kernel did not tell."""
    for level, kind, value in control:
        if (level, kind) in _CLASS_KINDS:
            return int.from_bytes(value, sys.byteorder)
    return None


_CLASS_KINDS = {(socket.IPPROTO_IP, socket.IP_TOS), (socket.IPPROTO_IPV6, socket.IPV6_TCLASS)}
_TTL_KINDS = {(socket.IPPROTO_IP, socket.IP_TTL), (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT)}


def receive_errors(udp: socket.socket) -> list[QueuedError]:
    """Empty the error queue, of a flood `MOST_AT_ONCE` (RFC 1122 section 4.1.3.3: UDP hands ICMP errors on)."""
    errors: list[QueuedError] = []
    for _ in range(MOST_AT_ONCE):
        try:
            data, control, _, destination = udp.recvmsg(
                MAX_DATAGRAM, CONTROL_BYTES, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT
            )
        except OSError as error:
            if error.errno in PENDING_ERRORS:
                continue
            break
        interface = _arrival_interface(control)
        errors += [
            _queued_error(value, data, destination or None, interface)
            for level, kind, value in control
            if (level, kind) in _ERROR_KINDS and len(value) >= _EXTENDED_ERROR.size
        ]
    return errors


_ERROR_KINDS = {(socket.IPPROTO_IP, IP_RECVERR), (socket.IPPROTO_IPV6, IPV6_RECVERR)}


def _arrival_interface(control: Control) -> int:
    """The interface's number in the packet information; 0 without one."""
    for level, kind, value in control:
        if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO):
            return int(_INT.unpack_from(value)[0])
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            return int(_INT.unpack_from(value, 16)[0])
    return 0


def _queued_error(value: bytes, data: bytes, destination: Address | None, interface: int) -> QueuedError:
    code, origin, icmp_type, icmp_code, _, info, _ = _EXTENDED_ERROR.unpack_from(value)
    offender = _offender(value[_EXTENDED_ERROR.size :])
    return QueuedError(code, origin, icmp_type, icmp_code, info, data, destination, offender, interface)


def _offender(sockaddr: bytes) -> str | None:
    """The address in the struct sockaddr that follows the error; family 0 where the kernel has none to give."""
    (family,) = _FAMILY.unpack_from(sockaddr.ljust(_FAMILY.size, b"\0"))
    if family == socket.AF_INET and len(sockaddr) >= 8:
        return socket.inet_ntop(socket.AF_INET, sockaddr[4:8])
    if family == socket.AF_INET6 and len(sockaddr) >= 24:
        return socket.inet_ntop(socket.AF_INET6, sockaddr[8:24])
    return None


def send(udp: socket.socket, data: bytes, destination: Address | None = None, control: Control | None = None) -> int:
    """Send one datagram; 0, or the errno of why it did not leave (EPERM: a firewall on output; EMSGSIZE; EAGAIN).

    An ICMP error that is pending from an earlier datagram comes out of this call *instead of* sending: then it is
    tried again, and only an error that stays is this datagram's own.
    """
    code = 0
    for _ in range(3):
        try:
            if control:
                udp.sendmsg([data], control, 0, *(() if destination is None else (destination,)))
            elif destination is None:
                udp.send(data)
            else:
                udp.sendto(data, destination)
        except OSError as error:
            code = error.errno or errno.EIO
            if code not in PENDING_ERRORS and code != errno.EMSGSIZE:
                return code
        else:
            return 0
    return code


def error_name(code: int) -> str:
    """`EPERM` for 1; the number where it has no name."""
    return errno.errorcode.get(code, str(code))


async def until_readable(link: socket.socket, wait_s: float) -> None:
    """Wait for a datagram or an error on the socket, at most `wait_s`."""
    import asyncio  # here, because the search alone does without and would start half as fast with it

    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(link, readable.set)
    try:
        async with asyncio.timeout(wait_s):
            await readable.wait()
    except TimeoutError:
        pass
    finally:
        loop.remove_reader(link)
