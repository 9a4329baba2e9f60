"""UDP sockets as a measurement needs them: kernel timestamps, TTL, the error queue, and no fragments.

Numbers are Linux's, where Python's `socket` lacks their names (see ip(7), ipv6(7), socket(7)).
"""

import errno
import socket
import struct
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from preflight.net.ancillary import (
    CONTROL_BYTES,
    IP_PKTINFO,
    IP_RECVERR,
    IPV6_RECVERR,
    SO_TIMESTAMPNS,
    Control,
    read_control,
    read_refusals,
)
from preflight.proto.core import Address, Received, Refusal

IP_MTU_DISCOVER: Final = 10
IP_RECVTTL: Final = 12
IP_RECVTOS: Final = 13
IP_MTU: Final = 14
IPV6_MTU_DISCOVER: Final = 23
IPV6_MTU: Final = 24
PMTUDISC_PROBE: Final = 3
"""DF on, the cached path MTU ignored; only what the interface cannot send is refused (EMSGSIZE)."""
SO_RCVBUFFORCE: Final = 33
SO_MEMINFO: Final = 55
COUNTERS: Final = Path("/proc/thread-self/net")

MAX_DATAGRAM: Final = 65535
FULL_TTL = 255  # RFC 5357 section 4.1.2: what is left of it at the peer shows the number of hops
RECEIVE_BUFFER: Final = 4 * 1024 * 1024
"""A reader that comes late must not look like loss; without CAP_NET_ADMIN `net.core.rmem_max` is the limit."""

MOST_AT_ONCE: Final = 1024
"""Datagrams or errors of one socket that are read in a row: a peer that sends faster than this process reads must not
keep it from its other work. What is left makes the socket readable again at once."""

_MEMORY_INFO = struct.Struct("@9I")  # linux/sock_diag.h; the last of them is SK_MEMINFO_DROPS

PENDING_ERRORS: Final = frozenset(
    {
        errno.ECONNREFUSED,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.EHOSTDOWN,
        errno.ENOPROTOOPT,
        errno.EPROTO,
        errno.EACCES,  # ICMPv6 only: administratively prohibited, a reject route, a source that fails a policy
        errno.ENONET,
        errno.EOPNOTSUPP,
    }
)
"""What an ICMP error about an earlier datagram leaves on the socket for the next call, whatever that call is.

`icmp_err_convert` and `icmpv6_err_convert` of the kernel, without EMSGSIZE.
"""


def family_of(address: str) -> socket.AddressFamily:
    """AF_INET or AF_INET6, by the literal address."""
    return socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET


def open_udp(address: str, port: int = 0, *, shared: bool = False) -> socket.socket:
    """A non-blocking socket bound to a literal address, with TTL and kernel receive times, and DF on all it sends.

    shared: other sockets that are opened this way may bind the same address; then connect each of them. Raises
    OSError as `bind` does. For the error queue see `watch_errors`.
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
    """Datagrams that a socket has dropped since it was opened, most because its receive queue was full.

    The kernel counts those with a wrong checksum too, and what a policy of IPsec keeps from it (`found_full` counts
    neither). 0 if the kernel cannot be asked.
    """
    try:
        return int(_MEMORY_INFO.unpack(udp.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, _MEMORY_INFO.size))[-1])
    except (OSError, struct.error):
        return 0


def found_full() -> int:
    """Datagrams that found the receive queue of any UDP socket of this namespace full; 0 if that cannot be read."""
    found = 0
    for name, family in (("snmp", "Udp:"), ("snmp6", "Udp6RcvbufErrors")):
        try:
            lines = (COUNTERS / name).read_text(encoding="ascii", errors="replace").splitlines()
        except OSError:
            continue
        rows = [line.split() for line in lines if line.startswith(family)]
        if name == "snmp6":
            found += sum(int(row[1]) for row in rows)
        elif len(rows) == 2 and "RcvbufErrors" in rows[0]:
            found += int(rows[1][rows[0].index("RcvbufErrors")])
    return found


def open_towards(address: str, port: int) -> socket.socket:
    """A socket connected to a literal address, with its error queue on; the route selects its own address.

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
    """The source address that this node's routes select towards a literal address. Raises OSError without a route."""
    with socket.socket(family_of(address), socket.SOCK_DGRAM) as probe:
        probe.connect((address, port))
        return str(probe.getsockname()[0])


def never_fragment(udp: socket.socket) -> None:
    """Set DF on all that it sends, whatever the cached path MTU says (RFC 8899 section 3, point 1)."""
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
    """Set the TTL or hop limit of all that the socket sends from now on."""
    if udp.family == socket.AF_INET6:
        udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, ttl)
    else:
        udp.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)


def receive_local_address(udp: socket.socket) -> None:
    """Make each datagram's control data show which local address it came to: a wildcard socket has many."""
    if udp.family == socket.AF_INET6:
        udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        udp.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)


def receive_traffic_class(udp: socket.socket) -> None:
    """Make each datagram's control data show with which DSCP and ECN it came."""
    if udp.family == socket.AF_INET6:
        udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
    else:
        udp.setsockopt(socket.IPPROTO_IP, IP_RECVTOS, 1)


def receive(udp: socket.socket, size: int = MAX_DATAGRAM) -> Received | None:
    """The next datagram, or None when nothing is there now. Pending ICMP errors are skipped."""
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
        return Received(data, source, received_ns or time.time_ns(), ttl)


def waiting(udp: socket.socket, size: int = MAX_DATAGRAM) -> Iterator[Received]:
    """The datagrams that are there now, at most `MOST_AT_ONCE`."""
    for _ in range(MOST_AT_ONCE):
        if (received := receive(udp, size)) is None:
            return
        yield received


def receive_errors(udp: socket.socket) -> list[Refusal]:
    """Empty the error queue, at most `MOST_AT_ONCE` entries (RFC 1122 section 4.1.3.3: UDP hands ICMP errors on)."""
    errors: list[Refusal] = []
    for _ in range(MOST_AT_ONCE):
        try:
            data, control, _, destination = udp.recvmsg(
                MAX_DATAGRAM, CONTROL_BYTES, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT
            )
        except OSError as error:
            if error.errno in PENDING_ERRORS:
                continue
            break
        errors += read_refusals(control, data, destination or None)
    return errors


def send(udp: socket.socket, data: bytes, destination: Address | None = None, control: Control | None = None) -> int:
    """Send one datagram; 0, or the errno of why it did not leave (EPERM: a firewall on output; EMSGSIZE; EAGAIN).

    If an ICMP error about an earlier datagram is pending, the kernel returns it *instead of* sending. This function
    then sends again; only an error that stays is about this datagram.
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
