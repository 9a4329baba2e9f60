"""A line that limits, queues or loses packets, on a simulated clock: what sessions over it measure."""

from dataclasses import dataclass, field
from random import Random

from preflight.api import Peer
from preflight.model.path import DirectionStats, StampStats


@dataclass(kw_only=True)
class Line:
    """One direction. police_per_s, burst: a bucket of tokens. link_per_s, room: a queue in front of a slow link.

    others_per_s: packets of other programs, evenly, in the same queue, until others_until_s. loss: the share that is
    lost at random.
    """

    police_per_s: float = 0.0
    burst: int = 5
    link_per_s: float = 0.0
    room: int = 30
    others_per_s: float = 0.0
    others_until_s: float = 1e9
    loss: float = 0.0
    chance: Random = field(default_factory=lambda: Random(7))
    _tokens: float = field(default=1e9, init=False)
    _at: float = field(default=0.0, init=False)
    _busy_until: float = field(default=0.0, init=False)
    _others: int = field(default=0, init=False)

    def pass_on(self, now: float) -> float | None:
        """When a packet arrives that enters now; None: never."""
        if self.chance.random() < self.loss or not self._let_through(now):
            return None
        if not self.link_per_s:
            return now
        while self._others < min(now, self.others_until_s) * self.others_per_s:
            self._queue(self._others / self.others_per_s)
            self._others += 1
        return self._queue(now)

    def _queue(self, now: float) -> float | None:
        begins = max(now, self._busy_until)
        if (begins - now) * self.link_per_s >= self.room:
            return None
        self._busy_until = begins + 1 / self.link_per_s
        return self._busy_until

    def _let_through(self, now: float) -> bool:
        if not self.police_per_s:
            return True
        self._tokens = min(self._tokens + (now - self._at) * self.police_per_s, self.burst)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


@dataclass
class Lines:
    """Replaces PathProbes: both directions, and how many packets were sent."""

    forward: Line = field(default_factory=Line)
    reverse: Line = field(default_factory=Line)
    sent: int = 0
    now: float = 0.0

    def first(self, peer: Peer) -> StampStats | None:
        """As PathProbes: this check is the first of the run."""
        return None

    def proven_silent(self, peer: Peer) -> StampStats | None:
        """As PathProbes: nobody."""
        return None

    def silent(self, peer: Peer) -> bool:
        """As PathProbes: nobody."""
        return False

    async def stamp(self, peer: Peer, *, count: int, interval_s: float) -> StampStats:
        """A session, a second of silence behind it."""
        self.sent += count
        entered = [self.now + number * interval_s for number in range(count)]
        self.now = entered[-1] + 1
        arrived = [(at, there) for at in entered if (there := self.forward.pass_on(at)) is not None]
        answered = [(there, back) for _, there in arrived if (back := self.reverse.pass_on(there)) is not None]
        return StampStats(
            sent=count,
            answered=len(answered),
            forward=_way(entered, arrived),
            reverse=_way([there for _, there in arrived], answered),
            lasted_s=count * interval_s,
            payload_bytes=64,
        )


def _way(entered: list[float], passed: list[tuple[float, float]]) -> DirectionStats:
    delays = [(after - before) * 1000 for before, after in passed]
    quickest = min(delays, default=0.0)
    places = [entered.index(before) for before, _ in passed]
    return DirectionStats(
        len(entered),
        len(passed),
        len(passed),
        delay_variation_ms=tuple(delay - quickest for delay in delays),
        breaks=frozenset(number for number in range(1, len(places)) if places[number] > places[number - 1] + 1),
    )
