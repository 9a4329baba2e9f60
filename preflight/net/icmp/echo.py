"""The one socket of a sweep: raw, else a ping socket where `net.ipv4.ping_group_range` allows it.

A raw socket per target would receive everybody's replies: hundreds of them overflow, and lose what did arrive.
"""

import errno
import os
import socket
from ipaddress import ip_address
from time import monotonic, monotonic_ns, time_ns
from typing import Final

from preflight.net import bpf, udp
from preflight.net.bpf import Instruction, attach_filter
from preflight.proto.icmp.echo import TOKEN_BYTES, EchoCodec, Version, quoted_sequence, reason
from preflight.proto.icmp.sweep import Sweep

NO_ROOM: Final = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS, errno.ENOMEM})
MESSAGE_BYTES: Final = 2048
CLOSE_NS: Final = 2_000
CLOCK_READINGS: Final = 5

_VERSION: dict[int, Version] = {socket.AF_INET: 4, socket.AF_INET6: 6}
_PROTOCOL: Final = {4: socket.IPPROTO_ICMP, 6: socket.IPPROTO_ICMPV6}
_ERROR_CODES: Final = {udp.ORIGIN_ICMP: 4, udp.ORIGIN_ICMP6: 6}


class EchoSocket:
    """Sends a sweep's requests over one address family and gives it what comes back.

    Raises PermissionError where this process may open neither kind of socket, OSError where there is no such family.
    """

    def __init__(self, family: socket.AddressFamily) -> None:
        self._version = _VERSION[family]
        identifier = int.from_bytes(os.urandom(2))
        self._codec = EchoCodec(self._version, identifier, os.urandom(TOKEN_BYTES))
        try:
            self._socket = self._open(family, socket.SOCK_RAW)
            self._raw = True
        except PermissionError:
            self._socket = self._open(family, socket.SOCK_DGRAM)
            self._raw = False
        try:
            self._prepare(identifier)
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """For whoever waits until there is something to `receive`."""
        return self._socket.fileno()

    def close(self) -> None:
        """The end of it."""
        self._socket.close()

    def send(self, sweep: Sweep) -> None:
        """Send what is due."""
        request, link = self._codec.request, self._socket
        for number, burst in sweep.due(monotonic()):
            now = monotonic()
            code = udp.send(link, request(number), (burst.address, 0))
            if not code:
                sweep.sent(number, burst, now)
            elif code in NO_ROOM:
                sweep.no_room(burst, now)
            else:
                sweep.refused(burst, os.strerror(code), now)

    def receive(self, sweep: Sweep) -> None:
        """Hand over all that is there: replies with the time at which the kernel got them, and errors."""
        to_monotonic_ns = _to_monotonic_ns()
        link = self._socket
        for datagram in udp.waiting(link, MESSAGE_BYTES):
            data = datagram.data
            if self._raw and self._version == 4:
                data = data[(data[0] & 0x0F) * 4 :]
            number = self._codec.reply(data)
            if number is not None:
                sweep.answered(number, datagram.source[0], (datagram.received_ns + to_monotonic_ns) / 1e9)
            elif self._raw:
                self._take_message(sweep, data, datagram.source[0])
        if not self._raw:
            self._take_errors(sweep)

    def _open(self, family: socket.AddressFamily, kind: socket.SocketKind) -> socket.socket:
        # Python knows no name for the family's raw protocol in SOCK_DGRAM, but the kernel does: a ping socket.
        flags = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        return socket.socket(family, kind | flags, _PROTOCOL[self._version])

    def _prepare(self, identifier: int) -> None:
        if self._raw:
            attach_filter(self._socket, _ipv4_filter(identifier) if self._version == 4 else _ipv6_filter(identifier))
        else:
            udp.watch_errors(self._socket)
        self._socket.setsockopt(socket.SOL_SOCKET, udp.SO_TIMESTAMPNS, 1)
        udp.enlarge(self._socket)

    def _take_message(self, sweep: Sweep, data: bytes, offender: str) -> None:
        """An ICMP error as a raw socket gets it."""
        error = self._codec.error(data)
        if error is not None:
            destination = str(ip_address(error.destination))
            sweep.failed(error.sequence, destination, f"{error.reason}, says {offender}")

    def _take_errors(self, sweep: Sweep) -> None:
        """ICMP errors as a ping socket gets them."""
        for error in udp.receive_errors(self._socket):
            sequence = quoted_sequence(error.data)
            if error.origin in _ERROR_CODES and sequence is not None and error.destination is not None:
                words = reason(self._version, error.icmp_type, error.icmp_code)
                sweep.failed(sequence, error.destination[0], f"{words}, says {error.offender}")


def _to_monotonic_ns() -> int:
    """What turns UNIX time into the steady clock's: of some pairs of readings the closest, for one may be paused."""
    readings = []
    for _ in range(CLOCK_READINGS):
        before, unix_ns, after = monotonic_ns(), time_ns(), monotonic_ns()
        readings.append((after - before, (before + after) // 2 - unix_ns))
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
    """The same for ICMPv6, where data starts behind the IP headers; types below 128 are errors."""
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
