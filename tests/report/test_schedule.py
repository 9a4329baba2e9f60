"""When the checks of a run took place: one span a check, in the order of their begin."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from preflight import codes
from preflight.api import Direction, Result, passed, skipped
from preflight.report.build import build_report
from preflight.report.model import Gate, NodeInfo
from preflight.report.schedule import Span, schedule

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def test_a_check_spans_all_its_results() -> None:
    """From the first begin to the last end; what was skipped took no time."""

    def at(result_of: str, check: str, begin_s: float, took_ms: float) -> Result:
        result = passed(result_of, Direction.FORWARD, "good")
        return replace(result, check=check, started_at=NOW + timedelta(seconds=begin_s), duration_ms=took_ms)

    left_out = replace(
        skipped(codes.RUN_NOT_APPLICABLE, "node", Direction.LOCAL, "no"), check="host.portal", started_at=NOW
    )
    results = (at("b", "mtu.path", 3, 500), at("b", "reach.udp", 1, 200), at("c", "reach.udp", 2, 1000), left_out)
    node = NodeInfo(hostname="node-a", os="Debian", kernel="6.1", python="3.11")
    report = build_report(
        results,
        (),
        node=node,
        overlay=None,
        started_at=NOW,
        duration_ms=4000,
        gate=Gate(),
    )
    assert schedule(report) == (Span("reach.udp", 1.0, 2.0), Span("mtu.path", 3.0, 0.5))
