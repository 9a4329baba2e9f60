"""Conservative time-outs for a control plane behind a WAN, from measured round trips."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median
from typing import TypedDict

from preflight.model.path import percentile

ROUND_TRIPS = 4  # TCP, two of TLS 1.2, the request
MARGIN = 5  # retransmissions, and a link that is worse than while it was measured
TAIL_PERCENT = 95
LONGEST_HEARTBEAT_S, SHORTEST_HEARTBEAT_S = 30, 15  # the contract's ends; the longer one costs the fewest packets
UNSTEADY = 2.0
"""A 95th percentile of this many times the median means that single heartbeats will be late or lost."""
UNSTEADY_MS = 50.0
"""Milliseconds. A smaller 95th percentile is the scheduler's doing, not the path's."""
STALE_MS, LEASE_MS, CLIENT_MS = 90_000, 120_000, 15_000  # never below the contract's defaults


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Settings of a worker and of the server, in the units of their variables."""

    http_timeout_ms: int
    heartbeat_s: int
    max_stale_ms: int
    lease_ms: int

    def environment(self) -> str:
        """The lines to paste."""
        return (
            f"VOX_ORCHESTRATOR_MESH_HTTP_TIMEOUT_MS={self.http_timeout_ms} "
            f"VOX_MESH_HTTP_HEARTBEAT_SECS={self.heartbeat_s} "
            f"VOX_MESH_MAX_STALE_MS={self.max_stale_ms} VOX_MESH_A2A_LEASE_MS={self.lease_ms}"
        )


def conservative(rtts_ms: Sequence[float]) -> Timeouts:
    """Time-outs that the 95th percentile of the measured round trips (ms) fits into; never below the defaults.

    Client: all round trips of a request, with a margin. Heartbeat: the contract's longest interval; its shortest where
    slow round trips take a multiple of the usual, so that another heartbeat soon follows a late one. A node counts as
    stale after four heartbeats, or after three and a request that used its whole time. A lease outlives four such
    requests.
    """
    tail = percentile(rtts_ms, TAIL_PERCENT)
    unsteady = bool(rtts_ms) and tail >= max(UNSTEADY_MS, UNSTEADY * median(rtts_ms))
    heartbeat_s = SHORTEST_HEARTBEAT_S if unsteady else LONGEST_HEARTBEAT_S
    http_timeout_ms = max(CLIENT_MS, ceil(tail * ROUND_TRIPS * MARGIN / 1000) * 1000)
    return Timeouts(
        http_timeout_ms=http_timeout_ms,
        heartbeat_s=heartbeat_s,
        max_stale_ms=max(STALE_MS, 4 * heartbeat_s * 1000, 3 * heartbeat_s * 1000 + http_timeout_ms),
        lease_ms=max(LEASE_MS, 4 * http_timeout_ms + heartbeat_s * 1000),
    )


class HealthFigures(TypedDict):
    """What the answers to `GET /health` show, under the names of the facts."""

    rtt_ms: float
    rtt_min_ms: float
    rtt_p95_ms: float
    rtt_max_ms: float
    advised_http_timeout_ms: int
    advised_heartbeat_s: int
    advised_max_stale_ms: int
    advised_lease_ms: int


def health_figures(rtts_ms: Sequence[float]) -> HealthFigures:
    """rtts_ms: the round trips of some answers to `GET /health`, at least one."""
    advice = conservative(rtts_ms)
    return {
        "rtt_ms": round(median(rtts_ms), 3),
        "rtt_min_ms": round(min(rtts_ms), 3),
        "rtt_p95_ms": round(percentile(rtts_ms, TAIL_PERCENT), 3),
        "rtt_max_ms": round(max(rtts_ms), 3),
        "advised_http_timeout_ms": advice.http_timeout_ms,
        "advised_heartbeat_s": advice.heartbeat_s,
        "advised_max_stale_ms": advice.max_stale_ms,
        "advised_lease_ms": advice.lease_ms,
    }
