"""How fast sessions may send: no faster than the path was shown to carry; pure.

A path is never called lossy or jittery for what our own load does to it (RFC 8085 section 3.1). All sessions of a run
share one pace, because peers share an uplink. It begins with one session, and grows by one with each session that met
no trouble. Where a queue fills it falls below the rate that arrived, and rises slowly; the second time it stays.
Trouble at one pace is measured again at a quarter of it. Trouble that is gone then was our own; trouble that stays is
the path's.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt

from preflight.model.path import DirectionStats, StampStats, percentile

FIRST_PER_S = 250.0
"""Packets a second of one session where nothing is known of the path: one in 4 ms."""
MOST_PER_S = 2000.0
"""Of all sessions together."""
SLOWEST_PER_S = 8.0
"""A slower session would take too long to show anything."""
CARRIED_SHARE = 0.7
"""Of what arrived where a queue was filled: less than the link carries, for others' packets too."""
OVERLOAD_SHARE = 0.8
"""A session of which less arrives in the time that it took was quicker than the link."""
CAREFULLY = 1.25
"""By how much a pace grows with each session that met no trouble, once it had to become slower."""
QUARTER, CLEARLY = 4.0, 1.5
"""By how much slower trouble is measured again; and by how much at least, for a quarter is too slow on slow links."""
LONGEST_S = 5.0
"""Of one session at a slow pace."""
TOGETHER_S = 60.0
"""Of the first sessions with all peers, where the pace lets only one send at a time."""
FEWEST = 20
QUEUED_MS = 5.0
"""Packets that wait for so long may have waited behind our own. On a quick path they wait for less."""
WAITING_MS = 2.0
"""A queue that begins to fill: one packet of a tunnel takes so long on a link of 1 Mbit/s."""
JITTER_PERCENTILE = 95
BUSY_MS = 3.0
"""On a host that is not busy, a program takes what its kernel has within a millisecond."""
LEAST_EVENTS = 3
"""Fewer lost, late or duplicated packets are chance, whatever the percentage."""
Z = 1.645
"""One-sided 95 %, for the bounds of a share by Wilson's score interval."""


@dataclass(slots=True)
class Pace:
    """The pace of all sessions of a run together, packets a second."""

    per_s: float = FIRST_PER_S
    most_per_s: float = MOST_PER_S
    slowed: bool = False

    @property
    def at_once(self) -> int:
        """How many sessions may run at one time."""
        return max(1, int(self.per_s / FIRST_PER_S))

    @property
    def session_per_s(self) -> float:
        """Packets a second of one session."""
        return min(self.per_s, FIRST_PER_S)

    def went_well(self) -> None:
        """A session met no trouble: one more may run."""
        quicker = self.per_s * CAREFULLY if self.slowed else self.per_s + FIRST_PER_S
        self.per_s = min(quicker, self.most_per_s)

    def slow_to(self, per_s: float) -> None:
        """Send no faster than this; a busy host may have been the reason once, but not twice."""
        self.per_s = max(min(self.per_s, per_s), SLOWEST_PER_S)
        if self.slowed:
            self.most_per_s = self.per_s
        self.slowed = True


def packets(per_s: float, most: int, peers: int = 1) -> int:
    """How many packets a session has at a pace, if it would have `most` at a quick one. peers: that have one each."""
    if per_s >= FIRST_PER_S:
        return most
    return max(min(most, FEWEST), min(most, int(per_s * LONGEST_S), int(per_s * TOGETHER_S / max(peers, 1))))


def slower_per_s(per_s: float) -> float | None:
    """The pace at which the trouble of another one shows whether it was made by it; None: it is the slowest already."""
    slower = max(per_s / QUARTER, SLOWEST_PER_S)
    return slower if slower <= per_s / CLEARLY else None


