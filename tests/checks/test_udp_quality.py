"""udp.quality: shares become findings only with enough packets behind them."""

import pytest
from preflight_checks.udp_quality import judge

from preflight.api import Peer
from preflight.model.path import DirectionStats, StampStats
from preflight.settings import Thresholds

B = Peer("10.66.0.2", "b")
CLEAN = DirectionStats(sent=200, received=200, observed=200, delay_variation_ms=(0.0, 1.0) * 100)


def told(forward: DirectionStats | None, reverse: DirectionStats | None = CLEAN) -> list[tuple[str, str, str | None]]:
    stats = StampStats(sent=200, answered=200, forward=forward, reverse=reverse, rtt_ms=(1.0,) * 200)
    results = judge(B, stats, Thresholds())
    return [(r.direction.value, r.status.value, r.code.slug if r.code else None) for r in results]


def direction(sent: int = 800, lost: int = 0, **more: object) -> DirectionStats:
    return DirectionStats(sent=sent, received=sent - lost, observed=sent - lost, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        (CLEAN, ("pass", None)),
        (direction(sent=3, lost=1), ("pass", None)),
        (direction(sent=200, lost=2), ("pass", None)),
        (direction(lost=2), ("pass", None)),
        (direction(lost=16), ("warn", "udp.loss")),
        (direction(lost=40), ("fail", "udp.loss")),
        (direction(reordered=100), ("warn", "udp.reordering")),
        (direction(duplicated=100), ("warn", "udp.duplication")),
        (direction(delay_variation_ms=(0.0,) * 700 + (90.0,) * 100), ("warn", "udp.jitter")),
        (direction(delay_variation_ms=(0.0,) * 790 + (90.0,) * 10), ("pass", None)),
        # Late packets that were overtaken are the jitter's doing.
        (direction(delay_variation_ms=(0.0,) * 600 + (90.0,) * 200, reordered=100), ("warn", "udp.jitter")),
    ],
)
def test_a_direction(measured: DirectionStats, expected: tuple[str, str | None]) -> None:
    """The finding stands in its own direction, the other one stays good."""
    assert told(measured) == [("forward", *expected), ("reverse", "pass", None)]
    assert told(CLEAN, measured) == [("forward", "pass", None), ("reverse", *expected)]


def test_two_bad_properties_are_two_results() -> None:
    """Loss does not hide duplication, and both have an id of their own."""
    stats = StampStats(sent=800, answered=700, forward=direction(lost=100, duplicated=100), reverse=CLEAN)
    results = judge(B, stats, Thresholds())
    assert [(r.code.slug if r.code else None, r.aspect) for r in results] == [
        ("udp.loss", ""),
        ("udp.duplication", "duplication"),
        (None, ""),
    ]


def test_a_stateless_reflector_leaves_the_direction_open() -> None:
    """Losses whose direction nobody counted are never put into one."""
    assert {status for _, status, _ in told(None, None)} == {"inconclusive"}
