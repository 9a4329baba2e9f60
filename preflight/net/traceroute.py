"""Traceroute from one UDP socket, without privilege: TTLs as control data, answers from the error queue."""

import asyncio
import os
import socket
import struct
import sys
from dataclasses import dataclass, field
from ipaddress import ip_address

from preflight.model.icmp import Hop, Trace
from preflight.model.kernel import NeedsPlatform

FIRST_PORT = 33434
WAVE = 4  # below the burst of 6 port-unreachables that Linux grants one destination (icmp_ratelimit)

# Numbers that Python's `socket` lacks.
IP_RECVERR = 11
IPV6_RECVERR = 25
EXTENDED_ERROR = struct.Struct("=IBBBBII")  # struct sock_extended_err: errno, origin, type, code, pad, info, data
ORIGIN_LOCAL = 1


@dataclass(frozen=True, slots=True)
class Family:
    """What differs between IPv4 and IPv6 here."""

    family: socket.AddressFamily
    level: int
    ttl: int
    receive_errors: int
    port_unreachable: tuple[int, int]  # ICMP type and code: RFC 792, RFC 4443 section 3.1
    address_offset: int  # of the address in the offender's sockaddr


IPV4 = Family(socket.AF_INET, socket.IPPROTO_IP, socket.IP_TTL, IP_RECVERR, (3, 3), 4)
IPV6 = Family(socket.AF_INET6, socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT, IPV6_RECVERR, (1, 4), 8)


@dataclass(slots=True)
class _Answers:
    """What has come back so far, by TTL."""

    hops: dict[int, Hop] = field(default_factory=dict)
    sent_at: dict[int, float] = field(default_factory=dict)
    error: str | None = None
    complete: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, ttl: int, address: str, reached: bool, now: float) -> None:
        """Keep the first answer to a TTL; `now` is loop time, seconds."""
        if ttl in self.sent_at:
            self.hops.setdefault(ttl, Hop(ttl, address, (now - self.sent_at[ttl]) * 1000, reached))
        end = self.distance
        if all(t in self.hops for t in self.sent_at if end is None or t <= end):
            self.complete.set()

    @property
    def distance(self) -> int | None:
        """The smallest TTL that reached the destination."""
        return min((hop.ttl for hop in self.hops.values() if hop.reached), default=None)


async def trace(address: str, *, max_hops: int = 12, timeout_s: float = 1.0) -> Trace:
    """The hops to an address. Each wave of TTLs leaves at once and has `timeout_s`; a wave without answer is the last.

    The destination answers with port-unreachable, so no service of its is touched. Never raises for what the network
    or the kernel does; raises NeedsPlatform where there is no error queue.
    """
    if sys.platform != "linux":
        raise NeedsPlatform("a traceroute by the error queue needs Linux")
    kind = IPV6 if ip_address(address).version == 6 else IPV4
    loop = asyncio.get_running_loop()
    answers = _Answers()
    with socket.socket(kind.family, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.setsockopt(kind.level, kind.receive_errors, 1)
        loop.add_reader(sock, lambda: _drain(sock, kind, answers, loop.time()))
        try:
            for first in range(1, max_hops + 1, WAVE):
                before = len(answers.hops)
                answers.complete.clear()
                wave = range(first, min(first + WAVE, max_hops + 1))
                # All at once, so that the answer to the first does not count as the answer to all.
                answers.sent_at.update(dict.fromkeys(wave, loop.time()))
                for ttl in wave:
                    _send(sock, kind, (address, FIRST_PORT + ttl), ttl, answers)
                await _within(answers.complete, timeout_s)
                if answers.distance is not None or len(answers.hops) == before:
                    break
        finally:
            loop.remove_reader(sock)
    return Trace(_path(answers), answers.error)


def _send(sock: socket.socket, kind: Family, destination: tuple[str, int], ttl: int, answers: _Answers) -> None:
    """Send one probe. An ICMP error that waits on the socket comes out of the next send, which then sends nothing."""
    control = [(kind.level, kind.ttl, struct.pack("=i", ttl))]
    for _ in range(WAVE + 1):
        try:
            sock.sendmsg([b"preflight traceroute"], control, 0, destination)
        except OSError as error:
            if not _drain(sock, kind, answers, asyncio.get_running_loop().time()):
                answers.error = os.strerror(error.errno) if error.errno else str(error)
                return
        else:
            return


def _drain(sock: socket.socket, kind: Family, answers: _Answers, now: float) -> int:
    """Read the error queue to its end; how many errors were there."""
    count = 0
    while True:
        try:
            _, control, _, destination = sock.recvmsg(256, 512, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
        except OSError:
            return count
        count += 1
        for level, what, data in control:
            if (level, what) == (kind.level, kind.receive_errors):
                _take(kind, data, destination[1] - FIRST_PORT, answers, now)


def _take(kind: Family, data: bytes, ttl: int, answers: _Answers, now: float) -> None:
    number, origin, icmp_type, code, *_ = EXTENDED_ERROR.unpack_from(data)
    if origin == ORIGIN_LOCAL:
        answers.error = os.strerror(number)
        return
    start = EXTENDED_ERROR.size + kind.address_offset
    offender = data[start : start + (4 if kind is IPV4 else 16)]
    answers.take(ttl, socket.inet_ntop(kind.family, offender), (icmp_type, code) == kind.port_unreachable, now)


async def _within(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass


def _path(answers: _Answers) -> tuple[Hop, ...]:
    """The hops from the first on, with gaps where nobody answered; nothing behind the destination."""
    last = answers.distance or max(answers.hops, default=0)
    return tuple(answers.hops.get(ttl) or Hop(ttl, None) for ttl in range(1, last + 1))
