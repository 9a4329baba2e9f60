"""Traceroute from one UDP socket, without privilege: TTLs as control data, answers from the error queue."""

import asyncio
import errno
import os
import socket
import sys
from dataclasses import dataclass, field
from ipaddress import ip_address

from preflight.model.icmp import Hop, Trace
from preflight.model.kernel import NeedsPlatform
from preflight.net.udp import (
    ORIGIN_LOCAL,
    QueuedError,
    family_of,
    receive_errors,
    send,
    tell_local_address,
    ttl_control,
    waiting,
    watch_errors,
)

FIRST_PORT = 33434
WAVE = 4  # below the burst of 6 port-unreachables that Linux grants one destination (icmp_ratelimit)


async def trace(address: str, *, max_hops: int = 12, timeout_s: float = 1.0, source: str | None = None) -> Trace:
    """The hops to an address. Each wave of TTLs leaves at once and has `timeout_s`; a wave without answer is the last.

    source: the address of this node's to send from: routes may depend on it. The destination answers with
    port-unreachable, so no service of its is touched. Never raises for what the network or the kernel does; raises
    NeedsPlatform where there is no error queue.
    """
    if sys.platform != "linux":
        raise NeedsPlatform("a traceroute by the error queue needs Linux")
    loop = asyncio.get_running_loop()
    answers = _Answers(str(ip_address(address.partition("%")[0])))
    with socket.socket(family_of(address), socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as udp:
        watch_errors(udp)
        tell_local_address(udp)
        if source is not None:
            try:
                udp.bind((source, 0))
            except OSError as error:
                return Trace((), os.strerror(error.errno or errno.EIO))
        loop.add_reader(udp, _read, udp, answers)
        try:
            for first in range(1, max_hops + 1, WAVE):
                before = len(answers.hops)
                _send_wave(udp, address, range(first, min(first + WAVE, max_hops + 1)), answers, loop.time())
                await answers.within(timeout_s)
                if answers.end is not None or len(answers.hops) == before:
                    break
        finally:
            loop.remove_reader(udp)
    return Trace(answers.path, answers.error)


def _send_wave(udp: socket.socket, address: str, wave: range, answers: "_Answers", now: float) -> None:
    # All are on their way before the first answer is read, so that it does not count as the answer to all.
    answers.complete.clear()
    answers.sent_at.update(dict.fromkeys(wave, now))
    for ttl in wave:
        code = send(udp, b"preflight traceroute", (address, FIRST_PORT + ttl), ttl_control(udp.family, ttl))
        if code:
            answers.error = os.strerror(code)


def _read(udp: socket.socket, answers: "_Answers") -> None:
    answers.take(receive_errors(udp), asyncio.get_running_loop().time())
    for _ in waiting(udp):  # whoever serves such a port and answers: left unread it would wake us for ever
        pass


@dataclass(slots=True)
class _Answers:
    """What has come back so far, by TTL; `sent_at` is loop time, seconds.

    end: the smallest TTL behind which nothing follows: the destination's, or that of a router that knows no way on.
    """

    destination: str
    hops: dict[int, Hop] = field(default_factory=dict)
    sent_at: dict[int, float] = field(default_factory=dict)
    error: str | None = None
    end: int | None = None
    complete: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, errors: list[QueuedError], now: float) -> None:
        """Keep the first answer to each TTL; the quoted destination port tells which one it was."""
        for error in errors:
            ttl = error.destination[1] - FIRST_PORT if error.destination else 0
            if error.origin == ORIGIN_LOCAL:
                self.error = os.strerror(error.code)
            elif error.offender is not None and ttl in self.sent_at:
                rtt_ms = (now - self.sent_at[ttl]) * 1000
                # Its firewall may prohibit the port instead of leaving it closed: it is the destination all the same.
                reached = not error.time_exceeded and error.offender == self.destination
                self.hops.setdefault(ttl, Hop(ttl, error.offender, rtt_ms, reached, error.interface_name or None))
                if not error.time_exceeded:
                    self.end = min(ttl, self.end or ttl)
        end = self.end
        if all(ttl in self.hops for ttl in self.sent_at if end is None or ttl <= end):
            self.complete.set()

    async def within(self, seconds: float) -> None:
        """Wait until every TTL up to the destination is answered, or the time is up."""
        try:
            async with asyncio.timeout(seconds):
                await self.complete.wait()
        except TimeoutError:
            pass

    @property
    def path(self) -> tuple[Hop, ...]:
        """The hops from the first on, with gaps where nobody answered; nothing behind the end."""
        last = self.end or max(self.hops, default=0)
        return tuple(self.hops.get(ttl) or Hop(ttl, None) for ttl in range(1, last + 1))
