"""Whole STAMP sessions over networks made of function calls."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush

from preflight.model.path import DirectionStats, StampStats
from preflight.proto.core import Received
from preflight.proto.stamp import wire as stamp
from preflight.proto.stamp.reflector import SessionReflector
from preflight.proto.stamp.sender import SessionPlan, SessionSender

KEY = b"0123456789abcdef"
EPOCH_NS = 1_795_479_667_000_000_000
SOURCE = ("10.66.0.1", 40000)

Delays = Callable[[int], Iterable[float]]
"""When copies of the n-th packet of a direction arrive, seconds after it was sent: none is a loss, two are a copy."""


def steady(delay_s: float) -> Delays:
    """A direction in which all is well."""
    return lambda number: (delay_s,)


def losing(*numbers: int, delay_s: float = 0.001) -> Delays:
    """A direction that loses these packets."""
    return lambda number: () if number in numbers else (delay_s,)


@dataclass(order=True)
class Event:
    """A datagram that arrives: at the reflector if `there`, else at the sender."""

    at: float
    order: int
    there: bool = field(compare=False)
    data: bytes = field(compare=False)


@dataclass
class Network:
    """Two directions, a reflector whose clock is ahead, and time that passes only here.

    there: sequence numbers as they reached the reflector; back: of answers and their questions, as they came back.
    """

    forward: Delays = field(default_factory=lambda: steady(0.001))
    reverse: Delays = field(default_factory=lambda: steady(0.001))
    reflector: SessionReflector = field(default_factory=SessionReflector)
    clock_ahead_s: float = 3600.0
    refused: Callable[[int], int] = lambda number: 0
    now: float = 100.0
    attempts: int = 0
    sent: int = 0
    answered: int = 0
    queue: list[Event] = field(default_factory=list)
    sent_at: list[float] = field(default_factory=list)
    there: list[int] = field(default_factory=list)
    back: list[tuple[int, int]] = field(default_factory=list)

    def ns(self, at: float, ahead_s: float = 0.0) -> int:
        """UNIX time of a clock at a moment of the simulation."""
        return EPOCH_NS + round((at + ahead_s) * 1e9)

    def run(self, plan: SessionPlan) -> StampStats:
        """The session from its first packet to its last."""
        sender = SessionSender(plan, self.now, lambda: self.ns(self.now))
        while (timer := sender.get_timer()) is not None:
            if self.queue and self.queue[0].at <= timer:
                self._arrive(heappop(self.queue), sender)
            else:
                self.now = max(self.now, timer)
            sender.handle_timer(self.now)
            self._send(sender)
        for event in sorted(self.queue):
            if event.at <= self.now and not event.there:
                self._return(event, sender)
        return sender.stats()

    def _send(self, sender: SessionSender) -> None:
        for datagram in sender.datagrams_to_send(self.now):
            error = self.refused(self.attempts)
            self.attempts += 1
            if error:
                sender.unsent(datagram, OSError(error, "refused"), self.now)
            else:
                sender.sent(datagram, self.now)
                self.sent_at.append(self.now)
                self._launch(self.forward(self.sent), True, datagram.data)
                self.sent += 1

    def _return(self, event: Event, sender: SessionSender) -> None:
        sender.receive(Received(event.data, received_ns=self.ns(event.at)), self.now)
        key = KEY if len(event.data) >= stamp.AUTHENTICATED_BYTES else None
        answer = stamp.parse_answer(event.data, key)
        self.back.append((answer.sequence, answer.sender_sequence))

    def _launch(self, delays: Iterable[float], there: bool, data: bytes) -> None:
        for delay in delays:
            heappush(self.queue, Event(self.now + delay, len(self.queue) + self.sent, there, data))

    def _arrive(self, event: Event, sender: SessionSender) -> None:
        self.now = max(self.now, event.at)
        if not event.there:
            self._return(event, sender)
            return
        self.there.append(int.from_bytes(event.data[:4]))
        there_ns = self.ns(event.at, self.clock_ahead_s)
        answer = self.reflector.handle(event.data, SOURCE, received_ns=there_ns, transmitted_ns=there_ns, ttl=250)
        self._launch(self.reverse(self.answered), False, answer)
        self.answered += 1


def plan(count: int = 50, **more: object) -> SessionPlan:
    """A session of packets 4 ms apart."""
    return SessionPlan(ssid=77, count=count, interval_s=0.004, **more)  # type: ignore[arg-type]


def directions(stats: StampStats) -> tuple[DirectionStats, DirectionStats]:
    """Both directions, known."""
    assert stats.forward is not None
    assert stats.reverse is not None
    return stats.forward, stats.reverse


def send(sender: SessionSender) -> bytes:
    """The next packet, when it is due."""
    now = sender.get_timer()
    assert now is not None
    (datagram,) = sender.datagrams_to_send(now)
    sender.sent(datagram, now)
    return datagram.data


def hand_in(sender: SessionSender, data: bytes, at_ns: int = EPOCH_NS) -> None:
    """A datagram that the kernel got at this UNIX time."""
    sender.receive(Received(data, received_ns=at_ns), 0.0)
