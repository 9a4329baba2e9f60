"""The score: what counts as right, wrong, missed and as a false alarm."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from preflight.lab import score
from preflight.lab.scenarios import SCENARIOS, Expected, Scenario
from preflight.lab.scoreboard import last_events, line, table
from preflight.model.event import Event
from preflight.report.redact import Redactor
from preflight.report.timeline import Header, Recorded

BROKEN = Scenario(
    "broken", "", expected=(Expected("udp.loss", "forward"), Expected("reach.loss", "forward")), exit_code=1
)
HEALTHY = Scenario("well", "", exit_code=0)


def report(*results: tuple[str, str, str], first: tuple[str, str] | None = None, exit_code: int = 0) -> dict[str, Any]:
    """results: id, status, code. The first diagnosis explains the results whose id starts with `x`."""
    rows = [{"id": name, "status": status, "code": code} for name, status, code in results]
    explains = [name for name, _, _ in results if name.startswith("x")]
    diagnosis = [{"code": first[0], "direction": first[1], "explains": explains}] if first else []
    return {"run": {"exit_code": exit_code}, "diagnosis": diagnosis, "results": rows}


@pytest.mark.parametrize(
    ("scenario", "first", "exit_code", "verdict"),
    [
        (HEALTHY, None, 0, "right"),
        (HEALTHY, None, 3, "wrong"),
        (HEALTHY, ("udp.loss", "forward"), 1, "wrong"),
        (BROKEN, ("udp.loss", "forward"), 1, "right"),
        (BROKEN, ("reach.loss", "forward"), 1, "right"),
        (BROKEN, ("udp.loss", "reverse"), 1, "wrong"),
        (BROKEN, ("mtu.reduced", "forward"), 1, "wrong"),
        (BROKEN, ("udp.loss", "forward"), 0, "wrong"),
        (BROKEN, None, 0, "missed"),
    ],
)
def test_verdict(scenario: Scenario, first: tuple[str, str] | None, exit_code: int, verdict: str) -> None:
    """Protects the meaning of right: code, direction and exit code together."""
    assert score.judge(scenario, report(first=first, exit_code=exit_code)).verdict == verdict


def test_a_wrong_exit_code_is_named() -> None:
    """Protects the reader of a row whose diagnosis is right and which is wrong anyway."""
    outcome = score.judge(BROKEN, report(first=("udp.loss", "forward"), exit_code=0))
    assert line(outcome).endswith("- exit code 0 instead of 1")


def test_expected_is_the_alternative_that_came() -> None:
    """Protects readers of the JSON: where a row allows two codes, a right answer equals its expectation."""
    outcome = score.judge(BROKEN, report(first=("reach.loss", "forward"), exit_code=1))
    assert outcome.expected == outcome.got == ("reach.loss", "forward")


def test_false_alarms() -> None:
    """Protects the false-alarm count: bad results that neither first diagnosis nor scenario explains."""
    results = (
        ("x/1", "fail", "overlay.down"),
        ("y/1", "warn", "reach.loss"),
        ("y/2", "warn", "udp.jitter"),
        ("y/3", "warn", "udp.jitter"),
        ("y/4", "inconclusive", "run.needs-responder"),
        ("y/5", "error", "run.check-error"),
    )
    outcome = score.judge(BROKEN, report(*results, first=("udp.loss", "forward"), exit_code=1))
    assert outcome.false_alarms == ("udp.jitter", "run.check-error")
    assert outcome.right
    assert not score.all_right([outcome])


@pytest.mark.parametrize(
    ("causes", "right", "alarms"),
    [
        ([("udp.loss", "x"), ("enroll.forbidden", "y")], True, ()),
        ([("udp.loss", "x")], False, ()),
        ([("enroll.forbidden", "y"), ("udp.loss", "x")], False, ()),
        ([("udp.loss", "x"), ("udp.jitter", "z"), ("enroll.forbidden", "y")], True, ("udp.jitter",)),
    ],
)
def test_two_faults_want_both_causes_in_the_order_of_repair(
    causes: list[tuple[str, str]], right: bool, alarms: tuple[str, ...]
) -> None:
    """Protects rows with two faults: the second cause counts, so does the order, and a third one is a false alarm."""
    scenario = Scenario("two", "", expected=(Expected("udp.loss"),), also=(Expected("enroll.forbidden"),), exit_code=1)
    bad = {"x": "udp.loss", "y": "enroll.forbidden", "z": "udp.jitter"}
    named = {letter for _, letter in causes}
    results = [{"id": id, "status": "fail", "code": code} for id, code in bad.items() if id != "z" or "z" in named]
    diagnosis = [{"code": code, "direction": "forward", "explains": [id]} for code, id in causes]
    outcome = score.judge(scenario, {"run": {"exit_code": 1}, "diagnosis": diagnosis, "results": results})
    assert (outcome.right, outcome.false_alarms) == (right, alarms)


def test_document_counts() -> None:
    """Protects the shape that other programs read."""
    outcomes = [
        score.judge(BROKEN, report(first=("udp.loss", "forward"), exit_code=1)),
        score.judge(BROKEN, report(first=("udp.loss", "reverse"), exit_code=1)),
        score.judge(BROKEN, report()),
        score.broken(BROKEN, "the lab would not come up"),
    ]
    scores = score.document(outcomes)
    rows = scores.pop("scenarios")
    assert scores == {"right": 1, "wrong": 1, "missed": 2, "false_alarms": 0, "total": 4}
    assert rows[0] == {
        "name": "broken",
        "repeat": 1,
        "expected": {"code": "udp.loss", "direction": "forward"},
        "got": {"code": "udp.loss", "direction": "forward"},
        "right": True,
        "false_alarms": [],
        "duration_ms": 0,
        "report": None,
    }
    assert rows[3]["error"] == "the lab would not come up"


def test_table_and_line_name_what_went_wrong() -> None:
    """Protects the reader of a failed run: it shows expectation and answer together."""
    outcomes = [score.judge(BROKEN, report(first=("udp.loss", "reverse"), exit_code=1))]
    assert "expected udp.loss (forward), got udp.loss (reverse)" in line(outcomes[0])
    assert "0 right, 1 wrong, 0 missed, 0 false alarms, 1 in all" in table(outcomes)


def test_the_table_loses_no_letter_on_a_narrow_terminal() -> None:
    """A name that ends in … cannot be looked up, nor pasted."""
    scenario = replace(BROKEN, name="black-hole-reverse-no-responder")
    outcomes = [score.judge(scenario, report(first=("overlay.endpoint-answers-elsewhere", "round-trip"), exit_code=1))]
    shown = table(outcomes, 80)
    assert "…" not in shown
    assert "black-hole-reverse-no-responder" in shown
    assert "false alarms" not in shown.partition("\n\n")[0]
    assert max(map(len, shown.splitlines())) <= 80


def test_scenarios_expect_codes_that_exist() -> None:
    """Protects the matrix from spelling mistakes, which would make a row impossible to get right."""
    from preflight import codes

    expected = {each.code for scenario in SCENARIOS.values() for each in (*scenario.expected, *scenario.also)}
    assert expected <= set(codes.ALL)


def test_a_bad_run_shows_how_its_timeline_ends(tmp_path: Path) -> None:
    """The reader of a failed row sees the file, and what the run did last, without another run."""
    header = Header(started_at=datetime(2026, 11, 23, tzinfo=UTC), clock_s=100.0)
    events = [Event(100.0 + n, "pmtu.fast", "b forward", "probe-sent", {"size_bytes": 1300 + n}) for n in range(99)]
    path = tmp_path / "broken-1.timeline.jsonl"
    path.write_text("".join(Recorded(header, events).lines(Redactor([]))))
    outcome = score.judge(BROKEN, report())
    assert last_events(outcome) == ""
    shown = last_events(replace(outcome, timeline=str(path))).splitlines()
    assert shown[0] == f"timeline: {path}, its last 40 of 99 events:"
    assert shown[-1].split() == ["98.000", "pmtu.fast", "b", "forward", "probe-sent", "size_bytes=1398"]
    assert len(shown) == 41
    path.write_text("")
    assert "not the header" in last_events(replace(outcome, timeline=str(path)))
