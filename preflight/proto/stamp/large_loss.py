"""Whether large packets of a direction are lost where small ones are not: pure.

A search for the path MTU sends again what was lost, so it finds that large packets pass although half of them do not.
"""

from preflight.model.path import DirectionStats

COUNT = 24
INTERVAL_S = 0.1
"""Full packets at this pace are 114 kbit/s each way: a slow link carries them."""
_LEAST_LOST = 6
"""A loss that has nothing to do with the size rarely takes this many large packets and at most one small one."""
_MOST_SMALL = 1


def only_large(large: DirectionStats, small: DirectionStats) -> bool:
    """Whether many large packets were lost, and hardly any small one that left between them."""
    return large.lost >= _LEAST_LOST and small.lost <= _MOST_SMALL and 2 * small.sent >= large.sent
