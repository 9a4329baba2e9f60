"""Echoes to any number of targets from one socket, without I/O: who is due, what was answered, when waiting is over.

All requests share one pace, so that a thousand targets make no burst (RFC 8085 section 3.1); each target also has
its own rhythm. A request is known by its number, an answer counts only from the address that the request went to.
"""

import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from ipaddress import ip_address
from typing import Final

from preflight.model.event import Tell, silent
from preflight.model.icmp import EchoStats
from preflight.proto.core import Core, Datagram, Received, Refusal
from preflight.proto.icmp.echo import EchoCodec, quoted_sequence, reason

CATCH_UP_S: Final = 0.01
"""A sender that wakes late makes up for this much of its pace at most: ten small packets at 1000 a second."""
TICK_S: Final = 0.002
"""At a faster pace than one packet in this time, several leave at once: waking for each costs more than sending it."""
BACK_OFF_S: Final = 0.005
"""How long nothing is sent after the kernel had no room."""
NO_ROOM_S: Final = 1.0
"""How long a burst waits for room: a queue that takes nothing for so long is not full, but drops everything."""
NO_ROOM: Final = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS, errno.ENOMEM})
PACKETS_PER_SECOND: Final = 1000.0
"""All requests of one family together: about 0.7 Mbit/s, gentle on any path that carries an overlay."""


@dataclass(slots=True, eq=False)
class Burst:
    """`count` requests to one target, at least `interval_s` apart, and a wait of `timeout_s` after the last one.

    unanswered: numbers of requests under way; rtt_ms: by number. held_at: since when there is no room; None if there
    was for the last request. `error` holds why requests did not leave, or what
    answered in the target's place. `ended`: nothing more can change.
    """

    address: str
    count: int
    interval_s: float
    timeout_s: float
    next_at: float = 0.0
    tried: int = 0
    sent: int = 0
    duplicates: int = 0
    error: str | None = None
    held_at: float | None = None
    numbers: list[int] = field(default_factory=list)
    unanswered: set[int] = field(default_factory=set)
    rtt_ms: dict[int, float] = field(default_factory=dict)
    ended: bool = False

    @property
    def stats(self) -> EchoStats:
        """What the burst has measured so far; round trips in the order in which the requests were sent."""
        rtt_ms = tuple(self.rtt_ms[number] for number in self.numbers if number in self.rtt_ms)
        return EchoStats(self.sent, len(rtt_ms), rtt_ms, self.error, self.duplicates)


