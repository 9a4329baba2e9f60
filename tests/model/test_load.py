"""Numbers of flows: a rate where there is one, and no delay below zero."""

from preflight.model.load import AddedDelay, Counted


def test_a_rate_needs_bytes_and_time() -> None:
    """A single read of a quick flow took no time that anyone knows: no rate, and no division by zero."""
    assert Counted(bytes=1_000_000, steady_bytes=1_000_000, steady_s=2.0).mbit_s == 4.0
    assert Counted(bytes=1_000_000).mbit_s is None
    assert Counted(bytes=10, steady_bytes=0, steady_s=1.0).mbit_s is None


def test_a_flow_takes_no_delay_away() -> None:
    """A median that is smaller by chance is not a negative delay."""
    assert AddedDelay(idle_ms=3.0, loaded_ms=2.0, loaded_p95_ms=2.0, packets=20).added_ms == 0.0
    assert AddedDelay(idle_ms=3.0, loaded_ms=20.0, loaded_p95_ms=22.0, packets=20).added_ms == 17.0
