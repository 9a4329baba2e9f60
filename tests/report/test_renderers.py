"""Every renderer on one report that has a result of each status."""

import json as stdlib
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from junitparser import JUnitXml
from lxml import etree

from preflight import codes
from preflight.api import (
    Direction,
    Evidence,
    Result,
    Status,
    failed,
    heal,
    inconclusive,
    passed,
    skipped,
    warned,
)
from preflight.engine.diagnosis import diagnose
from preflight.model.fix import LinkMtu
from preflight.report import json, junit, text
from preflight.report.build import build_report
from preflight.report.model import Gate, NodeInfo, OverlayInfo, PeerInfo, Report, judge

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
XSD = Path(__file__).with_name("jenkins-junit.xsd")


def stamp(check: str, result: Result) -> Result:
    return replace(result, check=check, category=check.partition(".")[0], started_at=NOW, duration_ms=12.5)


@pytest.fixture
def report() -> Report:
    hole = stamp(
        "mtu.path",
        failed(
            codes.MTU_BLACK_HOLE,
            "b",
            Direction.FORWARD,
            "packets above 1312 bytes vanish; <&> \x07 \u2603",
            remedies=heal(lambda: LinkMtu(interface="wg0", mtu_bytes=1320)),
            measurements={"mtu_bytes": 1312},
            evidence=(Evidence("sizes", "passed", [1200, 1312]),),
        ),
    )
    results = (
        stamp("overlay.interface", passed("node", Direction.LOCAL, "wg0 is up")),
        hole,
        stamp("mtu.path", passed("b", Direction.REVERSE, "1420 bytes pass")),
        stamp("udp.quality", warned(codes.UDP_JITTER, "b", Direction.REVERSE, "41 ms")),
        stamp("reach.udp", inconclusive(codes.RUN_NEEDS_RESPONDER, "c", Direction.ROUND_TRIP, "no responder")),
        stamp("control.dns", skipped(codes.RUN_NOT_APPLICABLE, "control", Direction.LOCAL, "the URL names an address")),
        stamp("enroll.cycle", skipped(codes.RUN_NOT_ENROLLING, "control", Direction.ROUND_TRIP, "ask", aspect="join")),
    )
    return build_report(
        results,
        diagnose(results),
        node=NodeInfo(hostname="node-a", os="Debian", kernel="6.1", python="3.11", privileges=("net_raw",)),
        overlay=OverlayInfo(product="wireguard", interface="wg0", mtu=1420, addresses=("10.66.0.1/24",)),
        started_at=NOW,
        duration_ms=1234,
        gate=Gate(),
        command=("preflight", "all"),
    )


def test_json_fits_its_published_schema_and_comes_back(report: Report) -> None:
    """What other programs validate against is what is written."""
    import json as stdlib

    document = stdlib.loads(json.render(report))
    Draft202012Validator.check_schema(json.schema())
    Draft202012Validator(json.schema(), format_checker=FormatChecker()).validate(document)
    assert json.parse(json.render(report).encode()) == report


@pytest.mark.parametrize(("peers", "brief"), [(json.MANY, False), (json.MANY + 1, True)])
def test_json_of_a_mesh_leaves_out_what_is_empty(report: Report, peers: int, *, brief: bool) -> None:
    """Half of a good result's fields are empty: only the schema's optional ones go, and all come back when read."""
    known = tuple(PeerInfo(target=f"p{number}", address="10.66.0.2") for number in range(peers))
    mesh = report.model_copy(update={"run": report.run.model_copy(update={"peers": known})})
    document = stdlib.loads(json.render(mesh))
    Draft202012Validator(json.schema()).validate(document)
    by_status = {result["status"]: result for result in document["results"]}
    assert (by_status["pass"].keys() < by_status["fail"].keys()) is brief
    assert {"code", "started_at", "duration_ms"} <= by_status["pass"].keys()
    assert {"blocked_by", "attempts"} <= by_status["skip"].keys()
    assert json.parse(json.render(mesh).encode()) == mesh


def test_json_has_the_fields_of_the_contract(report: Report) -> None:
    """Names that dashboards rely on."""
    document = stdlib.loads(json.render(report))
    assert set(document) == {
        "schema_version", "tool", "run", "verdict", "summary", "diagnosis", "ways", "results", "placement",
    }  # fmt: skip
    assert set(document["run"]) == {
        "id", "started_at", "duration_ms", "exit_code", "command", "lab", "node", "overlay", "peers",
    }  # fmt: skip
    assert document["summary"] == {"pass": 2, "warn": 1, "fail": 1, "inconclusive": 1, "skip": 2, "error": 0}
    assert [r["id"] for r in document["results"]][:3] == [
        "overlay.interface/node/local",
        "reach.udp/c/round-trip",
        "mtu.path/b/forward",
    ]
    assert document["results"][6]["id"] == "enroll.cycle/control/round-trip/join"
    assert document["run"]["started_at"].startswith("2026-11-23T12:00:00")