def carried_per_s(stats: StampStats) -> float | None:
    """How many packets a second the path carried of a session that was too quick for it; None: it was not.

    What comes in later and later waits in a queue: the time by which it grew is time that the link took.
    """
    if stats.lasted_s <= 0:
        return None
    ways = [way for way in (stats.forward, stats.reverse) if way is not None and way.received]
    carried = min((way.received / (stats.lasted_s + _growth_s(way)) for way in ways), default=0.0)
    return carried if 0 < carried < OVERLOAD_SHARE * stats.sent / stats.lasted_s else None


def _growth_s(way: DirectionStats) -> float:
    """By how much the mean delay at the end of a session is larger than at its beginning."""
    delays, quarter = way.delay_variation_ms, len(way.delay_variation_ms) // 4
    return max(0.0, sum(delays[-quarter:]) - sum(delays[:quarter])) / quarter / 1000 if quarter else 0.0


def queued(stats: StampStats) -> bool:
    """Whether packets of a session waited, so that what is wrong with it may be other packets of this node."""
    return _waited(stats, QUEUED_MS)


def waits(stats: StampStats) -> bool:
    """Whether a queue may begin to fill at the pace of a session, so that a quicker one would be too quick."""
    return _waited(stats, WAITING_MS)


def _waited(stats: StampStats, least_ms: float) -> bool:
    ways = [way for way in (stats.forward, stats.reverse) if way is not None]
    return any(way.delay_variation_percentile_ms(JITTER_PERCENTILE) >= least_ms for way in ways)


def at_least(events: int, packets: int) -> float:
    """Lower bound of a share (Wilson 1927); there may be more copies than packets."""
    share, z2 = min(events / packets, 1.0), Z * Z
    return max(0.0, (share + z2 / (2 * packets) - _spread(share, packets)) / (1 + z2 / packets))


def at_most(events: int, packets: int) -> float:
    """Upper bound of a share, by the same interval."""
    share, z2 = min(events / packets, 1.0), Z * Z
    return min(1.0, (share + z2 / (2 * packets) + _spread(share, packets)) / (1 + z2 / packets))


def _spread(share: float, packets: int) -> float:
    return Z * sqrt((share * (1 - share) + Z * Z / (4 * packets)) / packets)


def smallest_loss_percent(packets: int, least: int) -> float:
    """The smallest loss that this number of packets shows in half of all sessions: `least` of them must be lost."""
    return 100 * least / packets if packets else 100.0


def made_by_load(fast: StampStats, slow: StampStats, limit_ms: float) -> bool:
    """Whether trouble of a session is less at a slower pace than chance allows, so that its own packets made it.

    limit_ms: the delay variation from which it is trouble. A session without any answer shows nothing.
    """
    if not fast.answered or not slow.answered:
        return False
    pairs = ((fast.forward, slow.forward), (fast.reverse, slow.reverse))
    return _fewer(fast.lost, fast.sent, slow.lost, slow.sent) or any(
        _calmer(before, after, limit_ms) for before, after in pairs
    )


def jitter_limit_ms(stats: StampStats, limit_ms: float) -> float:
    """The delay variation that is trouble of the path: more, where the hosts at its ends were busy.

    A program that waits for a processor sends late, and so does a tunnel that is a program. How long answers lay at
    both ends before the programs took them says how much of the variation that explains.
    """
    busy_ms = percentile(stats.waited_ms, JITTER_PERCENTILE) if stats.waited_ms else 0.0
    return limit_ms + (busy_ms if busy_ms >= BUSY_MS else 0.0)


def _fewer(before: int, of: int, after: int, of_after: int) -> bool:
    return before >= LEAST_EVENTS and at_least(before, of) > at_most(after, of_after)


def _calmer(before: DirectionStats | None, after: DirectionStats | None, limit_ms: float) -> bool:
    """Whether packets waited in a queue that the slower session did not fill."""
    if before is None or after is None or not before.observed or not after.observed:
        return False
    if _fewer(before.lost, before.sent, after.lost, after.sent):
        return True
    late, still = (_late(direction.delay_variation_ms, limit_ms) for direction in (before, after))
    return _fewer(late, before.observed, still, after.observed)


def _late(delays_ms: Iterable[float], limit_ms: float) -> int:
    return sum(delay >= limit_ms for delay in delays_ms)
