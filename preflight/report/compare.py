"""What changed between two reports: pure. A difference within the spread of the measurements is not a change."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import StringIO
from math import sqrt
from typing import Literal

from preflight.model.facts import Facts, HealthFacts, LossFacts, ReverseTraceFacts, TraceFacts
from preflight.model.readings import carried_bytes
from preflight.report.model import CauseEntry, Report, ResultEntry

Trend = Literal["worse", "better", "changed"]

_GOODNESS = {"error": 0, "fail": 0, "inconclusive": 1, "warn": 2, "pass": 3}
"""`skip` is not in the list: a skipped result is neither better nor worse."""
Z = 1.96
"""Two-sided 95 %."""
LEAST_MS = 10.0
LEAST_SHARE = 0.5
"""A smaller difference of round trips may come from a busy machine: a few answers show the spread within a run, not
between runs.
"""


@dataclass(frozen=True, slots=True)
class Interval:
    """A measured value and its bounds, in `unit`."""

    value: float
    low: float
    high: float
    unit: str

    def apart(self, other: "Interval") -> bool:
        """Whether the two values certainly differ."""
        return self.high < other.low or other.high < self.low

    def __str__(self) -> str:
        spread = f" ({self.low:g} to {self.high:g})" if self.low < self.high else ""
        return f"{self.value:g} {self.unit}{spread}"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. `subject` is a result's id or a cause's code and target; `was` and `now` are text."""

    trend: Trend
    subject: str
    was: str
    now: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """All differences, the worse ones first."""

    changes: tuple[Change, ...]

    def of(self, trend: Trend) -> tuple[Change, ...]:
        """The changes of one kind."""
        return tuple(change for change in self.changes if change.trend == trend)

    @property
    def worse(self) -> bool:
        """Whether anything got worse."""
        return bool(self.of("worse"))


def compare(before: Report, after: Report) -> Comparison:
    """Compare two reports of one node, result by result."""
    found = [*_causes(before, after), *_results(before, after)]
    order = ("worse", "better", "changed")
    return Comparison(tuple(sorted(found, key=lambda change: order.index(change.trend))))


def _causes(before: Report, after: Report) -> Iterator[Change]:
    old, new = ({_name(cause): cause for cause in report.diagnosis} for report in (before, after))
    for name, cause in new.items():
        if name not in old:
            yield Change("worse", f"cause {name}", "none", cause.message)
    for name, cause in old.items():
        if name not in new:
            yield Change("better", f"cause {name}", cause.message, "gone")


def _name(cause: CauseEntry) -> str:
    return f"{cause.code} {cause.target} {cause.direction}"


def _results(before: Report, after: Report) -> Iterator[Change]:
    old, new = ({result.id: result for result in report.results} for report in (before, after))
    for id in dict.fromkeys([*old, *new]):
        was, now = old.get(id), new.get(id)
        if was and now:
            yield from _of_one(was, now)
        elif now and now.status in _GOODNESS and now.status != "pass":
            yield Change("worse", id, "not there", _said(now))
        elif was and was.status in _GOODNESS:
            yield Change("better" if was.status != "pass" else "changed", id, _said(was), "not there")


def _of_one(was: ResultEntry, now: ResultEntry) -> Iterator[Change]:
    if was.status in _GOODNESS and now.status in _GOODNESS and _GOODNESS[was.status] != _GOODNESS[now.status]:
        trend: Trend = "worse" if _GOODNESS[now.status] < _GOODNESS[was.status] else "better"
        yield Change(trend, now.id, _said(was), _said(now))
    elif (was.status, was.code) != (now.status, now.code):
        yield Change("changed", now.id, _said(was), _said(now))
    old, new = was.facts, now.facts
    for name, (read, higher_is_worse) in _MEASURES.items():
        first, second = read(old), read(new)
        if first is not None and second is not None and first.apart(second):
            rose = second.value > first.value
            yield Change("worse" if rose is higher_is_worse else "better", f"{now.id} {name}", str(first), str(second))