def test_a_cause_has_the_fields_of_the_contract(report: Report) -> None:
    """What a ticket system shows, and what makes the fix."""
    cause = stdlib.loads(json.render(report))["diagnosis"][0]
    assert cause | {"message": ""} == {
        "code": "mtu.black-hole",
        "title": codes.MTU_BLACK_HOLE.title,
        "message": "",
        "target": "b",
        "direction": "forward",
        "place": None,
        "remedy": "ip link set dev wg0 mtu 1320",
        "remedies": [
            {
                "kind": "fix",
                "where": "node",
                "host": None,
                "lines": ["ip link set dev wg0 mtu 1320"],
                "lasting": None,
                "needs": "root",
                "fix": {"id": "link.mtu", "interface": "wg0", "mtu_bytes": 1320},
            }
        ],
        "doc": "runbook/mtu.black-hole.md",
        "explains": ["mtu.path/b/forward"],
    }


def test_junit_shows_failures_first(report: Report) -> None:
    """A viewer lists them in the order of the file."""
    suites = list(JUnitXml.fromstring(junit.render(report).encode()))
    assert [suite.name for suite in suites][:3] == ["mtu", "udp", "reach"]
    assert [case.name for case in suites[0]] == ["b forward", "b reverse"]


def test_junit_names_the_cause_of_an_effect() -> None:
    """A viewer does not show the diagnosis: a person who opens an effect must find its cause there."""
    down = stamp("overlay.interface", failed(codes.OVERLAY_DOWN, "node", Direction.LOCAL, "wg0 is down"))
    silent = stamp("reach.udp", failed(codes.REACH_NO_FORWARD, "b", Direction.FORWARD, "no packet arrives"))
    results = (down, silent)
    node = NodeInfo(hostname="a", os="Debian", kernel="6.1", python="3.11")
    made = build_report(results, diagnose(results), node=node, overlay=None, started_at=NOW, duration_ms=1, gate=Gate())
    assert [cause.code for cause in made.diagnosis] == ["overlay.down"]
    (effect,) = (suite for suite in JUnitXml.fromstring(junit.render(made).encode()) if suite.name == "reach")
    assert "explained by overlay.down (node): wg0 is down" in next(iter(effect)).result[0].text
    assert junit.render(made).count("explained by") == 1


def test_junit_is_accepted_by_its_readers(report: Report) -> None:
    """junitparser reads it back, and the schema of Jenkins' xUnit plugin accepts it."""
    rendered = junit.render(report)
    suites = {suite.name: suite for suite in JUnitXml.fromstring(rendered.encode())}
    assert set(suites) == {"overlay", "mtu", "udp", "reach", "control", "enroll"}
    (bad, _good) = list(suites["mtu"])
    assert (bad.classname, bad.name) == ("mtu.path", "b forward")
    assert bad.result[0].type == "mtu.black-hole"
    assert suites["enroll"].skipped == suites["reach"].skipped == 1
    schema = etree.XMLSchema(etree.parse(XSD))
    schema.assertValid(etree.parse(BytesIO(rendered.encode())))


@pytest.mark.parametrize("width", [60, 80, 160])
def test_text_fits_its_width_and_starts_with_the_cause(report: Report, width: int) -> None:
    """At 3 a.m. the first screen says what is wrong and what to type."""
    rendered = text.render(report, width=width)
    assert max(map(len, rendered.splitlines())) <= width
    assert "    fix: ip link set dev wg0 mtu 1320" in rendered.splitlines()
    assert "\x1b" not in rendered
    head = rendered[: rendered.index("\noverlay")]
    assert "mtu.black-hole" in head
    assert "ip link set dev wg0 mtu 1320" in head
    assert any(line.startswith("FAIL  2 passed") for line in rendered.splitlines()[-3:])
    assert "\x07" not in rendered


def test_text_names_the_check_that_came_to_nothing() -> None:
    """What the runner says instead of a check is about that check: the code alone would not show which it was."""
    late = inconclusive(codes.RUN_TIMEOUT, "node", Direction.LOCAL, "not finished", aspect="timeout")
    results = stamp("host.clock", late), stamp("host.sockets", late)
    node = NodeInfo(hostname="a", os="", kernel="", python="", privileges=())
    made = build_report(
        results, diagnose(results), node=node, overlay=None, started_at=NOW, duration_ms=1, gate=Gate(), command=()
    )
    rendered = text.render(made)
    assert " ? clock   run.timeout" in rendered
    assert " ? sockets run.timeout" in rendered


