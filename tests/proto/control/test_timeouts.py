"""The time-outs that are advised."""

import pytest

from preflight.proto.control.timeouts import conservative


@pytest.mark.parametrize(
    ("rtts", "heartbeat_s", "timeout_ms"),
    [
        ([1.0] * 18 + [20.0] * 2, 30, 15_000),  # a tail of a few milliseconds is the scheduler's
        ([100.0] * 20, 30, 15_000),
        ([1000.0] * 20, 30, 20_000),
        ([1000.0] * 19 + [9000.0], 30, 20_000),  # one in twenty is beyond the percentile
        ([1000.0] * 18 + [3000.0] * 2, 15, 60_000),
    ],
)
def test_the_distribution_counts(rtts: list[float], heartbeat_s: int, timeout_ms: int) -> None:
    """One accident changes nothing; where slow round trips take a multiple of the usual, heartbeats come sooner."""
    advice = conservative(rtts)
    assert (advice.heartbeat_s, advice.http_timeout_ms) == (heartbeat_s, timeout_ms)
    assert advice.max_stale_ms >= 90_000


@pytest.mark.parametrize(("rtts", "timeout_ms"), [([], 15000), ([1.0], 15000), ([600.0], 15000), ([900, 2000], 40000)])
def test_advised_time_outs(rtts: list[float], timeout_ms: int) -> None:
    """Never below the contract's default, with room for the worst that was measured; leases outlive slow requests."""
    advice = conservative(rtts)
    assert advice.http_timeout_ms == timeout_ms
    assert 15 <= advice.heartbeat_s <= 30
    assert advice.max_stale_ms >= 3 * advice.heartbeat_s * 1000
    assert advice.lease_ms >= max(120_000, 4 * timeout_ms)
    assert f"VOX_ORCHESTRATOR_MESH_HTTP_TIMEOUT_MS={timeout_ms}" in advice.environment()