def _said(result: ResultEntry) -> str:
    code = f" {result.code}" if result.code else ""
    return f"{result.status}{code}: {result.message}"


def _mtu(facts: Facts | None) -> Interval | None:
    mtu = carried_bytes(facts)
    return None if mtu is None else Interval(mtu, mtu, mtu, "bytes")


def _hops(facts: Facts | None) -> Interval | None:
    if not isinstance(facts, TraceFacts | ReverseTraceFacts) or facts.hops is None:
        return None
    return Interval(facts.hops, facts.hops, facts.hops, "hops")


def _loss(facts: Facts | None) -> Interval | None:
    return _share(facts.loss_percent, facts.sent) if isinstance(facts, LossFacts) else None


def _reordering(facts: Facts | None) -> Interval | None:
    return _share(facts.reordered_percent, facts.observed) if isinstance(facts, LossFacts) else None


def _duplication(facts: Facts | None) -> Interval | None:
    return _share(facts.duplicated_percent, facts.observed) if isinstance(facts, LossFacts) else None


def _share(percent: float, packets: int) -> Interval | None:
    """A percentage of a number of packets: Wilson's interval (1927)."""
    if packets < 1:
        return None
    share, z2 = min(max(percent / 100, 0.0), 1.0), Z * Z
    middle = (share + z2 / (2 * packets)) / (1 + z2 / packets)
    half = Z * sqrt(share * (1 - share) / packets + z2 / packets / packets / 4) / (1 + z2 / packets)
    low, high = (round(100 * min(max(bound, 0.0), 1.0), 2) for bound in (middle - half, middle + half))
    return Interval(percent, low, high, "%")


def _round_trip(facts: Facts | None) -> Interval | None:
    """What lay between the quickest and the slowest answer; a value without a spread cannot be compared."""
    return _blurred(facts.rtt_ms, facts.rtt_min_ms, facts.rtt_max_ms) if isinstance(facts, HealthFacts) else None


def _jittered(facts: Facts | None) -> Interval | None:
    """A median of many round trips, which the delay variation of the same packets blurs."""
    if not isinstance(facts, LossFacts) or facts.rtt_median_ms is None or facts.jitter_p95_ms is None:
        return None
    value, jitter = facts.rtt_median_ms, facts.jitter_p95_ms
    return _blurred(value, value - jitter, value + jitter)


def _blurred(value: float, low: float, high: float) -> Interval:
    slack = max(LEAST_MS, LEAST_SHARE * value) / 2
    return Interval(value, round(max(min(low, value - slack), 0.0), 3), round(max(high, value + slack), 3), "ms")


_MEASURES: dict[str, tuple[Callable[[Facts | None], Interval | None], bool]] = {
    "mtu_bytes": (_mtu, False),
    "hops": (_hops, True),
    "loss": (_loss, True),
    "reordering": (_reordering, True),
    "duplication": (_duplication, True),
    "rtt": (_round_trip, True),
    "rtt median": (_jittered, True),
}
"""How to read each measurement, with its spread, and whether a higher value is worse."""


def summary(comparison: Comparison) -> str:
    """How many changes of each kind there are."""
    counts = ", ".join(f"{len(comparison.of(trend))} {trend}" for trend in ("worse", "better", "changed"))
    return counts if comparison.changes else "nothing changed by more than the noise of the measurements"


def render(comparison: Comparison, width: int = 80) -> str:
    """The comparison as text."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    from preflight.report.terminal import hanging

    out = StringIO()
    console = Console(file=out, width=max(width, 40), highlight=False, color_system=None)
    marks = {"worse": "✗", "better": "✓", "changed": "~"}
    for trend, mark in marks.items():
        for change in comparison.changes:
            if change.trend == trend:
                hanging(console, Text(f"{mark} {trend}  {change.subject}"))
                console.print(Padding(Text(f"was: {change.was}\nnow: {change.now}"), (0, 0, 0, 4)))
    console.print(Text(summary(comparison)))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"
