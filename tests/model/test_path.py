"""Numbers of a path: shares, percentiles, and several sessions as one."""

from dataclasses import replace
from typing import Any

import pytest

from preflight.model.path import DirectionStats, StampStats, combined, percentile


def direction(sent: int = 100, received: int = 95, **more: Any) -> DirectionStats:
    """One direction of a session."""
    return DirectionStats(sent, received, received, **more)


def test_shares() -> None:
    """Each share has its own number of packets behind it, and nothing is divided by zero."""
    stats = direction(reordered=19, duplicated=38)
    assert (stats.lost, stats.loss_percent) == (5, 5.0)
    assert (stats.reordered_percent, stats.duplicated_percent) == (20.0, 40.0)
    nothing = DirectionStats(0, 0, 0)
    assert (nothing.loss_percent, nothing.reordered_percent, nothing.duplicated_percent, nothing.ipdv_ms) == (
        0,
        0,
        0,
        0,
    )
    assert StampStats(sent=0, answered=0).loss_percent == 0


@pytest.mark.parametrize(("percent", "expected"), [(0, 1), (1, 1), (50, 50), (95, 95), (99.5, 100), (100, 100)])
def test_percentile(percent: float, expected: float) -> None:
    """Nearest rank: the smallest value that this many of the values do not exceed."""
    assert percentile([float(value) for value in range(100, 0, -1)], percent) == expected
    assert percentile([], percent) == 0


def test_ipdv() -> None:
    """The mean step between successive delays (RFC 3393)."""
    assert direction(delay_variation_ms=(0.0, 3.0, 1.0, 1.0)).ipdv_ms == pytest.approx(5 / 3)


def test_combined_sessions() -> None:
    """Counts add up, the packets behind each number too."""
    first = StampStats(
        100, 90, direction(), direction(95, 90), rtt_ms=(1.0,), ttl_at_peer=250, send_errors={"EPERM": 1}
    )
    second = StampStats(50, 50, direction(50, 50), direction(50, 50), rtt_ms=(2.0,), ttl_at_peer=251, undirected=1)
    both = combined([first, second])
    assert (both.sent, both.answered, both.undirected, both.rtt_ms, both.ttl_at_peer) == (150, 140, 1, (1.0, 2.0), 250)
    assert both.send_errors == {"EPERM": 1}
    assert both.forward == direction(150, 145)
    assert both.reverse == DirectionStats(145, 140, 140)


def test_delays_of_different_sessions_make_no_step() -> None:
    """The first packet of a session follows on none, as one behind a loss does; each session's places are kept."""
    first = direction(delay_variation_ms=(0.0, 3.0), extent=2)
    second = direction(delay_variation_ms=(5.0, 9.0, 1.0), breaks=frozenset({2}), extent=1)
    stats = StampStats(10, 10, first, second)
    forward = combined([stats, replace(stats, forward=second, reverse=first)]).forward
    assert forward is not None
    assert (forward.steps_ms, forward.breaks, forward.extent) == ((3.0, 4.0), frozenset({2, 4}), 2)


def test_what_a_silent_session_sent_has_no_direction() -> None:
    """A path that died between two sessions has lost the second one."""
    assert combined([StampStats(100, 90, undirected=3), StampStats(50, 0)]).undirected == 53


def test_a_direction_that_one_session_does_not_know_is_not_known() -> None:
    """Losses without a direction are not hidden by a session that has one; a silent session shows nothing."""
    known = StampStats(100, 90, direction(), direction(95, 90))
    unknown = StampStats(100, 99)
    silent = StampStats(100, 0)
    assert combined([known, unknown]).forward is None
    assert combined([known, silent]).forward == direction()
    assert combined([silent]).forward is None
