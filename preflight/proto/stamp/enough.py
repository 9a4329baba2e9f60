"""How many packets are enough to call a path bad, or good: a test that goes on until it is clear; pure."""

from collections.abc import Iterator
from typing import Protocol

from preflight.model.path import StampStats
from preflight.proto.stamp.pace import JITTER_PERCENTILE, at_least, at_most, jitter_limit_ms

LEAST_EVENTS = 3
"""Fewer lost, late or duplicated packets are chance, whatever the percentage."""


class Limits(Protocol):
    """From which share of packets a property is bad, percent, and from which delay a packet is late."""

    @property
    def loss_percent(self) -> float:
        """Of lost packets."""

    @property
    def reordering_percent(self) -> float:
        """Of packets that were overtaken."""

    @property
    def duplication_percent(self) -> float:
        """Of packets that came twice."""

    @property
    def jitter_ms(self) -> float:
        """Of the delay variation."""


def significant(events: int, packets: int, percent: float) -> bool:
    """Whether the path's true share is at least `percent`, at a confidence of 95 %, and from more than one or two
    packets.
    """
    return events >= LEAST_EVENTS and 100 * at_least(events, packets) >= percent


def clean(stats: StampStats, limits: Limits) -> bool:
    """Whether a session met no trouble at all."""
    return stats.lost == 0 and all(
        direction is not None
        and direction.reordered == direction.duplicated == 0
        and direction.delay_variation_percentile_ms(JITTER_PERCENTILE) < jitter_limit_ms(stats, limits.jitter_ms)
        for direction in (stats.forward, stats.reverse)
    )


def open_question(stats: StampStats, limits: Limits) -> bool:
    """Whether more packets may still show a property to be bad: its share may be as large as the limit."""
    return any(
        packets and 100 * at_most(events, packets) >= percent for events, packets, percent in _shares(stats, limits)
    )


def _shares(stats: StampStats, limits: Limits) -> Iterator[tuple[int, int, float]]:
    """Events, packets and limit of each property that had an event."""
    limit_ms = jitter_limit_ms(stats, limits.jitter_ms)
    if stats.undirected:
        yield stats.undirected, stats.sent, limits.loss_percent
    for way in (stats.forward, stats.reverse):
        if way is None:
            continue
        late = sum(delay_ms >= limit_ms for delay_ms in way.delay_variation_ms)
        if way.lost:
            yield way.lost, way.sent, limits.loss_percent
        if late:
            yield late, way.observed, 100 - JITTER_PERCENTILE
        if way.reordered:
            yield way.reordered, way.observed, limits.reordering_percent
        if way.duplicated:
            yield way.duplicated, way.observed, limits.duplication_percent
