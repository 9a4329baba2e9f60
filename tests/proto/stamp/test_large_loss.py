"""A loss that depends on the size of packets, and one that does not."""

import pytest

from preflight.model.path import DirectionStats
from preflight.proto.stamp.large_loss import COUNT, only_large


def lost(count: int, sent: int = COUNT) -> DirectionStats:
    """A session that lost this many."""
    return DirectionStats(sent=sent, received=sent - count, observed=sent - count)


@pytest.mark.parametrize(
    ("large", "small", "by_size"),
    [
        (lost(12), lost(0), True),
        (lost(6), lost(1), True),
        (lost(5), lost(0), False),
        (lost(12), lost(2), False),
        (lost(12), lost(0, sent=6), False),
    ],
)
def test_only_large_ones(large: DirectionStats, small: DirectionStats, by_size: bool) -> None:
    """Few losses, losses of small ones too, and small ones whose fate is not known, prove nothing."""
    assert only_large(large, small) is by_size
