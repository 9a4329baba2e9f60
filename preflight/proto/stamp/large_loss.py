"""Whether large packets of a direction are lost where small ones are not: pure.

A search for the path MTU sends again what was lost, so it finds that large packets pass although half of them do not.
"""

from preflight.model.path import DirectionStats, StampStats

HALF, COUNT = 12, 24
"""Of a loss of a quarter, all of the first half arrive once in thirty times: then nobody waits for the rest."""
INTERVAL_S = 0.1
"""Full packets at this pace are 114 kbit/s each way; on a slower link they leave more seldom."""
SHARES = 0.5, 0.125
"""Of what the link carries, at most: large packets that fill its queue are lost there, and small ones still fit. What
others send may fill it already, so a loss has to remain at a quarter of the pace."""
SLOWEST_S = 1.0
"""Between two of them: 24 take long enough then."""
_LEAST_LOST = 6
"""A loss that has nothing to do with the size rarely takes this many large packets and at most one small one."""
_MOST_SMALL = 1


def spacings_s(size: int, s_per_byte: float) -> list[float]:
    """Seconds between two large packets, first and when only they are lost; one number if the first is slow enough.

    s_per_byte: how long the link takes for each byte, 0 if it is not slow.
    """
    return sorted({min(max(INTERVAL_S, size * s_per_byte / share), SLOWEST_S) for share in SHARES})


def only_large(large: DirectionStats, small: DirectionStats) -> bool:
    """Whether many large packets were lost, and hardly any small one that left between them."""
    return large.lost >= _LEAST_LOST and small.lost <= _MOST_SMALL and 2 * small.sent >= large.sent


def may_be_size(large: StampStats, small: StampStats) -> bool:
    """Whether more packets may show a loss by size: large ones were lost in a direction, and hardly any small one."""
    known = _ways(large, small)
    return not known or any(one.lost and other.lost <= _MOST_SMALL for one, other in known)


def lost_by_size(large: StampStats, small: StampStats) -> bool:
    """Whether a direction loses only large packets."""
    return any(only_large(one, other) for one, other in _ways(large, small))


def _ways(large: StampStats, small: StampStats) -> list[tuple[DirectionStats, DirectionStats]]:
    """Large packets and small ones of each direction that was measured."""
    ways = ((large.forward, small.forward), (large.reverse, small.reverse))
    return [(one, other) for one, other in ways if one is not None and other is not None]
