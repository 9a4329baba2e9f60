"""When each check of a run took place, for the picture of its time: pure."""

from dataclasses import dataclass

from preflight.report.model import Report


@dataclass(frozen=True, slots=True)
class Span:
    """One check: its begin, in seconds of the run, and how long it took."""

    check: str
    from_s: float
    took_s: float


def schedule(report: Report) -> tuple[Span, ...]:
    """The checks that ran, in the order of their begin."""
    spans: dict[str, tuple[float, float]] = {}
    for result in report.results:
        if result.started_at is None or result.status == "skip":
            continue
        begin = max((result.started_at - report.run.started_at).total_seconds(), 0.0)
        end = begin + result.duration_ms / 1000
        known = spans.get(result.check, (begin, end))
        spans[result.check] = (min(begin, known[0]), max(end, known[1]))
    found = (Span(check, round(begin, 3), round(end - begin, 3)) for check, (begin, end) in spans.items())
    return tuple(sorted(found, key=lambda span: (span.from_s, span.took_s, span.check)))
