"""What a fleet's controller gets of a report: less, and the same matrix."""

from dataclasses import replace
from pathlib import Path

import pytest

from preflight import codes
from preflight.api import Direction, failed, passed
from preflight.report.condense import condensed, slim
from preflight.report.json import parse, render
from preflight.report.merge import merge
from tests.fleet.test_situations import read
from tests.report.test_merge import seen_by

WHOLE = sorted((Path(__file__).parent / "whole").iterdir())
"""What nodes of a fleet reported before they left anything out."""


def test_what_is_good_comes_without_its_numbers() -> None:
    """Protects the controller of many nodes: a good pair is a line; what is bad keeps what it was judged by."""
    bad = replace(failed(codes.REACH_NO_FORWARD, "b", Direction.FORWARD, "dead"), measurements={"sent": 9})
    good = replace(passed("b", Direction.REVERSE, "fine"), measurements={"sent": 9})
    assert [dict(result.measurements) for result in slim(seen_by("a", bad, good)).results] == [{"sent": 9}, {}]


@pytest.mark.parametrize("file", WHOLE, ids=lambda file: file.name)
def test_the_matrix_is_the_same(file: Path) -> None:
    """Protects the verdicts: what the first reports of real nodes lose makes no difference to any way or cause."""
    reports, names, holes = read(file)
    first = {report.run.node.hostname: report for report in reversed(reports)}
    fewer = [condensed(report) if report is first[report.run.node.hostname] else report for report in reports]
    whole, less = merge(reports, names, holes), merge(fewer, names, holes)
    assert less.model_copy(update={"left_out": whole.left_out}) == whole
    assert sum(len(report.results) for report in fewer) < 0.7 * sum(len(report.results) for report in reports)


@pytest.mark.parametrize("file", WHOLE, ids=lambda file: file.name)
def test_it_is_still_a_report(file: Path) -> None:
    """Protects the way to the controller, which refuses a report whose summary does not count its results."""
    for report in read(file)[0]:
        less = condensed(report)
        assert parse(render(less).encode()) == less