def test_colour_is_only_added(report: Report) -> None:
    """Colours carry no extra meaning: without them the same text is there."""
    import re

    plain = text.render(report, width=100)
    assert re.sub(r"\x1b\[[0-9;]*m", "", text.render(report, width=100, color=True)) == plain
    assert "\x1b[" in text.render(report, width=100, color=True)


def test_a_lab_on_loopback_says_so(report: Report) -> None:
    """Nothing measured on loopback may be taken for a network."""
    loopback = report.model_copy(update={"run": report.run.model_copy(update={"lab": "loopback"})})
    assert "LOOPBACK" in text.render(loopback)


def reported(check: str, status: Status) -> Result:
    code = None if status is Status.PASS else codes.RUN_NOT_APPLICABLE
    return Result(
        check=check, target="node", direction=Direction.LOCAL, status=status, code=code, message=f"{check} says so"
    )


LENIENT = Gate(allow_inconclusive=True)


@pytest.mark.parametrize(
    ("statuses", "gate", "interrupted", "expected"),
    [
        ("pass pass", Gate(), False, ("pass", 0)),
        ("warn", Gate(), False, ("pass", 0)),
        ("warn", Gate(fail_on="warn"), False, ("fail", 1)),
        ("fail error inconclusive", Gate(), False, ("fail", 1)),
        ("error inconclusive", Gate(), False, ("error", 4)),
        ("inconclusive pass", Gate(), False, ("inconclusive", 3)),
        ("inconclusive pass", LENIENT, False, ("pass", 0)),
        ("inconclusive", LENIENT, False, ("inconclusive", 3)),
        ("error pass", LENIENT, False, ("error", 4)),
        ("fail pass", LENIENT, False, ("fail", 1)),
        ("skip skip", Gate(), False, ("inconclusive", 3)),
        ("skip pass", Gate(), False, ("pass", 0)),
        ("skip", LENIENT, False, ("inconclusive", 3)),
        ("", Gate(), False, ("inconclusive", 3)),
        ("fail", Gate(), True, ("fail", 130)),
        ("pass", Gate(), True, ("inconclusive", 130)),
    ],
)
def test_exit_codes(statuses: str, gate: Gate, interrupted: bool, expected: tuple[str, int]) -> None:
    """The contract's table: 1, then 4, then 3; interrupted is 130; and nothing is good without a pass."""
    results = [reported(f"a.b{number}", Status(status)) for number, status in enumerate(statuses.split())]
    asked = {"all": frozenset(f"a.b{number}" for number in range(max(1, len(results))))}
    found = judge(results, gate, asked, interrupted=interrupted)
    assert (found.verdict, found.exit_code) == expected


SKIP, PASS, WARN, OPEN = Status.SKIP, Status.PASS, Status.WARN, Status.INCONCLUSIVE


@pytest.mark.parametrize(
    ("results", "gate", "expected", "remarks"),
    [
        ({"a.x": SKIP, "need": PASS}, Gate(), 3, ["a.x was skipped completely: a.x says so"]),
        ({"a.x": SKIP, "b.y": PASS}, Gate(), 0, ["a.x was skipped completely: a.x says so"]),
        ({"a.x": SKIP, "run.plugins": WARN}, Gate(), 3, ["a.x was skipped completely: a.x says so"]),
        ({"a.x": OPEN, "b.y": PASS}, LENIENT, 0, ["undecided, but allowed by --allow-inconclusive: a.x"]),
        (
            {"a.x": OPEN, "need": PASS},
            LENIENT,
            3,
            ["nothing that was requested passed, so --allow-inconclusive does not apply"],
        ),
        ({"need": PASS}, Gate(), 3, ["no result from a.x"]),
        ({"a.x": PASS}, Gate(), 0, []),
    ],
)
def test_what_was_asked_for_by_name_is_not_left_out_in_silence(
    results: dict[str, Status], gate: Gate, expected: int, remarks: list[str]
) -> None:
    """What a named check needs does not count as its pass, nor does a plug-in that could not be loaded."""
    asked = {check: frozenset({check}) for check in ({"a.x": SKIP} | results) if check in ("a.x", "b.y")}
    found = judge([reported(check, status) for check, status in results.items()], gate, asked)
    assert (found.exit_code, list(found.remarks)) == (expected, remarks)


def test_what_does_not_apply_takes_one_line(report: Report) -> None:
    """A reader looks for what is wrong; what was never a question is listed apart, and -v gives its reason."""
    brief, whole = text.render(report), text.render(report, verbose=True)
    assert "does not apply here: control.dns (-v says why)" in brief
    assert "the URL names an address" not in brief
    assert "the URL names an address" in whole
    assert "does not apply here" not in whole
    assert "ask" in brief
