"""Formats for other programs and for tickets: read back by their own readers, and safe with what strangers wrote."""

import json
import re
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_prometheus

from preflight import codes
from preflight.api import Direction, Result, failed, inconclusive, passed, skipped, warned
from preflight.engine.diagnosis import diagnose
from preflight.model.facts import LeakFacts
from preflight.model.printable import one_line
from preflight.report import markdown, openmetrics, sarif
from preflight.report.build import build_report
from preflight.report.model import Gate, NodeInfo, Report

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
HOSTILE = 'a | b `c` <script>alert(1)</script> [x](http://e) @all #1 *d* "q" \\ {e} \n# head\n- item'


def _stamp(check: str, result: Result) -> Result:
    return replace(result, check=check, category=check.partition(".")[0], started_at=NOW, duration_ms=12.5)


@pytest.fixture
def report() -> Report:
    results = (
        _stamp(
            "mtu.path",
            failed(
                codes.MTU_BLACK_HOLE,
                "b",
                Direction.FORWARD,
                f"packets vanish: {HOSTILE}",
                remedy="ip link set dev wg0 mtu 1320  # ``` here",
                measurements={"mtu_bytes": 1312, "rtt_ms": 2.5, "signalled": False, "icmp_from": None},
            ),
        ),
        _stamp("mtu.path", passed("b", Direction.REVERSE, "1420 bytes pass", measurements={"mtu_bytes": 1420})),
        _stamp("mtu.echo", warned(codes.MTU_REDUCED, "b", Direction.FORWARD, "1312 of 1420")),
        _stamp("udp.quality", warned(codes.UDP_LOSS, "b", Direction.FORWARD, "2 %", measurements={"loss_percent": 2})),
        _stamp("reach.udp", inconclusive(codes.RUN_NEEDS_RESPONDER, HOSTILE, Direction.ROUND_TRIP, "no responder")),
        _stamp("enroll.cycle", skipped(codes.RUN_NOT_ENROLLING, "control", Direction.ROUND_TRIP, "ask", aspect="join")),
    )
    node = NodeInfo(hostname="node-a", os="Debian", kernel="6.1", python="3.11")
    return build_report(
        results, diagnose(results), node=node, overlay=None, started_at=NOW, duration_ms=1234, gate=Gate()
    )


class _Elements(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)


def test_markdown_shows_verdict_cause_and_remedy_first(report: Report) -> None:
    """A reader who opens the ticket sees what is wrong and what to type before anything else."""
    text = markdown.render(report)
    lines = text.splitlines()
    assert lines[0] == "## preflight: FAIL on node-a"
    assert lines.index("ip link set dev wg0 mtu 1320  # ``` here") < lines.index("<details>")
    assert text.index("### 1. ✗ `mtu.black-hole` b this node → peer") < text.index("| ✗ | `mtu.path/b/forward`")


def test_a_ticket_shows_ten_lines(report: Report) -> None:
    """Everything else is folded, and the causes that are open are the first ones."""
    opened = re.sub(r"<details>.*?</details>", "", markdown.render(report), flags=re.DOTALL)
    lines = [line for line in opened.splitlines() if line.strip() and not line.startswith("```")]
    assert len(lines) <= 10
    assert "### 1. ✗ `mtu.black-hole`" in opened
    assert "2\\. ! `udp.loss` b this node → peer" in lines


def test_markdown_makes_no_markup_of_what_strangers_wrote(report: Report) -> None:
    """A host name or a banner must not become a link, a script, a mention or a heading in a ticket."""
    html = MarkdownIt("commonmark").enable("table").render(markdown.render(report))
    assert _Elements(html).names <= {
        "h2", "h3", "p", "strong", "code", "pre", "table", "thead", "tbody", "tr", "th", "td", "details", "summary",
    }  # fmt: skip
    assert html.count("<td>") == _cells(report)
    assert "&lt;script&gt;" in html


def test_markdown_tells_a_cause_that_many_peers_share_once() -> None:
    """A ticket about five hundred peers stays a ticket."""
    dead = tuple(
        _stamp("reach.udp", failed(codes.REACH_NO_FORWARD, f"p{n}", Direction.FORWARD, f"p{n} got none"))
        for n in range(20)
    )
    node = NodeInfo(hostname="node-a", os="Debian", kernel="6.1", python="3.11")
    report = build_report(dead, diagnose(dead), node=node, overlay=None, started_at=NOW, duration_ms=1, gate=Gate())
    text = markdown.render(report)
    assert text.count("###") == 1
    assert "20 peers: p0, p1, p2, p3, p4, p5 and 14 more this node → peer" in text
    assert "and 8 more" in text


