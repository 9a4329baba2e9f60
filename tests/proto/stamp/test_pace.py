"""Our own load is distinguished from what a path does at any pace."""

from dataclasses import replace

import pytest

from preflight.model.path import DirectionStats, StampStats
from preflight.proto.stamp.pace import (
    FEWEST,
    FIRST_PER_S,
    MOST_PER_S,
    SLOWEST_PER_S,
    Pace,
    at_least,
    at_most,
    carried_per_s,
    jitter_limit_ms,
    made_by_load,
    packets,
    queued,
    smallest_loss_percent,
)


def session(sent: int, lost: int = 0, late: int = 0) -> StampStats:
    """A session that lost packets on its way to the peer, or whose packets waited."""
    received = sent - lost
    delays = (60.0,) * late + (0.1,) * (received - late)
    way = DirectionStats(sent, received, received, delay_variation_ms=delays)
    return StampStats(sent=sent, answered=received, forward=way, reverse=DirectionStats(received, received, received))


def test_the_pace_begins_slowly_and_grows_while_all_is_well() -> None:
    """Nobody knows the uplink at first: one session shows more than it costs."""
    pace = Pace()
    assert (pace.at_once, pace.session_per_s) == (1, FIRST_PER_S)
    for _ in range(20):
        pace.went_well()
    assert (pace.per_s, pace.at_once, pace.session_per_s) == (MOST_PER_S, 8, FIRST_PER_S)


def test_a_pace_that_became_slower_twice_never_becomes_quicker() -> None:
    """Peers share an uplink: what one has found out holds for all. Once it may have been a busy host."""
    pace = Pace()
    pace.slow_to(60)
    assert (pace.per_s, pace.at_once, pace.session_per_s) == (60, 1, 60)
    pace.went_well()
    assert pace.per_s == 75
    pace.slow_to(70)
    pace.went_well()
    assert pace.per_s == 70
    pace.slow_to(0.1)
    assert pace.per_s == SLOWEST_PER_S


def test_slow_sessions_are_short_and_shared_out() -> None:
    """A slow line with many peers is measured with few packets each, and not for many minutes."""
    assert packets(250, 200) == packets(250, 200, 50) == 200
    assert packets(16, 200) == 80
    assert packets(64, 200, 50) == 76
    assert packets(8, 200, 50) == FEWEST
    assert packets(8, 10) == 10


def test_what_a_link_carries_is_seen_by_a_growing_delay_or_by_loss() -> None:
    """Twenty packets in 80 ms that come in over 200 ms have met a link of a hundred a second."""
    waiting = tuple(number * 6.0 for number in range(20))
    way, quick = DirectionStats(20, 20, 20, delay_variation_ms=waiting), DirectionStats(20, 20, 20)
    slow = StampStats(sent=20, answered=20, forward=way, reverse=quick, lasted_s=0.08)
    assert carried_per_s(slow) == pytest.approx(118, abs=10)
    assert queued(slow)
    full = DirectionStats(200, 80, 80, delay_variation_ms=(100.0,) * 80)
    assert carried_per_s(StampStats(sent=200, answered=80, forward=full, reverse=quick, lasted_s=0.8)) == 25
    assert carried_per_s(StampStats(sent=20, answered=20, forward=quick, reverse=quick, lasted_s=0.08)) is None
    jittery = DirectionStats(20, 20, 20, delay_variation_ms=(0.1, 90.0) * 10)
    assert carried_per_s(StampStats(sent=20, answered=20, forward=jittery, reverse=quick, lasted_s=0.08)) is None


def test_trouble_that_a_slower_session_does_not_have_was_made_by_load() -> None:
    """A full queue loses packets or makes them wait, and is empty at a quarter of the pace."""
    assert made_by_load(session(20, lost=8), session(150), 30.0)
    assert made_by_load(session(20, late=15), session(150), 30.0)


def test_trouble_at_any_pace_is_the_path() -> None:
    """Two losses in a hundred stay two in a hundred; a single loss shows nothing about load."""
    assert not made_by_load(session(200, lost=4), session(150, lost=3), 30.0)
    assert not made_by_load(session(200, lost=1), session(150), 30.0)
    assert not made_by_load(session(20, lost=2), session(100), 30.0)
    assert not made_by_load(session(200, late=100), session(150, late=75), 30.0)
    assert not made_by_load(StampStats(sent=200, answered=0), session(150), 30.0)


def test_bounds_hold_the_share() -> None:
    """Wilson's interval is around the share, and narrower for more packets."""
    assert at_least(4, 200) < 0.02 < at_most(4, 200)
    assert at_most(40, 2000) - at_least(40, 2000) < at_most(4, 200) - at_least(4, 200)
    assert smallest_loss_percent(150, 3) == 2.0


@pytest.mark.parametrize(
    ("waited_ms", "limit_ms"),
    [((), 30.0), ((0.2,) * 100, 30.0), ((0.2,) * 98 + (50.0,) * 2, 30.0), ((0.2,) * 80 + (25.0,) * 20, 55.0)],
)
def test_busy_hosts_delay_packets_too(waited_ms: tuple[float, ...], limit_ms: float) -> None:
    """Protects paths from a warning about the processor of their ends; an idle host's limit stays as it is."""
    assert jitter_limit_ms(replace(session(100), waited_ms=waited_ms), 30.0) == pytest.approx(limit_ms)