class Sweep:
    """Schedules the bursts that are under way at one time; `EchoSweep` puts them on the wire.

    `add` bursts, also while others run. Send each number that `due(now)` yields and report `sent`, `refused` or
    `no_room`. Give answers to `answered` and `failed`. Wait until `wake_at(now)`, or until something comes in; then
    call `ended(now)`. It is over when `wake_at` gives None. `now` is in seconds of a steady clock.
    """

    def __init__(self, packets_per_second: float) -> None:
        self._gap_s = 1.0 / packets_per_second
        self._open_at = 0.0
        self._last_number = -1
        self._serial = 0
        self._waiting: list[tuple[float, int, Burst]] = []
        self._ending: list[tuple[float, int, Burst]] = []
        self._under_way: dict[int, tuple[Burst, float]] = {}
        self._complete: list[Burst] = []
        self.foreign = 0
        """Answers that belong to no request: from another address than was asked, or after their burst had ended."""

    def add(self, address: str, *, count: int, interval_s: float, timeout_s: float, now: float) -> Burst:
        """A new burst, due now. `address` is a literal in its canonical form, as answers will name it."""
        burst = Burst(address, count, interval_s, timeout_s, next_at=now)
        if count > 0:
            self._put(self._waiting, now, burst)
        else:
            self._end(burst)
        return burst

    def drop(self, burst: Burst) -> None:
        """Nobody waits for this burst any more."""
        burst.ended = True
        self._forget(burst)

    def due(self, now: float) -> Iterator[tuple[int, Burst]]:
        """Numbers to send now, each with its burst; report what happened to one before taking the next."""
        self._open_at = max(self._open_at, now - CATCH_UP_S)
        while self._open_at <= now and (burst := self._take(now)) is not None:
            self._open_at += self._gap_s
            self._last_number = (self._last_number + 1) % 2**32
            yield self._last_number, burst

    def sent(self, number: int, burst: Burst, now: float) -> None:
        """The request has left; `now` as close to that as possible, because round trips are counted from it."""
        burst.sent += 1
        burst.held_at = None
        burst.numbers.append(number)
        burst.unanswered.add(number)
        self._under_way[number] = (burst, now)
        self._go_on(burst, now)

    def refused(self, burst: Burst, error: str, now: float) -> None:
        """The request could not leave; `error` in words. It counts as tried, not as sent."""
        burst.error = error
        self._go_on(burst, now)

    def no_room(self, burst: Burst, error: str, now: float) -> None:
        """The kernel's buffer or the interface's queue is full: pause all requests, then send this one again.

        `error` in words, for a burst that has waited for too long.
        """
        if burst.held_at is None:
            burst.held_at = now
        if now - burst.held_at >= NO_ROOM_S:
            self.refused(burst, error, now)
            return
        self._open_at = now + BACK_OFF_S
        self._put(self._waiting, burst.next_at, burst)

    def answered(self, number: int, source: str, received_at: float) -> None:
        """The reply to a request came in at `received_at`, on the clock of `now`."""
        known = self._under_way.get(number)
        if known is None or known[0].address != source:
            self.foreign += 1
            return
        burst, sent_at = known
        if number in burst.rtt_ms:
            burst.duplicates += 1
            return
        burst.rtt_ms[number] = max(received_at - sent_at, 0.0) * 1000
        self._settle(burst, number)

    def failed(self, sequence: int, destination: str, error: str) -> None:
        """An ICMP error about the latest request with this sequence number (16 bits) to `destination`."""
        number = (self._last_number - ((self._last_number - sequence) & 0xFFFF)) % 2**32
        known = self._under_way.get(number)
        if known is None or known[0].address != destination:
            self.foreign += 1
            return
        known[0].error = error
        self._settle(known[0], number)

    def wake_at(self, now: float) -> float | None:
        """When to call again; None when no burst is under way."""
        if self._complete:
            return now
        _skip_ended(self._waiting)
        _skip_ended(self._ending)
        times = []
        if self._waiting:
            at = max(self._waiting[0][0], self._open_at)
            times.append(at if self._gap_s >= TICK_S else max(at, now + TICK_S))
        if self._ending:
            times.append(self._ending[0][0])
        return min(times, default=None)

    def ended(self, now: float) -> list[Burst]:
        """The bursts that have ended since the last call: all is answered, or waiting is over."""
        while self._ending and self._ending[0][0] <= now:
            burst = heappop(self._ending)[2]
            if not burst.ended:
                self._end(burst)
        complete, self._complete = self._complete, []
        for burst in complete:
            burst.ended = True
            self._forget(burst)
        return complete

    def _take(self, now: float) -> Burst | None:
        """The burst that has waited longest of those whose turn has come."""
        _skip_ended(self._waiting)
        return heappop(self._waiting)[2] if self._waiting and self._waiting[0][0] <= now else None

    def _put(self, heap: list[tuple[float, int, Burst]], at: float, burst: Burst) -> None:
        self._serial += 1
        heappush(heap, (at, self._serial, burst))

    def _go_on(self, burst: Burst, now: float) -> None:
        burst.tried += 1
        if burst.tried < burst.count:
            # Late by less than an interval: keep the rhythm. Later: go on from here, never catch up in a burst.
            rhythm = burst.next_at if now - burst.next_at < burst.interval_s else now
            burst.next_at = rhythm + burst.interval_s
            self._put(self._waiting, burst.next_at, burst)
        elif burst.unanswered:
            self._put(self._ending, now + burst.timeout_s, burst)
        else:
            self._end(burst)

    def _settle(self, burst: Burst, number: int) -> None:
        """Stop waiting for this request; what comes later still counts."""
        burst.unanswered.discard(number)
        if burst.tried >= burst.count and not burst.unanswered and not burst.ended:
            self._end(burst)

    def _end(self, burst: Burst) -> None:
        burst.ended = True
        self._complete.append(burst)

    def _forget(self, burst: Burst) -> None:
        for number in burst.numbers:
            self._under_way.pop(number, None)


