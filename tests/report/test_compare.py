"""What counts as a change between two reports, and what is noise."""

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from preflight import codes
from preflight.api import Direction, Measurement, Result, failed, passed, skipped, warned
from preflight.engine.diagnosis import diagnose
from preflight.report import json
from preflight.report.compare import Change, Comparison, compare, render
from preflight.report.model import Gate, NodeInfo, Report, build_report

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PASS = passed("b", Direction.FORWARD, "good")
HOLE = failed(codes.MTU_BLACK_HOLE, "b", Direction.FORWARD, "packets vanish")
WARN = warned(codes.UDP_LOSS, "b", Direction.FORWARD, "2 % lost")
SKIP = skipped(codes.RUN_NOT_APPLICABLE, "b", Direction.FORWARD, "not asked")


def made_of(*results: Result) -> Report:
    """A report with these results of one check."""
    stamped = tuple(replace(result, check="mtu.path", category="mtu", started_at=NOW) for result in results)
    node = NodeInfo(hostname="node-a", os="Debian", kernel="6.1", python="3.11")
    return build_report(stamped, diagnose(stamped), node=node, overlay=None, started_at=NOW, duration_ms=1, gate=Gate())


def with_numbers(**measurements: Measurement) -> Report:
    """A good result with measurements."""
    return made_of(passed("b", Direction.FORWARD, "good", measurements=measurements))


def trends(comparison: Comparison) -> list[str]:
    """The kinds of change, in the order in which they are told."""
    return [change.trend for change in comparison.changes]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (PASS, PASS, []),
        (PASS, HOLE, ["worse", "worse"]),  # the cause, and the result
        (HOLE, PASS, ["better", "better"]),
        (PASS, WARN, ["worse", "worse"]),
        (WARN, HOLE, ["worse", "worse", "better"]),  # another cause took the place of the first
        (PASS, SKIP, ["changed"]),
        (HOLE, SKIP, ["better", "changed"]),
    ],
)
def test_a_status_that_fell_is_worse(before: Result, after: Result, expected: list[str]) -> None:
    """A gate in CI goes by this: a skip is neither good nor bad."""
    assert trends(compare(made_of(before), made_of(after))) == expected


def test_a_bad_result_that_is_new_is_worse_and_a_good_one_is_nothing() -> None:
    """A check that a newer version brings must not break a gate by passing."""
    assert trends(compare(made_of(), made_of(PASS))) == []
    assert trends(compare(made_of(), made_of(HOLE))) == ["worse", "worse"]
    assert trends(compare(made_of(HOLE), made_of())) == ["better", "better"]
    assert trends(compare(made_of(PASS), made_of())) == ["changed"]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"mtu_bytes": 1420}, {"mtu_bytes": 1419}, ["worse"]),
        ({"mtu_bytes": 1312}, {"mtu_bytes": 1420}, ["better"]),
        ({"hops": 1}, {"hops": 2}, ["worse"]),
        # 1 of 200 against 2 of 200 is chance; 1 of 200 against 20 of 200 is not.
        ({"loss_percent": 0.5, "sent": 200}, {"loss_percent": 1.0, "sent": 200}, []),
        ({"loss_percent": 0.5, "sent": 200}, {"loss_percent": 10.0, "sent": 200}, ["worse"]),
        ({"loss_percent": 10.0, "sent": 200}, {"loss_percent": 0.0, "sent": 200}, ["better"]),
        ({"loss_percent": 10.0}, {"loss_percent": 0.0}, []),  # of how many is not known
        ({"rtt_ms": 3.5}, {"rtt_ms": 80.0}, []),  # no spread is known
        (
            {"rtt_ms": 3.5, "rtt_min_ms": 3, "rtt_max_ms": 9},
            {"rtt_ms": 12.9, "rtt_min_ms": 10, "rtt_max_ms": 15},
            [],
        ),
        (
            {"rtt_ms": 3.5, "rtt_min_ms": 3, "rtt_max_ms": 9},
            {"rtt_ms": 80.0, "rtt_min_ms": 70, "rtt_max_ms": 95},
            ["worse"],
        ),
        ({"rtt_median_ms": 20, "jitter_p95_ms": 30}, {"rtt_median_ms": 60, "jitter_p95_ms": 20}, []),
        ({"rtt_median_ms": 20, "jitter_p95_ms": 1}, {"rtt_median_ms": 60, "jitter_p95_ms": 1}, ["worse"]),
        ({"signalled": True}, {"signalled": False}, []),
    ],
)
def test_measurements_count_only_beyond_their_spread(
    before: dict[str, Any], after: dict[str, Any], expected: list[str]
) -> None:
    """Two runs on the same network must compare as equal, or nobody looks at the third one."""
    assert trends(compare(with_numbers(**before), with_numbers(**after))) == expected


def test_the_text_says_both_sides_with_their_spread() -> None:
    """A person judges the change by what was measured before and after."""
    found = compare(with_numbers(loss_percent=0.5, sent=200), with_numbers(loss_percent=10.0, sent=200))
    assert found.changes == (
        Change("worse", "mtu.path/b/forward loss", "0.5 % (0.09 to 2.78)", "10 % (6.57 to 14.94)"),
    )
    assert render(found).splitlines() == [
        "✗ worse  mtu.path/b/forward loss",
        "    was: 0.5 % (0.09 to 2.78)",
        "    now: 10 % (6.57 to 14.94)",
        "1 worse, 0 better, 0 changed",
    ]


@pytest.mark.parametrize(("before", "after", "code"), [(PASS, PASS, 0), (PASS, HOLE, 1), (HOLE, PASS, 0)])
def test_the_exit_code_is_one_when_something_got_worse(
    before: Result, after: Result, code: int, tmp_path: Path
) -> None:
    """What a CI job goes by."""
    files = [tmp_path / "before.json", tmp_path / "after.json"]
    for file, result in zip(files, (before, after), strict=True):
        file.write_text(json.render(made_of(result)), encoding="utf-8")
    command = [sys.executable, "-m", "preflight", "report", "diff", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, "")
