"""Findings that are known: shown with reason and date in every format, and not failing until that day."""

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from jsonschema import Draft202012Validator

from preflight import codes
from preflight.api import Direction, Result, failed, inconclusive, passed, skipped, warned
from preflight.engine.diagnosis import diagnose
from preflight.report import html, junit, markdown, openmetrics, sarif, text
from preflight.report import json as report_json
from preflight.report.acceptance import Known, is_accepted
from preflight.report.build import build_report
from preflight.report.model import Gate, NodeInfo, Report
from preflight.report.redact import Redactor
from preflight.settings.schema import AcceptedFinding

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
TODAY, LAST = NOW.date(), date(2026, 12, 31)
HOLE = AcceptedFinding(code="mtu.black-hole", target="b", reason="their router, ticket 7", until=LAST)
NOTE = "accepted until 2026-12-31: their router, ticket 7"


def stamped(check: str, result: Result) -> Result:
    """A result as the runner gives it."""
    return replace(result, check=check, category=check.partition(".")[0], started_at=NOW)


def hole(target: str = "b") -> Result:
    """A black hole."""
    return stamped("mtu.path", failed(codes.MTU_BLACK_HOLE, target, Direction.FORWARD, "packets vanish"))


def fine(check: str = "reach.icmp", target: str = "b") -> Result:
    """A result that passed."""
    return stamped(check, passed(target, Direction.FORWARD, "well"))


def report(
    results: Iterable[Result], *entries: AcceptedFinding, today: date = TODAY, gate: Gate | None = None
) -> Report:
    """The report of these results, with what is accepted."""
    found = tuple(results)
    node = NodeInfo(hostname="node-a", os="Debian", kernel="6.1", python="3.11")
    gives = {"mtu.path": frozenset({"mtu.black-hole", "mtu.reduced"}), "reach.icmp": frozenset({"reach.loss"})}
    return build_report(
        found,
        diagnose(found),
        node=node,
        overlay=None,
        started_at=NOW,
        duration_ms=1,
        gate=gate or Gate(),
        known=Known(entries, today, "preflight.yaml", gives),
    )


def test_what_is_accepted_does_not_fail_the_run() -> None:
    """Protects the gate: the finding stays in the report with its status, and the exit code is that of all others."""
    known = report([hole(), fine()], HOLE)
    assert (known.verdict, known.run.exit_code, known.summary.fail) == ("pass", 0, 1)
    assert [cause.accepted is not None for cause in known.diagnosis] == [True]
    assert known.remarks == ("accepted until 2026-12-31: mtu.black-hole at b (their router, ticket 7)",)
    assert report([hole(), fine()]).run.exit_code == 1
    assert report([hole(), hole("c"), fine()], HOLE).run.exit_code == 1


@pytest.mark.parametrize(("target", "code"), [("c", "mtu.black-hole"), ("b", "mtu.reduced")])
def test_only_that_finding_is_accepted(target: str, code: str) -> None:
    """Protects from an entry that hides more than it names."""
    other = AcceptedFinding(code=code, target=target, reason="x", until=LAST)
    assert report([hole(), fine()], other).run.exit_code == 1


def test_a_pattern_names_many_targets() -> None:
    """Protects a mesh from one entry for each peer."""
    every = AcceptedFinding(code="mtu.black-hole", target="edge-*", reason="x", until=LAST)
    assert report([hole("edge-1"), hole("edge-2"), fine()], every).run.exit_code == 0
    assert report([hole("edge-1"), hole("core-1"), fine()], every).run.exit_code == 1


def test_it_fails_again_after_its_last_day() -> None:
    """Protects from what is accepted for ever because nobody looks any more; the report says that it was known."""
    assert report([hole(), fine()], HOLE, today=LAST).run.exit_code == 0
    late = report([hole(), fine()], HOLE, today=date(2027, 1, 1))
    assert late.run.exit_code == 1
    assert late.diagnosis[0].accepted is None
    assert late.remarks[-1] == "not accepted any more since 2026-12-31: mtu.black-hole at b (their router, ticket 7)"


def test_what_does_not_occur_any_more_is_said() -> None:
    """Protects from a list that grows: but only where the run would have shown it."""
    gone = "accepted, but it does not occur any more: mtu.black-hole at b; take it out of `accept` in preflight.yaml"
    assert gone in report([fine("mtu.path"), fine()], HOLE).remarks
    assert gone in report([fine()], HOLE).remarks
    blind = stamped("mtu.path", inconclusive(codes.RUN_NEEDS_RESPONDER, "b", Direction.FORWARD, "no responder"))
    assert gone not in report([blind, fine()], HOLE).remarks
    assert gone not in report([fine(target="c")], HOLE).remarks