class EchoSweep(Core[None]):
    """A sweep through one socket of one address family. It is over while no burst is under way; `add` revives it.

    raw: messages come in with their IPv4 header, and ICMP errors among them; a ping socket has an error queue instead.
    unix_ahead_ns: how far the clock of the kernel's receive times is ahead of the steady one now, nanoseconds.
    """

    result = None

    def __init__(
        self, sweep: Sweep, codec: EchoCodec, *, raw: bool, unix_ahead_ns: Callable[[], int], tell: Tell = silent
    ) -> None:
        self.sweep = sweep
        self._codec = codec
        self._raw = raw
        self._unix_ahead_ns, self._tell = unix_ahead_ns, tell
        self._ahead_ns: int | None = None
        self._current: tuple[int, Burst] | None = None
        self._now = 0.0
        self._ended: list[Burst] = []

    def take_ended(self) -> list[Burst]:
        """The bursts that have ended since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def datagrams_to_send(self, now: float) -> Iterator[Datagram]:
        """Echo requests that are due, each to its target."""
        request = self._codec.request
        for number, burst in self.sweep.due(now):
            self._current = number, burst
            yield Datagram(request(number), (burst.address, 0))

    def sent(self, datagram: Datagram, now: float) -> None:
        """The request has left."""
        assert self._current is not None
        number, burst = self._current
        self._now = now
        self.sweep.sent(number, burst, now)
        self._tell(now, "echo-sent", number=number, to=burst.address)

    def unsent(self, datagram: Datagram, error: OSError, now: float) -> None:
        """The request did not leave; it is sent again if the kernel only had no room for it."""
        assert self._current is not None
        burst = self._current[1]
        if error.errno in NO_ROOM:
            self.sweep.no_room(burst, str(error.strerror), now)
        else:
            self.sweep.refused(burst, str(error.strerror), now)

    def receive(self, received: Received, now: float) -> None:
        """Take an ICMP message: a reply, or on a raw socket an error about one of the requests."""
        data, source = received.data, received.source[0]
        if self._raw and self._codec.version == 4 and data:
            data = data[(data[0] & 0x0F) * 4 :]
        number = self._codec.reply(data)
        if number is not None:
            if self._ahead_ns is None:
                self._ahead_ns = self._unix_ahead_ns()
            self.sweep.answered(number, source, (received.received_ns - self._ahead_ns) / 1e9)
            self._tell(now, "echo-answered", number=number, by=source)
        elif self._raw and (error := self._codec.error(data)) is not None:
            self._failed(error.sequence, str(ip_address(error.destination)), f"{error.reason}, says {source}", now)

    def refused(self, refusal: Refusal, now: float) -> None:
        """Take an ICMP error as a ping socket gets it."""
        sequence = quoted_sequence(refusal.quoted)
        if refusal.icmp and sequence is not None and refusal.destination is not None:
            words = reason(self._codec.version, refusal.icmp_type, refusal.icmp_code)
            self._failed(sequence, refusal.destination[0], f"{words}, says {refusal.offender}", now)

    def _failed(self, sequence: int, destination: str, words: str, now: float) -> None:
        self.sweep.failed(sequence, destination, words)
        self._tell(now, "echo-failed", to=destination, error=words)

    def get_timer(self) -> float | None:
        """When the next request is due, or waiting is over."""
        return self.sweep.wake_at(self._now)

    def handle_timer(self, now: float) -> None:
        """End the bursts whose time is up."""
        self._now, self._ahead_ns = now, None
        for burst in self.sweep.ended(now):
            self._ended.append(burst)
            received = len(burst.rtt_ms)
            self._tell(now, "concluded", to=burst.address, sent=burst.sent, received=received, error=burst.error)


def _skip_ended(heap: list[tuple[float, int, Burst]]) -> None:
    while heap and heap[0][2].ended:
        heappop(heap)
