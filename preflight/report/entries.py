"""What changed from one round to the next, one entry a cause: pure. What a cause explains gets no entry."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from preflight.model.printable import number_of
from preflight.report.common import way
from preflight.report.compare import compare
from preflight.report.grouping import CauseGroup, cause_groups
from preflight.report.model import CauseEntry, Report
from preflight.report.offers import offers

Trend = Literal["now", "worse", "better", "changed"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One change. now: it was so in the first round. code, target, direction: of a cause; else `code` is empty.

    more: lines of what to do, each with its label.
    """

    trend: Trend
    text: str
    code: str = ""
    target: str = ""
    direction: str = ""
    more: tuple[str, ...] = ()


def entries(before: Report | None, report: Report, *, sudo: bool = False) -> tuple[Entry, ...]:
    """The changes, the worse ones first; of the first round what is wrong now. sudo: who reads this is not root."""
    if before is None:
        return tuple(_of_causes("now", report, frozenset(), sudo))
    known, now = _causes(before), _causes(report)
    explained = {
        id for each in (*before.diagnosis, *report.diagnosis) if _key(each) not in known & now for id in each.explains
    }
    single = [each for each in compare(before, report).changes if not each.subject.startswith("cause ")]
    found = [
        *_of_causes("worse", report, known, sudo),
        *(
            Entry("better", _gone(cause, report), cause.code, cause.target, cause.direction)
            for cause in _lost(before, now)
        ),
        *(
            Entry(each.trend, f"{each.subject}: {each.was} → {each.now}")
            for each in single
            if each.subject.partition(" ")[0] not in explained
        ),
    ]
    order = ("worse", "better", "changed")
    return tuple(sorted(found, key=lambda entry: order.index(entry.trend)))


def _of_causes(trend: Trend, report: Report, known: frozenset[tuple[str, ...]], sudo: bool) -> Iterator[Entry]:
    for group in cause_groups(report, whole=False, once=True):
        if any(_key(cause) not in known for cause in group.causes):
            yield _entry(trend, report, group, sudo)


def _entry(trend: Trend, report: Report, group: CauseGroup, sudo: bool) -> Entry:
    place = ", ".join(filter(None, (group.who, way(group.first.direction))))
    more_results = number_of("results", group.explained).replace(" ", " more ", 1)
    others = f" (explains {more_results})" if group.explained > 0 else ""
    more = tuple(f"{each.label}: {line}" for each in offers(report, group, sudo=sudo) for line in each.lines)
    text = f"{' '.join(filter(None, (group.first.code, place)))}: {group.message}{others}"
    return Entry(trend, text, group.first.code, group.who, group.first.direction, more)


def _lost(before: Report, now: frozenset[tuple[str, ...]]) -> Iterator[CauseEntry]:
    yield from (cause for cause in before.diagnosis if _key(cause) not in now)


def _gone(cause: CauseEntry, report: Report) -> str:
    """A cause that is not found any more, and whether what it explained is good again."""
    place = ", ".join(filter(None, (cause.target, way(cause.direction))))
    own = [result for result in report.results if result.id in cause.explains]
    good = sum(result.status == "pass" for result in own)
    again = f"; {good} of {number_of('results', len(cause.explains))} passed again" if cause.explains else ""
    return f"{cause.code} {place}: not found any more{again}"


def _causes(report: Report) -> frozenset[tuple[str, ...]]:
    return frozenset(map(_key, report.diagnosis))


def _key(cause: CauseEntry) -> tuple[str, ...]:
    return cause.code, cause.target, cause.direction