def _cells(report: Report) -> int:
    """Three for each explained result of each cause, five for each result in the folded list."""
    return 3 * sum(len(cause.explains) for cause in report.diagnosis) + 5 * len(report.results)


@pytest.mark.parametrize("read", [read_openmetrics, read_prometheus])
def test_metrics_are_read_by_both_parsers_in_base_units(report: Report, read: object) -> None:
    """A scraper gets OpenMetrics, node_exporter's textfile collector the older format: one document serves both."""
    assert callable(read)
    families = {family.name: family for family in read(openmetrics.render(report))}
    assert all(family.type == "gauge" for family in families.values())
    (rtt,) = families["preflight_mtu_path_rtt_seconds"].samples
    assert (rtt.labels, rtt.value) == ({"target": "b", "direction": "forward"}, 0.0025)
    assert families["preflight_udp_quality_loss_ratio"].samples[0].value == 0.02
    sizes = {s.labels["direction"]: s.value for s in families["preflight_mtu_path_mtu_bytes"].samples}
    assert sizes == {"forward": 1312, "reverse": 1420}
    statuses = {s.labels["status"]: s.value for s in families["preflight_results"].samples}
    assert statuses == {"pass": 1, "warn": 2, "fail": 1, "inconclusive": 1, "skip": 1, "error": 0}
    assert one_line(HOSTILE) in {s.labels["target"] for s in families["preflight_result_status"].samples}


@pytest.mark.needs("promtool")
def test_promtool_finds_nothing_to_object_to(report: Report) -> None:
    """Prometheus' own linter accepts names, types and units."""
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=openmetrics.render(report).encode(), capture_output=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_sarif_has_a_rule_for_each_result_and_levels_by_status(report: Report) -> None:
    """A collector groups by rule and gates by level; it can distinguish a root cause from its effects."""
    document = json.loads(sarif.render(report))
    (run,) = document["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert document["version"] == "2.1.0"
    assert [(rules[r["ruleIndex"]], r["ruleId"], r["level"], r["kind"]) for r in run["results"]] == [
        ("run.needs-responder", "run.needs-responder", "none", "open"),
        ("mtu.black-hole", "mtu.black-hole", "error", "fail"),
        ("mtu.reduced", "mtu.reduced", "warning", "fail"),
        ("udp.loss", "udp.loss", "warning", "fail"),
    ]
    assert len(rules) == len(set(rules))
    assert [r["properties"]["rootCause"] for r in run["results"]] == [True, True, False, True]
    assert run["invocations"][0]["startTimeUtc"] == "2026-11-23T12:00:00.000Z"
    assert run["invocations"][0]["endTimeUtc"] == "2026-11-23T12:00:01.234Z"


def test_sarif_has_what_code_scanning_refuses_to_do_without(report: Report) -> None:
    """GitHub needs a file and a line for each result, and three texts for each rule; the file is that of the run."""
    run = report.run.model_copy(update={"command": ("preflight", "all", "--config", "over lay/a.yaml")})
    for made, uri in ((report, "preflight.yaml"), (report.model_copy(update={"run": run}), "over%20lay/a.yaml")):
        (document,) = json.loads(sarif.render(made))["runs"]
        places = [place["physicalLocation"] for result in document["results"] for place in result["locations"]]
        assert len(places) == len(document["results"])
        assert {(p["artifactLocation"]["uri"], p["region"]["startLine"]) for p in places} == {(uri, 1)}
        for rule in document["tool"]["driver"]["rules"]:
            assert rule["shortDescription"]["text"]
            assert rule["fullDescription"]["text"]
            assert rule["help"]["markdown"].startswith(f"# {rule['id']}")
            assert rule["defaultConfiguration"]["level"] in ("error", "warning", "note")


def test_sarif_shows_a_finding_about_files_at_the_files() -> None:
    """A secret in a repository is shown where it is."""
    leak = failed(
        codes.POSTURE_SECRET_IN_GIT,
        "node",
        Direction.LOCAL,
        "a secret",
        facts=LeakFacts(places=2, file=("a/.env", "/etc/b")),
    )
    results = (_stamp("posture.secrets", leak),)
    node = NodeInfo(hostname="node-a", os="Debian", kernel="6.1", python="3.11")
    made = build_report(results, diagnose(results), node=node, overlay=None, started_at=NOW, duration_ms=1, gate=Gate())
    (result,) = json.loads(sarif.render(made))["runs"][0]["results"]
    uris = [place["physicalLocation"]["artifactLocation"]["uri"] for place in result["locations"]]
    assert uris == ["a/.env", "file:///etc/b"]
