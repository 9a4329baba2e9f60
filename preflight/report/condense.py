"""A report without what the join of many reports never asks for. Pure.

The controller of a fleet reads the first report of every node, in which nearly everything is good: of that the join
needs one proof for each direction of a pair. What was not good stays, and so does what a cause explains.
"""

from collections import Counter
from collections.abc import Iterator

from preflight.report.merge import SENDING
from preflight.report.model import Report, ResultEntry, Summary, WayEntry


def slim(report: Report) -> Report:
    """The same without the numbers of what is good: they are not joined."""
    results = tuple(
        result.model_copy(update={"measurements": {}, "evidence": ()}) if result.status == "pass" else result
        for result in report.results
    )
    return report.model_copy(update={"results": results})


def condensed(report: Report) -> Report:
    """The same without good results that repeat what another one says of the same direction, and idle skips.

    For the first report of a node only: a later one must show each check that has become good.
    """
    results = tuple(_needed(report))
    summary = Summary.model_validate(Counter(result.status for result in results))
    ways = tuple(_placed(report))
    return report.model_copy(update={"results": results, "summary": summary, "ways": ways, "placement": ()})


def _needed(report: Report) -> Iterator[ResultEntry]:
    explained = {id for cause in report.diagnosis for id in cause.explains}
    proven: set[tuple[str, str | None]] = set()
    for result in report.results:
        if result.status == "pass" and result.id not in explained:
            proof = (result.target, result.direction if result.category in SENDING else None)
            if proof not in proven:
                proven.add(proof)
                yield result
        elif result.status != "skip" or result.id in explained:
            yield result


def _placed(report: Report) -> Iterator[WayEntry]:
    """The ways on which a cause has its place."""
    places = {cause.place.way for cause in report.diagnosis if cause.place is not None}
    return (way for way in report.ways if way.id in places)
