"""Remedies in a report: read back strictly, and said alike in every format."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from preflight import codes
from preflight.api import Direction, Remedies, by_hand, failed, heal, look
from preflight.engine.diagnosis import diagnose
from preflight.fixing.fix_data import as_data, read_fix
from preflight.model.fix import LinkMtu
from preflight.report import html, junit, markdown, sarif, text
from preflight.report import json as report_json
from preflight.report.build import build_report
from preflight.report.common import advice, labelled
from preflight.report.model import Gate, NodeInfo, Report
from preflight.report.pseudonyms import Pseudonyms
from preflight.report.redact import Redactor

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
MTU = LinkMtu(interface="wg0", mtu_bytes=1320)
BOTH = (*look("mtr -u 10.66.0.2"), *heal(lambda: MTU, lasting="MTU = 1320 under [Interface]"))


def reported(
    remedies: Remedies = (), remedy: str | None = None, privileges: tuple[str, ...] = ("net_admin",)
) -> Report:
    """A report of one failure with these remedies, by a user with these privileges."""
    hole = failed(codes.MTU_BLACK_HOLE, "b", Direction.FORWARD, "a hole", remedies=remedies, remedy=remedy)
    results = (replace(hole, check="mtu.path", category="mtu", started_at=NOW),)
    node = NodeInfo(hostname="node-a", os="Debian", kernel="6.1", python="3.11", privileges=privileges)
    return build_report(results, diagnose(results), node=node, overlay=None, started_at=NOW, duration_ms=1, gate=Gate())


def test_every_format_says_what_heals_and_what_only_tells_more() -> None:
    """Protects from a look at something that is taken for the cure; the cure comes first."""
    report = reported(BOTH)
    fix, more = "ip link set dev wg0 mtu 1320   # to persist: MTU = 1320 under [Interface]", "mtr -u 10.66.0.2"
    shown = text.render(report, width=120).splitlines()
    assert shown.index(f"    fix: {fix}") + 1 == shown.index(f"    next: {more}")
    assert f"Fix:\n\n```sh\n{fix}\n```\n\nNext:\n\n```sh\n{more}\n```" in markdown.render(report)
    assert f"fix: {fix}\nnext: {more}" in junit.render(report)
    assert f"fix: {fix}\\nnext: {more}" in sarif.render(report)
    page = html.render(report)
    assert page.index("<strong>Fix:</strong>") < page.index(fix) < page.index("<strong>Next:</strong>")


def test_what_makes_several_lines_last_is_said_once() -> None:
    """Protects from a screen of repetitions: it comes behind the last of the lines."""
    both = tuple(
        remedy
        for bytes in (1320, 1300)
        for remedy in heal(partial(LinkMtu, interface="wg0", mtu_bytes=bytes), lasting="in the file")
    )
    (told,) = advice(reported(both).diagnosis[0])
    assert told.lines == ("ip link set dev wg0 mtu 1320", "ip link set dev wg0 mtu 1300   # to persist: in the file")


def test_a_document_of_a_plain_user_has_sudo() -> None:
    """Who reads the ticket pastes the line on that node, as that user."""
    report = reported(BOTH, privileges=())
    for rendered in (markdown.render(report), html.render(report)):
        assert "sudo ip link set dev wg0 mtu 1320" in rendered


def test_sentences_and_commands_are_kept_apart() -> None:
    """Protects the person who copies: a sentence is not pasted into a terminal."""
    report = reported((*heal(lambda: MTU), *by_hand("Renew the certificate.", where="control host")))
    assert [(each.is_prose, each.label) for each in advice(report.diagnosis[0])] == [(False, "fix"), (True, "fix")]


def test_a_text_alone_is_never_called_a_fix() -> None:
    """Protects from the claim that something heals, by a report of version 1 or a check that does not say so."""
    assert labelled(reported(remedy="reboot").diagnosis[0]) == ["next: reboot"]


def test_a_report_survives_being_written_and_read() -> None:
    """What another node reads is the same change, and fits the published schema."""
    written = report_json.render(reported(BOTH))
    assert report_json.render(report_json.parse(written.encode())) == written
    Draft202012Validator(report_json.schema()).validate(json.loads(written))
    assert read_fix(as_data(MTU)) == MTU


@pytest.mark.parametrize(
    "change",
    [
        {"fix": {"id": "shell", "line": "reboot"}},
        {"fix": {"id": "link.mtu", "interface": "-x", "mtu_bytes": 1320}},
        {"fix": {"id": "link.mtu", "interface": "wg0", "mtu_bytes": 1320, "also": 1}},
        {"fix": {"id": "link.mtu", "interface": "wg0", "mtu_bytes": 1280}},
        {"fix": "ip link set dev wg0 mtu 1320"},
        {"fix": []},
        {"kind": "next"},
        {"lines": ["true"]},
    ],
)
def test_a_fix_that_is_not_what_it_shows_is_left_out(change: dict[str, Any]) -> None:
    """Protects from a report by a stranger that shows one line and would change something else."""
    document = json.loads(report_json.render(reported(BOTH)))
    for entry in (*document["results"], *document["diagnosis"]):
        entry["remedies"][1].update(change)
    read = report_json.parse(json.dumps(document).encode())
    assert [remedy.fix for remedy in read.diagnosis[0].remedies] == [None, None]
    assert len(advice(read.diagnosis[0])) >= 1


def test_a_redacted_report_holds_no_fix() -> None:
    """Protects another node, or another address, from a change that was meant for what the pseudonym hides."""
    report = reported(BOTH)
    assert Redactor(()).report(report).diagnosis[0].remedies[1].fix == MTU
    for redacted in (Redactor((), Pseudonyms(())).report(report), Redactor(()).report(report, homes=True)):
        assert [remedy.fix for remedy in redacted.diagnosis[0].remedies] == [None, None]
