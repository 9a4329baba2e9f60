"""Conservative time-outs for a control plane behind a WAN, from measured round trips."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

ROUND_TRIPS = 4  # TCP, two of TLS 1.2, the request
HEARTBEAT_S = 30  # the contract's upper end: the fewest packets
MARGIN = 5  # retransmissions, and a link that is worse than while it was measured


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Settings of a worker and of the server, milliseconds and seconds as their variables want them."""

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
    """Time-outs that the worst of the measured round trips leaves room in; never below the contract's defaults.

    A node counts as stale only after three heartbeats and a request that used its whole time; a lease outlives four
    requests that do.
    """
    worst = max(rtts_ms, default=0.0)
    http_timeout_ms = max(15_000, ceil(worst * ROUND_TRIPS * MARGIN / 1000) * 1000)
    return Timeouts(
        http_timeout_ms=http_timeout_ms,
        heartbeat_s=HEARTBEAT_S,
        max_stale_ms=3 * HEARTBEAT_S * 1000 + http_timeout_ms,
        lease_ms=max(120_000, 4 * http_timeout_ms + HEARTBEAT_S * 1000),
    )
