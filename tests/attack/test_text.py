"""Text of strangers: whatever a host, a body, a name or a plug-in says, each output holds only what was measured.

`report` has the text in every field that another user can influence; independent readers read each format.
"""

import io
import json
import re
import subprocess
import sys
import tarfile
from html.parser import HTMLParser
from typing import Any
from unicodedata import category

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from lxml import etree
from markdown_it import MarkdownIt
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics

from preflight.cli.watch import lines
from preflight.evidence.bundle import make_bundle
from preflight.model.printable import one_line, printable
from preflight.report import compare, html, junit, markdown, matrix_text, openmetrics, sarif, text
from preflight.report import json as report_json
from preflight.report.entries import entries
from preflight.report.merge import merge
from preflight.report.model import Report
from preflight.report.redact import Redactor

ATTACKS = {
    "terminal": "\x1b[2J\x1b]0;owned\x07\x9b31mPASS",
    "line": "x\nPASS  27 passed, in 0.1 s\r\nPASS y\x0b\x0c\x85\u2028\u2029z",
    "long line": "x" * 90 + " PASS  27 passed, in 0.1 s " + "y" * 90,
    "sample": 'a"} 1\npreflight_run_exit_code 0\n# EOF\n\\',
    "bidirectional": "\u202egnp.exe\u2066\u2069\u200b\u200d\ufeff\u00ad",
    "no characters": "\ud800\udfff\uffff\ufffe\x00\U000e0041",
    "markup": "]]><b onmouseover=x>&amp;</title></script><script>alert(1)</script>' onload='x\" x=\"",
    "Markdown": "# h\n- i\n1. n\n> q\n```\n`c` | a | b |\n| --- |\n[l](http://x) ![i](y) *e* __s__ ~~d~~ <!-- c\n===\n",
    "links": "www.evil.example http://x.y/ a@b.c @all @org/team #1 GH-1 !2 $3 a/b#4 PROJ-5 :tada: a1b2c3d4e5f6 [[_T_]]",
    "template": "{{ 7*7 }} {% raw %} ${7*7} <%= 7 %> [bold red]x[/] :smile:",
    "nothing": "",
    "blanks": " \t  ",
    "huge": "A" * 5000,
}
STATUSES = ("pass", "warn", "fail", "inconclusive", "skip", "error")
NOW = "2026-11-23T12:00:00Z"
VERDICT = re.compile(r"(PASS|FAIL|INCONCLUSIVE|ERROR)\b", re.IGNORECASE)
anything = st.text(st.characters(), max_size=60) | st.text(
    st.sampled_from("`|*_<>&@#:[]()!\\\n\r \x1b\u202e-=~a1./"), max_size=40
)


def report(said: str) -> Report:
    """A report of one result of each status; another user may have written something in every field."""
    results = [
        {
            "id": f"{said}/{said}/forward/{n}",
            "check": said, "category": said, "target": said, "direction": "forward",
            "status": status, "code": said, "message": said, "remedy": said, "doc": said,
            "started_at": NOW, "duration_ms": 1.0,
            "measurements": {"rtt_ms": 1.5, said: said, "large": 10**400, "endless": float("inf")},
            "evidence": [{"kind": said, "summary": said, "data": {said: [said, {said: said}]}, "path": said}],
        }
        for n, status in enumerate(STATUSES)
    ]  # fmt: skip
    cause = {
        "code": said, "title": said, "message": said, "target": said, "direction": "forward", "remedy": said,
        "doc": said, "explains": [results[2]["id"]],
    }  # fmt: skip
    return Report.model_validate(
        {
            "tool": {"name": said, "version": said},
            "run": {
                "id": "5b1f2f4e-8c55-4d6e-9a3b-0123456789ab", "started_at": NOW, "duration_ms": 10.0, "exit_code": 1,
                "command": [said, said],
                "node": {"hostname": said, "os": said, "kernel": said, "python": said, "privileges": [said]},
                "overlay": {"product": said, "interface": said, "mtu": 1420, "addresses": [said]},
                "peers": [{"target": said, "address": said}],
            },
            "verdict": "fail",
            "summary": dict.fromkeys(STATUSES, 1),
            "diagnosis": [cause],
            "results": results,
            "placement": [{"work_class": said, "verdict": "caution", "because": said}],
        }
    )  # fmt: skip


