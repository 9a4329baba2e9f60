"""Counting what arrives: the rate is that of the steady part."""

import pytest

from preflight.proto.load.meter import Meter


def test_the_beginning_does_not_count_for_the_rate() -> None:
    """A sender that starts slowly has the rate that it finds."""
    meter = Meter()
    for step in range(10):
        meter.add(1_000, 100.0 + step / 10)  # a slow second
    for step in range(400):
        meter.add(12_500, 101.0 + step / 100)  # four seconds of 10 Mbit/s
    seen = meter.counted()
    assert seen.bytes == 10 * 1_000 + 400 * 12_500
    assert seen.mbit_s == pytest.approx(10.0, rel=0.001)
    assert seen.seconds == pytest.approx(4.99, rel=0.001)


def test_of_a_short_flow_most_counts() -> None:
    """A flow that its bytes end soon still has a rate."""
    meter = Meter()
    for step in range(51):
        meter.add(25_000, step / 100)
    assert meter.counted().mbit_s == pytest.approx(20.0, rel=0.001)
    assert meter.counted().steady_s == pytest.approx(0.35, abs=0.02)


def test_nothing_and_one_piece_have_no_rate() -> None:
    """What came at once took a time that nobody knows."""
    assert Meter().counted(3).mbit_s is None
    assert Meter().counted(3).overflowed == 3
    meter = Meter()
    meter.add(65_536, 5.0)
    assert meter.counted().bytes == 65_536
    assert meter.counted().mbit_s is None
