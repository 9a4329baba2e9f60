"""Our own load is distinguished from what a path does at any pace."""

from dataclasses import replace

import pytest

from preflight.model.path import DirectionStats, StampStats
from preflight.proto.stamp.pace import (
    INTERVALS_S,
    Pace,
    at_least,
    at_most,
    jitter_limit_ms,
    made_by_load,
    smallest_loss_percent,
)


def session(sent: int, lost: int = 0, late: int = 0) -> StampStats:
    """A session that lost packets on its way to the peer, or whose packets waited."""
    received = sent - lost
    delays = (60.0,) * late + (0.1,) * (received - late)
    way = DirectionStats(sent, received, received, delay_variation_ms=delays)
    return StampStats(sent=sent, answered=received, forward=way, reverse=DirectionStats(received, received, received))


def test_the_pace_never_becomes_quicker() -> None:
    """Peers share an uplink: what one has found out holds for all."""
    pace = Pace()
    pace.slow_to(2)
    pace.slow_to(1)
    assert pace.interval_s == INTERVALS_S[2]
    assert pace.slowest


def test_trouble_that_a_slower_session_does_not_have_was_made_by_load() -> None:
    """A full queue loses packets or makes them wait, and is empty at a quarter of the pace."""
    assert made_by_load(session(20, lost=8), session(150), 30.0)
    assert made_by_load(session(20, late=15), session(150), 30.0)


def test_trouble_at_any_pace_is_the_path() -> None:
    """Two losses in a hundred stay two in a hundred; a single loss shows nothing about load."""
    assert not made_by_load(session(200, lost=4), session(150, lost=3), 30.0)
    assert not made_by_load(session(200, lost=1), session(150), 30.0)
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
