"""Loss above a rate: a policer drops what comes too quickly, and nothing waits in front of it; pure.

On a slow link packets wait before some are lost, so that a slow link is not taken for a policer. Loss at random takes
the same share at each rate; a policer takes none below its rate.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from preflight.model.path import DirectionStats, StampStats, percentile
from preflight.proto.stamp.pace import LEAST_EVENTS, at_least, at_most

LEAST_SHARE = 0.15
"""A smaller loss at one pace does not make this node look for a rate."""
SLOWEST_PER_S = 3.0
"""Below it a measurement would take too long."""
RUNG_S = 3.0
"""How long one rate is tried at most."""
BELOW, ABOVE = 0.7, 2.0
"""The rates to try, as shares of the rate that arrives."""
BELOW_COUNT, AGAIN_COUNT, ABOVE_COUNT = 50, 30, 90
"""Packets of the tries, at most: with their tails not more than two hundred together."""
FEWEST = 8
LEAST_BREAKS = 2
"""Places where packets are missing between others that arrived: one may be anything."""
WAITING = 0.25
"""In front of a slow link packets wait at least this share of the time that one takes to pass it."""

WayDirection = Literal["forward", "reverse"]


@dataclass(frozen=True, slots=True)
class Try:
    """One rate to try: packets, and the seconds between two of them."""

    count: int
    interval_s: float


@dataclass(frozen=True, slots=True)
class Policed:
    """What passes and what does not, packets a second. below: of its `below_count` packets all arrived."""

    below_per_s: float
    below_count: int
    above_per_s: float
    above_count: int
    arriving_per_s: float
    lost: int

    @property
    def loss_percent(self) -> float:
        """The share that was lost above the rate."""
        return 100 * self.lost / self.above_count


def suspected_per_s(stats: StampStats, direction: WayDirection) -> float | None:
    """How many packets a second arrive where more are sent and none wait; None: no reason to look for a rate."""
    rate = _arriving(stats, direction, LEAST_SHARE)
    rates = [rate if rate is not None and not _lost_below(stats.slower, direction, rate) else None]
    if stats.quicker is not None:  # that its loss was gone at a slower pace says more than its share
        rates.append(_arriving(stats.quicker, direction, 0.0))
    return min((rate for rate in rates if rate is not None and rate >= SLOWEST_PER_S), default=None)


def _lost_below(slower: StampStats | None, direction: WayDirection, per_s: float) -> bool:
    """Whether packets were lost at a pace well below a rate too: then no limit at this rate has taken them."""
    if slower is None or slower.lasted_s <= 0 or slower.sent / slower.lasted_s > BELOW * per_s:
        return False
    return loses(slower, direction)


def may_be_policed(stats: StampStats) -> bool:
    """Whether as many packets of a session were lost as make this node look for a rate, whatever else they met."""
    return at_least(stats.lost, stats.sent) >= LEAST_SHARE


def try_below(per_s: float, most: int) -> Try:
    """A rate that should pass."""
    return _try(BELOW * per_s, most)


def try_above(per_s: float) -> Try:
    """A rate that should not."""
    return _try(ABOVE * per_s, ABOVE_COUNT)


def _try(per_s: float, most: int) -> Try:
    return Try(max(FEWEST, min(most, round(RUNG_S * per_s))), 1 / per_s)


def arrived_per_s(stats: StampStats, direction: WayDirection) -> float | None:
    """How many packets of a session arrived in a second; None where that is not known."""
    way = _way(stats, direction)
    return way.received / stats.lasted_s if way is not None and way.received and stats.lasted_s > 0 else None


def loses(stats: StampStats, direction: WayDirection) -> bool:
    """Whether the path lost more packets of a session than chance does."""
    way = _way(stats, direction)
    return way is None or _lost(stats, way, direction) >= LEAST_EVENTS


def policed(below: StampStats, above: StampStats, direction: WayDirection) -> Policed | None:
    """Whether packets are lost above a rate only. `above` was measured after `below`, so the loss came back with it."""
    slow, fast = _way(below, direction), _way(above, direction)
    if slow is None or fast is None or not slow.sent or loses(below, direction):
        return None
    arriving = _arriving(above, direction, 0.0)
    lost = _lost(above, fast, direction)
    if arriving is None or at_least(lost, fast.sent) <= at_most(slow.lost, slow.sent) or below.lasted_s <= 0:
        return None
    return Policed(
        below_per_s=slow.sent / below.lasted_s,
        below_count=slow.sent,
        above_per_s=fast.sent / above.lasted_s,
        above_count=fast.sent,
        arriving_per_s=arriving,
        lost=lost,
    )


def _way(stats: StampStats, direction: WayDirection) -> DirectionStats | None:
    return stats.forward if direction == "forward" else stats.reverse


def _lost(stats: StampStats, way: DirectionStats, direction: WayDirection) -> int:
    """What the path lost: without what an end dropped or did not understand."""
    ends = stats.drops.forward if direction == "forward" else stats.drops.reverse + sum(stats.rejected.values())
    return max(way.lost - ends, 0)


def _arriving(stats: StampStats, direction: WayDirection, least_share: float) -> float | None:
    """The rate at which packets of a session arrived that lost at least a share of them, and in which none waited."""
    way, per_s = _way(stats, direction), arrived_per_s(stats, direction)
    if way is None or per_s is None or not way.delay_variation_ms:
        return None
    lost = _lost(stats, way, direction)
    if lost < LEAST_EVENTS or at_least(lost, way.sent) < least_share:
        return None
    return None if percentile(_waits_ms(way), 50) / 1000 * per_s >= WAITING else per_s


def _waits_ms(way: DirectionStats) -> Sequence[float]:
    """How long packets waited where some were lost just before; how long all of them did, where that was but once.

    What a full queue lets in after a loss waits behind the whole of it. A policer's next packet waits for nothing, even
    if the first ones, which its bucket let through, wait in front of a slow link behind it.
    """
    after_losses = [way.delay_variation_ms[place] for place in way.breaks if place < len(way.delay_variation_ms)]
    return after_losses if len(after_losses) >= LEAST_BREAKS else way.delay_variation_ms
