"""The report as metrics: OpenMetrics text that node_exporter's textfile collector and promtool take too.

Only gauges: the older Prometheus text format has no `info`; apart from that the two formats are equal. Names follow the
Prometheus conventions: base units, and a measurement keeps its unit's name at its end (`_seconds`, `_bytes`, `_ratio`).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client import Metric
from prometheus_client.openmetrics.exposition import generate_latest

from preflight.report.common import aspect_of
from preflight.report.fields import StatusName
from preflight.report.model import CauseEntry, Report, ResultEntry

_STATUSES: tuple[StatusName, ...] = ("pass", "warn", "fail", "inconclusive", "skip", "error")
_UNITS = {"ms": ("seconds", 1000.0), "s": ("seconds", 1.0), "percent": ("ratio", 100.0), "bytes": ("bytes", 1.0)}
_END = "# EOF\n"
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_]+")


@dataclass(slots=True)
class _Family:
    """One metric: samples by labels; of two with equal labels the last one counts."""

    help: str
    samples: dict[tuple[tuple[str, str], ...], float] = field(default_factory=dict)

    def add(self, value: float, **labels: str) -> None:
        self.samples[tuple(labels.items())] = value


@dataclass(frozen=True, slots=True)
class _Collector:
    """What prometheus-client writes: any object with `collect`."""

    families: dict[str, _Family]

    def collect(self) -> Iterator[Metric]:
        for name, family in self.families.items():
            metric = Metric(name, family.help, "gauge")
            for labels, value in family.samples.items():
                metric.add_sample(name, dict(labels), value)
            yield metric


def render(report: Report) -> str:
    """One exposition, ended by `# EOF`."""
    families: dict[str, _Family] = {}
    _run(families, report)
    for cause in report.diagnosis:
        _cause(families, cause)
    for result in report.results:
        _status(families, result)
    ours = frozenset(families)
    for result in report.results:
        _measured(families, result, ours)
    exposition: bytes = generate_latest(_Collector(families))  # type: ignore[no-untyped-call]
    return exposition.decode()


def with_gauges(exposition: str, gauges: Mapping[str, tuple[str, float]]) -> str:
    """An exposition, or an empty text, with more metrics: name to help text and value."""
    families: dict[str, _Family] = {}
    for name, (text, value) in gauges.items():
        _family(families, name, text).add(value)
    more: bytes = generate_latest(_Collector(families))  # type: ignore[no-untyped-call]
    return exposition.removesuffix(_END) + more.decode()


def _run(families: dict[str, _Family], report: Report) -> None:
    run = report.run
    version = _family(families, "preflight_build_info", "Version of the tool that wrote the report.")
    version.add(1, version=report.tool.version)
    ended = run.started_at.timestamp() + run.duration_ms / 1000
    _family(families, "preflight_run_end_timestamp_seconds", "When the run ended, Unix time.").add(ended)
    _family(families, "preflight_run_duration_seconds", "How long the run took.").add(run.duration_ms / 1000)
    _family(families, "preflight_run_exit_code", "Exit code: 0 good, 1 failed, 3 undecided, 4 broken.").add(
        run.exit_code
    )
    totals = _family(families, "preflight_results", "Results of the run by status.")
    for status in _STATUSES:
        count = report.summary.pass_ if status == "pass" else getattr(report.summary, status)
        totals.add(count, status=status)


def _cause(families: dict[str, _Family], cause: CauseEntry) -> None:
    if cause.accepted is not None:
        return
    metric = _family(families, "preflight_root_cause_results", "Results that a root cause explains, including its own.")
    metric.add(len(cause.explains), code=cause.code, target=cause.target, direction=cause.direction)


def _status(families: dict[str, _Family], result: ResultEntry) -> None:
    status = _family(families, "preflight_result_status", "1 for each result, with its status and finding code.")
    known = "accepted" if result.accepted is not None else result.status  # so that no alert about it fires
    status.add(1, check=result.check, **_about(result), status=known, code=result.code or "")


def _measured(families: dict[str, _Family], result: ResultEntry, ours: frozenset[str]) -> None:
    """The numbers that a check measured. Their names never clash with our own metrics."""
    for name, value in result.measurements.items():
        base, divisor = _base_unit(name)
        metric = f"preflight_{_plain(result.check)}_{base}"
        if isinstance(value, bool | int | float) and metric not in ours:
            _family(families, metric, f"Measured by {result.check}.").add(float(value) / divisor, **_about(result))


def _about(result: ResultEntry) -> dict[str, str]:
    aspect = aspect_of(result)
    return {"target": result.target, "direction": result.direction} | ({"aspect": aspect} if aspect else {})


def _base_unit(name: str) -> tuple[str, float]:
    """`rtt_median_ms` becomes `rtt_median_seconds`, divided by 1000."""
    stem, _, unit = _plain(name).rpartition("_")
    if unit in _UNITS:
        word, divisor = _UNITS[unit]
        return "_".join(filter(None, (stem, word))), divisor
    return _plain(name), 1.0


def _plain(name: str) -> str:
    return _NOT_IN_NAMES.sub("_", name).strip("_").lower()


def _family(families: dict[str, _Family], name: str, text: str) -> _Family:
    return families.setdefault(name, _Family(text))
