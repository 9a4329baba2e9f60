"""Whether a series of answers is slow."""

import pytest

from preflight.model.control import HttpAnswer
from preflight.proto.control.health_probe import Probe, is_slow, round_trips


def probe(*rtts_ms: float) -> Probe:
    return Probe(tuple(HttpAnswer(200, {}, b"", ms, 0.0, 0.0, connected=not at) for at, ms in enumerate(rtts_ms)))


@pytest.mark.parametrize(
    ("rtts_ms", "slow"),
    [((900.0, 400.0, 500.0), True), ((900.0, 400.0, 100.0), False), ((1.0, *[400.0] * 5, *[1.0] * 4), True)],
)
def test_few_answers_must_all_be_slow_and_of_many_the_median(rtts_ms: tuple[float, ...], slow: bool) -> None:
    """The one that opened the connection does not count."""
    assert is_slow(probe(*rtts_ms), 300.0) is slow
    assert len(round_trips(probe(*rtts_ms))) == len(rtts_ms) - 1
