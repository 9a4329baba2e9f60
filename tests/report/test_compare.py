"""What counts as a change between two reports, and what is noise."""

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from preflight import codes
from preflight.api import Direction, Facts, Result, failed, passed, skipped, warned
from preflight.engine.diagnosis import diagnose
from preflight.model.facts import GIVEN_BY, HealthFacts, InterfaceFacts, LossFacts, MtuSearchFacts, TraceFacts
from preflight.report import json
from preflight.report.build import build_report
from preflight.report.compare import Change, Comparison, compare, render
from preflight.report.model import Gate, NodeInfo, Report
from tests.sample_facts import sample

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PASS = passed("b", Direction.FORWARD, "good")
HOLE = failed(codes.MTU_BLACK_HOLE, "b", Direction.FORWARD, "packets vanish")
WARN = warned(codes.UDP_LOSS, "b", Direction.FORWARD, "2 % lost")
SKIP = skipped(codes.RUN_NOT_APPLICABLE, "b", Direction.FORWARD, "not asked")


def made_of(*results: Result, check: str = "mtu.path") -> Report:
    """A report with these results of one check."""
    category = check.partition(".")[0]
    stamped = tuple(replace(result, check=check, category=category, started_at=NOW) for result in results)
    node = NodeInfo(hostname="node-a", os="Debian", kernel="6.1", python="3.11")
    return build_report(stamped, diagnose(stamped), node=node, overlay=None, started_at=NOW, duration_ms=1, gate=Gate())


def with_facts(facts: Facts) -> Report:
    """A good result of a check that gives such facts."""
    check = next(check for check, kinds in GIVEN_BY.items() if type(facts) in kinds)
    return made_of(passed("b", Direction.FORWARD, "good", facts=facts), check=check)


def mtu(mtu_bytes: int) -> Facts:
    return sample(MtuSearchFacts, mtu_bytes=mtu_bytes, interface_mtu_bytes=1420)


def lost(percent: float, **more: int) -> Facts:
    return sample(LossFacts, loss_percent=percent, **more)


def answers(rtt: float, low: float, high: float) -> Facts:
    return sample(HealthFacts, rtt_ms=rtt, rtt_min_ms=low, rtt_max_ms=high)


def delays(median: float, jitter: float | None) -> Facts:
    return sample(LossFacts, rtt_median_ms=median, jitter_p95_ms=jitter)


def trends(comparison: Comparison) -> list[str]:
    """The kinds of change, in the order in which they are reported."""
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
    """A gate in CI uses this: a skip is neither good nor bad."""
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
        (mtu(1420), mtu(1419), ["worse"]),
        (mtu(1312), mtu(1420), ["better"]),
        (InterfaceFacts(mtu_bytes=1420, peers=1), InterfaceFacts(mtu_bytes=1280, peers=1), ["worse"]),
        (TraceFacts(hops=1, reached=True), TraceFacts(hops=2, reached=True), ["worse"]),
        (TraceFacts(hops=1, reached=True), TraceFacts(hops=None, reached=False), []),
        # 1 of 200 against 2 of 200 is chance; 1 of 200 against 20 of 200 is not.
        (lost(0.5, sent=200), lost(1.0, sent=200), []),
        (lost(0.5, sent=200), lost(10.0, sent=200), ["worse"]),
        (lost(10.0, sent=200), lost(0.0, sent=200), ["better"]),
        (lost(10.0), lost(0.0), []),  # of no packets
        (sample(MtuSearchFacts, rtt_ms=3.5), sample(MtuSearchFacts, rtt_ms=80.0), []),  # no spread is known
        (answers(3.5, 3, 9), answers(12.9, 10, 15), []),
        (answers(3.5, 3, 9), answers(80.0, 70, 95), ["worse"]),
        (delays(20, 30), delays(60, 20), []),
        (delays(20, 1), delays(60, 1), ["worse"]),
        (delays(20, None), delays(60, None), []),  # the clock jumped meanwhile
        (sample(MtuSearchFacts, signalled=True), sample(MtuSearchFacts, signalled=False), []),
    ],
)
def test_numbers_count_only_beyond_their_spread(before: Facts, after: Facts, expected: list[str]) -> None:
    """Two runs on the same network must compare as equal, or nobody looks at the third one."""
    assert trends(compare(with_facts(before), with_facts(after))) == expected


@pytest.mark.parametrize("share", [{"reordered_percent": 10.0}, {"duplicated_percent": 10.0}], ids=str)
def test_a_share_is_weighed_by_the_packets_that_the_check_divided_by(share: dict[str, Any]) -> None:
    """Order and copies are shares of the packets that were observed, of which there may be few among those received."""
    before = sample(LossFacts, sent=1000, received=1000, observed=20)
    after = replace(before, **share)
    assert trends(compare(with_facts(before), with_facts(after))) == []
    many = replace(before, observed=1000)
    assert trends(compare(with_facts(many), with_facts(replace(many, **share)))) == ["worse"]


def test_measurements_of_another_package_are_not_taken_for_ours() -> None:
    """A plugin may measure whatever it likes under our names: what is compared is what our checks mean by them."""
    first, second = (
        made_of(passed("b", Direction.FORWARD, "good", measurements={"hops": hops}), check="site.x") for hops in (1, 9)
    )
    assert trends(compare(first, second)) == []


def test_the_text_says_both_sides_with_their_spread() -> None:
    """A person judges the change by what was measured before and after."""
    found = compare(with_facts(lost(0.5, sent=200)), with_facts(lost(10.0, sent=200)))
    assert found.changes == (
        Change("worse", "udp.quality/b/forward loss", "0.5 % (0.09 to 2.78)", "10 % (6.57 to 14.94)"),
    )
    assert render(found).splitlines() == [
        "✗ worse  udp.quality/b/forward loss",
        "    was: 0.5 % (0.09 to 2.78)",
        "    now: 10 % (6.57 to 14.94)",
        "1 worse, 0 better, 0 changed",
    ]


@pytest.mark.parametrize(("before", "after", "code"), [(PASS, PASS, 0), (PASS, HOLE, 1), (HOLE, PASS, 0)])
def test_the_exit_code_is_one_when_something_got_worse(
    before: Result, after: Result, code: int, tmp_path: Path
) -> None:
    """What a CI job uses."""
    files = [tmp_path / "before.json", tmp_path / "after.json"]
    for file, result in zip(files, (before, after), strict=True):
        file.write_text(json.render(made_of(result)), encoding="utf-8")
    command = [sys.executable, "-m", "preflight", "report", "diff", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, "")
