"""A series of `GET /health`: what came, and whether it is slow; pure."""

import statistics
from dataclasses import dataclass

from preflight.model.control import ControlError, HttpAnswer

NEARLY = 1.5
"""Answers that take more than this many times the handshake may have waited behind other packets, or in the server."""
ENOUGH = 8
"""Of fewer samples each may have waited behind packets of other checks: then all of them have to be slow."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Results of a few `GET /health`: good answers, then the bad answer or error that ended the series, if any."""

    good: tuple[HttpAnswer, ...] = ()
    bad: HttpAnswer | ControlError | None = None
    attempts: int = 1


def is_slow(probe: Probe, slow_ms: float) -> bool:
    """Whether good answers take too long."""
    rtts = round_trips(probe)
    return (statistics.median(rtts) if len(rtts) >= ENOUGH else min(rtts)) >= slow_ms


def is_the_way(probe: Probe, connect_ms: float) -> bool:
    """Whether an earlier TCP handshake took about as long as the answers: so the way is that long, without any load."""
    return min(round_trips(probe)) <= connect_ms * NEARLY


def round_trips(probe: Probe) -> list[float]:
    """Round trips of answers that did not open a connection, if there are any."""
    return [a.rtt_ms for a in probe.good if not a.connected] or [a.rtt_ms for a in probe.good]