def attacks(test: Any) -> Any:
    """The named attacks, and whatever else hypothesis finds."""
    for said in ATTACKS.values():
        test = example(said)(test)
    bounded = settings(max_examples=15, deadline=None, phases=(Phase.explicit, Phase.generate))
    return bounded(given(anything)(test))


def is_clean(document: str) -> bool:
    """Whether a terminal, an editor and a log take each character for what it shows."""
    return not any(category(c) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") for c in document if c not in "\n\t")


@attacks
def test_a_terminal_shows_text_and_one_verdict(said: str) -> None:
    """No control, escape or bidirectional character reaches a terminal, and no line looks like another verdict."""
    for width, verbose in ((60, False), (80, True)):
        shown = text.render(report(said), width=width, verbose=verbose)
        assert is_clean(shown)
        (verdict,) = [line for line in shown.split("\n") if VERDICT.match(line)]
        assert verdict.startswith("FAIL  1 passed, 1 warned")


@attacks
def test_comparisons_matrices_and_rounds_show_text(said: str) -> None:
    """`report diff`, `report merge` and `watch` print no more characters than the report does, one line a change."""
    before, after = report("x"), report(said)
    rounds = [*lines(after, entries(before, after), first=False), *lines(after, entries(None, after), first=True)]
    shown = [compare.render(compare.compare(before, after)), *rounds]
    assert all(map(is_clean, shown))
    assert not any("\n" in line for line in shown[1:])
    if not said.strip():
        return
    joined = merge([_own_address(after)])
    assert is_clean(matrix_text.render_text(joined))
    assert _elements(matrix_text.render_html(joined))["script"] == 0


def test_a_log_has_a_line_for_each_result() -> None:
    """A name cannot write lines into the log of a bundle."""
    archive = make_bundle(report("\n".join(ATTACKS.values())), [], Redactor([]), addresses=False)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        (log,) = [tar.extractfile(member) for member in tar if member.name.endswith("/log.txt")]
        assert log is not None
        shown = log.read().decode()
    assert is_clean(shown)
    assert len(shown.splitlines()) == len(STATUSES)
    assert all(line.startswith("2026-11-23T12:00:00") for line in shown.splitlines())


@attacks
def test_metrics_hold_our_samples_only(said: str) -> None:
    """A text cannot end its label and begin a sample: another reader finds the samples of the results, and no more."""
    read: Any = read_openmetrics
    families = {family.name: family for family in read(openmetrics.render(report(said)))}
    assert len(families["preflight_result_status"].samples) == len(STATUSES)
    assert [sample.value for sample in families["preflight_run_exit_code"].samples] == [1]
    assert {sample.labels["target"] for sample in families["preflight_result_status"].samples} == {one_line(said)}


@pytest.mark.parametrize(
    "metric", ["run exit_code", "run end_timestamp_s", "result status", "build info", "root cause_results"]
)
def test_a_measurement_is_no_metric_of_ours(metric: str) -> None:
    """A check whose name and measurement make the name of a metric of ours adds nothing to it."""
    check, name = metric.split()
    made = report("x")
    result = made.results[0].model_copy(update={"check": check, "measurements": {name: 0}})
    forged = openmetrics.render(made.model_copy(update={"results": (result, *made.results[1:])}))
    assert len(forged.splitlines()) <= len(openmetrics.render(made).splitlines())


@attacks
def test_junit_is_xml_with_our_cases_only(said: str) -> None:
    """Whatever comes, it is well-formed XML 1.0 with a case for each result."""
    root = etree.fromstring(junit.render(report(said)).encode(), etree.XMLParser(resolve_entities=False))
    assert len(root.findall(".//testcase")) == len(STATUSES)
    assert {element.tag for element in root.iter()} <= {
        "testsuites", "testsuite", "testcase", "failure", "error", "skipped", "system-out",
    }  # fmt: skip


@attacks
def test_json_keeps_to_its_schema_and_sarif_to_json(said: str) -> None:
    """Numbers are finite and exact in every reader, texts are Unicode, and the report fits its published schema."""
    for rendered in (report_json.render(report(said)), sarif.render(report(said))):
        document = json.loads(rendered.encode("utf-8"), parse_constant=_never, parse_int=_exact)
        assert is_clean(json.dumps(document, ensure_ascii=False))
    Draft202012Validator(report_json.schema()).validate(json.loads(report_json.render(report(said))))


@pytest.mark.parametrize("said", ["markup", "sample", "Markdown", "template", "no characters"])
def test_html_has_our_elements_only(said: str) -> None:
    """No text becomes an element, an attribute or a script of the page."""
    assert _elements(html.render(report(ATTACKS[said]))) == _elements(html.render(report("x")))


@attacks
def test_markdown_is_inert(said: str) -> None:
    """In a ticket no text becomes a link, a mention, an image, a reference, a heading, a cell or an emoji."""
    rendered = markdown.render(report(said))
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(rendered)
    plain = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(markdown.render(report("x")))
    assert is_clean(rendered)
    assert {token.type for token in tokens} <= {token.type for token in plain} | {"paragraph_open", "paragraph_close"}
    for structure in ("heading_open", "td_open", "html_block"):
        assert [t.type for t in tokens].count(structure) == [t.type for t in plain].count(structure)
    inline = [child for token in tokens for child in token.children or ()]
    assert {child.type for child in inline} <= {"text", "code_inline", "softbreak", "strong_open", "strong_close"}
    outside = " ".join(child.content for child in inline if child.type == "text")
    for linked in (
        r"https?:|www\.",
        "@",
        "#",
        r"\bGH-\d",
        r":[a-z+][\w+-]*:",
        r"!(?:\[|\d)",
        r"[<>&$~\[\]\\`*_]",
        r"\b[0-9a-f]{7,40}\b",
    ):
        assert not re.search(linked, outside.replace("run ", "")), linked


@pytest.mark.parametrize("words", [["--peer", "\x1b[2J"], ["--\x1b[2Jx"], ["--config", "/\x9b31m\u202e"]])
def test_a_complaint_about_the_command_line_moves_no_cursor(words: list[str]) -> None:
    """What is quoted of a wrong option, of a file name too, is shown without escapes."""
    command = [sys.executable, "-P", "-m", "preflight", "run", "host.clock", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert is_clean(done.stderr.replace("\n", ""))


@pytest.mark.parametrize("said", ATTACKS.values(), ids=ATTACKS)
def test_a_line_is_one_line_and_printable(said: str) -> None:
    """The one function that makes a line safe leaves nothing in it that is more than it shows."""
    assert is_clean(one_line(said))
    assert "\n" not in one_line(said)
    assert one_line(one_line(said)) == one_line(said)
    assert printable("kept\tas\nit is\u00a0\u202f✓ £€日本") == "kept\tas\nit is\u00a0\u202f✓ £€日本"


def _own_address(report: Report) -> Report:
    """A node that is known by a name only."""
    return report.model_copy(update={"run": report.run.model_copy(update={"overlay": None})})


def _elements(document: str) -> dict[str, int]:
    """How many elements of each name a browser finds, and attributes that would run something."""
    found: dict[str, int] = {"script": 0}

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found[tag] = found.get(tag, 0) + 1
            for name, value in attrs:
                assert not name.startswith("on")
                assert name not in ("href", "src") or str(value).startswith(("#", "data:,"))

    Reader().feed(document)
    return found


def _never(constant: str) -> float:
    raise AssertionError(constant)


def _exact(digits: str) -> int:
    assert abs(int(digits)) <= 2**53
    return int(digits)
