"""How many packets are enough to call a path bad, or good: a test that goes on until it is clear; pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from preflight.model.path import StampStats
from preflight.proto.stamp.pace import JITTER_PERCENTILE, LEAST_EVENTS, at_least, at_most, jitter_limit_ms

ABOUT = 0.8
"""A share is about as large as another one from this part of it on."""


class Limits(Protocol):
    """From which share of packets a property is bad, percent, and from which delay a packet is late."""

    @property
    def loss_percent(self) -> float:
        """Of lost packets."""

    @property
    def loss_fail_percent(self) -> float:
        """Of lost packets, for a failure and not only a warning."""

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
    return any(each.packets and 100 * at_most(each.events, each.packets) >= each.percent for each in _of(stats, limits))


def certain(stats: StampStats, limits: Limits) -> frozenset[str]:
    """The properties that are bad beyond chance."""
    return frozenset(each.name for each in _of(stats, limits) if significant(each.events, each.packets, each.percent))


def is_graded(stats: StampStats, limits: Limits) -> bool:
    """Whether more packets would not change what the loss is called: certainly a failure, or certainly less."""
    return all(
        significant(each.events, each.packets, limits.loss_fail_percent)
        or 100 * at_most(each.events, each.packets) < limits.loss_fail_percent
        for each in _of(stats, limits)
        if each.name == "loss"
    )


def present(stats: StampStats, limits: Limits) -> frozenset[str]:
    """The properties of which there was any sign; for jitter as many late packets as make it."""
    found = (each for each in _of(stats, limits) if each.name != "jitter" or _share(each) >= each.percent)
    return frozenset(each.name for each in found)


def as_bad(slow: StampStats, fast: StampStats, limits: Limits) -> bool:
    """Whether something is bad beyond chance in a slow session, and about as bad as in a fast one."""
    before = {(each.way, each.name): _share(each) for each in _of(fast, limits)}
    return any(
        significant(each.events, each.packets, each.percent)
        and _share(each) >= ABOUT * before.get((each.way, each.name), 100.0)
        for each in _of(slow, limits)
    )


@dataclass(frozen=True, slots=True)
class _Property:
    """Events of one kind, the packets that they are of, and the share from which it is bad. way: the direction."""

    way: str
    name: str
    events: int
    packets: int
    percent: float


def _share(each: _Property) -> float:
    return 100 * each.events / each.packets if each.packets else 0.0


def _of(stats: StampStats, limits: Limits) -> Iterator[_Property]:
    """Each property that had an event."""
    if stats.undirected:
        yield _Property("", "loss", stats.undirected, stats.sent, limits.loss_percent)
    for name, way in (("forward", stats.forward), ("reverse", stats.reverse)):
        if way is not None:
            late_ms = jitter_limit_ms(stats, limits.jitter_ms)
            late = sum(delay_ms >= late_ms for delay_ms in way.delay_variation_ms)
            found = (
                _Property(name, "loss", way.lost, way.sent, limits.loss_percent),
                _Property(name, "jitter", late, way.observed, 100 - JITTER_PERCENTILE),
                _Property(name, "reordering", way.reordered, way.observed, limits.reordering_percent),
                _Property(name, "duplication", way.duplicated, way.observed, limits.duplication_percent),
            )
            yield from (each for each in found if each.events)
