"""How fast a session may send: slower where its own packets may be what fills a queue; pure.

A path is never called lossy or jittery for what our own load does to it (RFC 8085 section 3.1). Trouble at one pace is
measured again at a quarter of it. Trouble that is gone then was our own; trouble that stays is the path's, whatever the
pace. All sessions of a run share the pace, because peers share an uplink.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt

from preflight.model.path import DirectionStats, StampStats, percentile

INTERVALS_S = (0.004, 0.016, 0.064)
"""Between two packets of a session; each pace is a quarter of the one before it. The last is 16 packets a second."""
COUNTS = (200, 150, 80)
"""Packets of a session at each pace: none takes longer than about five seconds."""
JITTER_PERCENTILE = 95
BUSY_MS = 3.0
"""On a host that is not busy, a program takes what its kernel has within a millisecond."""
Z = 1.645
"""One-sided 95 %, for the bounds of a share by Wilson's score interval."""


@dataclass(slots=True)
class Pace:
    """The pace of all sessions of a run; it only ever becomes slower."""

    step: int = 0

    @property
    def interval_s(self) -> float:
        """Between two packets of one session."""
        return INTERVALS_S[self.step]

    @property
    def slowest(self) -> bool:
        """Whether there is no slower pace."""
        return self.step == len(INTERVALS_S) - 1

    def slow_to(self, step: int) -> None:
        """Never send faster than this again."""
        self.step = max(self.step, step)


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
    return at_least(before, of) > at_most(after, of_after)


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