def test_warnings_and_undecided_results_can_be_known_too() -> None:
    """Protects `--fail-on warn`, and a peer that will never have a responder; what broke here is never accepted."""
    warning = stamped("mtu.echo", warned(codes.MTU_REDUCED, "b", Direction.FORWARD, "1312 of 1420"))
    reduced = AcceptedFinding(code="mtu.reduced", target="b", reason="x", until=LAST)
    assert report([warning, fine()], reduced, gate=Gate(fail_on="warn")).run.exit_code == 0
    silent = stamped("reach.udp", inconclusive(codes.RUN_NEEDS_RESPONDER, "b", Direction.ROUND_TRIP, "no responder"))
    needs = AcceptedFinding(code="run.needs-responder", target="b", reason="x", until=LAST)
    assert (report([silent, fine()]).run.exit_code, report([silent, fine()], needs).run.exit_code) == (3, 0)
    known = Known((needs,), NOW.date())
    assert is_accepted(silent, known)
    assert not is_accepted(warning, known)


def test_what_an_accepted_cause_explains_is_accepted_with_it() -> None:
    """Protects from a failure whose only cause is known."""
    echo = stamped("mtu.echo", failed(codes.MTU_BLACK_HOLE, "b", Direction.FORWARD, "echoes vanish"))
    known = report([hole(), echo, fine()], HOLE)
    assert [result.accepted is not None for result in known.results if result.status == "fail"] == [True, True]


def test_what_fails_goes_before_what_is_known() -> None:
    """Protects the reader: cause 1 is the one to look at."""
    other = AcceptedFinding(code="overlay.down", target="node", reason="x", until=LAST)
    down = stamped("overlay.interface", failed(codes.OVERLAY_DOWN, "node", Direction.LOCAL, "wg0 is down"))
    found = report([down, hole("c")], other)
    assert [(cause.code, cause.accepted is not None) for cause in found.diagnosis][-1] == ("overlay.down", True)


def test_every_format_shows_reason_and_date() -> None:
    """Protects who reads only one of them."""
    known = report([hole(), fine()], HOLE)
    shown = text.render(known, width=100)
    assert NOTE in shown
    assert "1 passed, 1 failed, 1 of them accepted" in shown
    assert "Known: " + NOTE in html.render(known)
    assert "accepted until" in markdown.render(known)
    (result,) = json.loads(sarif.render(known))["runs"][0]["results"]
    assert result["suppressions"] == [
        {"kind": "external", "status": "accepted", "justification": "their router, ticket 7 (until 2026-12-31)"}
    ]
    metrics = openmetrics.render(known)
    assert 'code="mtu.black-hole",direction="forward",status="accepted"' in metrics
    assert "preflight_root_cause_results{" not in metrics
    cases = junit.render(known)
    assert NOTE in cases
    assert "<failure" not in cases


def test_json_holds_it_only_where_there_is_any() -> None:
    """Protects readers of the report: null in every result would say nothing; what is there is read back."""
    known = report(
        [hole(), fine(), stamped("x.y", skipped(codes.RUN_NOT_APPLICABLE, "b", Direction.LOCAL, "no"))], HOLE
    )
    document = json.loads(report_json.render(known))
    Draft202012Validator(report_json.schema()).validate(document)
    assert document["diagnosis"][0]["accepted"] == {"reason": "their router, ticket 7", "until": "2026-12-31"}
    assert report_json.parse(report_json.render(known).encode()) == known
    assert Redactor(["ticket 7"]).report(known).diagnosis[0].accepted is not None
    assert "ticket 7" not in report_json.render(Redactor(["ticket 7"]).report(known))
    assert "accepted" not in json.loads(report_json.render(report([hole()])))["results"][0]


def test_a_report_cannot_claim_to_be_good_by_itself() -> None:
    """Protects a reader of a stranger's report: a failure that is not accepted does not go with the verdict pass."""
    document = json.loads(report_json.render(report([hole(), fine()], HOLE)))
    for result in document["results"]:
        result["accepted"] = None
    with pytest.raises(ValueError, match="do not support the verdict 'pass'"):
        report_json.parse(json.dumps(document).encode())


def test_the_last_screen_is_about_what_fails() -> None:
    """Protects the end of the text report, which is all that a terminal shows: what is known is not said twice."""
    many = [fine(f"reach.check{number}", f"p{number}") for number in range(30)]
    known = text.render(report([hole(), *many], HOLE))
    assert known.count("packets vanish") == 1
    both = text.render(report([hole(), hole("c"), *many], HOLE))
    assert "2. " not in both[both.rindex("mtu.black-hole  c") :]
