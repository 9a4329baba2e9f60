"""A loss that depends on the size of packets, and one that does not."""

import pytest

from preflight.model.path import DirectionStats, StampStats
from preflight.proto.stamp.large_loss import (
    COUNT,
    HALF,
    INTERVAL_S,
    SLOWEST_S,
    lost_by_size,
    may_be_size,
    only_large,
    spacings_s,
)


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


def session(forward: int, reverse: int) -> StampStats:
    """Half of the packets; each direction lost some of them."""
    return StampStats(
        sent=HALF, answered=HALF - forward - reverse, forward=lost(forward, HALF), reverse=lost(reverse, HALF)
    )


@pytest.mark.parametrize(
    ("large", "small", "more"),
    [
        (session(0, 0), session(0, 0), False),
        (session(3, 0), session(0, 0), True),
        (session(0, 3), session(2, 1), True),
        (session(3, 0), session(2, 0), False),
        (StampStats(sent=HALF, answered=0), session(0, 0), True),
    ],
)
def test_what_is_clear_needs_no_more_packets(large: StampStats, small: StampStats, more: bool) -> None:
    """Nothing was lost, or small ones too; where no direction is known the other half may show one."""
    assert may_be_size(large, small) is more


@pytest.mark.parametrize(("forward", "reverse", "by_size"), [(0, 0, False), (5, 0, False), (6, 0, True), (0, 8, True)])
def test_one_direction_is_enough(forward: int, reverse: int, by_size: bool) -> None:
    """And one whose counts nobody knows does not count."""
    assert lost_by_size(session(forward, reverse), session(0, 0)) is by_size
    assert not lost_by_size(StampStats(sent=HALF, answered=0), session(0, 0))


def test_packets_leave_no_faster_than_half_of_what_the_link_carries() -> None:
    """A quick link has one pace; one of 1 Mbit/s, one of 100 kbit/s, and one that is slower than all, get a second."""
    assert spacings_s(1420, 0.0) == spacings_s(1420, 8 / 1_000_000) == [INTERVAL_S]
    assert [1420 * 8 / each for each in spacings_s(1420, 8 / 100_000)] == pytest.approx([50_000, 12_500])
    assert spacings_s(1420, 2e-4)[-1] == SLOWEST_S
