"""Whose row is it? By table, without a control plane."""

from typing import Any

import pytest

from preflight.model.control import NodeRecord
from preflight.model.enrolment import Fate, JoinedRow, LeftBehind
from preflight.proto.control.left_behind import MARK, SLACK_MS, Verdict, sentence, whose

HEARD_MS = 1_000_000
OWN_MARK = f"{MARK}1"


def row(*, made_up: bool = False, **more: str) -> JoinedRow:
    return JoinedRow("http://10.66.0.3:9847", "node-a", made_up, OWN_MARK, "enroll.cycle", 1_700_000_000_000, **more)


def listed(*labels: object, seen_ms: int = HEARD_MS, **fields: Any) -> NodeRecord:
    return NodeRecord("node-a", "9", seen_ms, {"id": "node-a", "capabilities": {"labels": list(labels)}, **fields})


@pytest.mark.parametrize(
    ("node", "verdict"),
    [
        (listed(OWN_MARK), "ours"),
        (listed("pool=infer", OWN_MARK, seen_ms=HEARD_MS + SLACK_MS), "ours"),
        (listed(OWN_MARK, seen_ms=HEARD_MS + SLACK_MS + 1), "theirs"),
        (listed("pool=infer"), "theirs"),
        (listed(f"{MARK}2"), "theirs"),
        (listed(OWN_MARK, quarantined=True), "theirs"),
        (listed(OWN_MARK, maintenance=True), "theirs"),
        (NodeRecord("node-a", "9", 0, {}), "theirs"),
        (NodeRecord("node-a", "9", 0, {"capabilities": [OWN_MARK]}), "theirs"),
        (NodeRecord("node-a", "9", 0, {"capabilities": {"labels": OWN_MARK}}), "theirs"),
        (listed({}, [], None, 7), "theirs"),
        (NodeRecord("node-b", "9", 0, {"capabilities": {"labels": [OWN_MARK]}}), "gone"),
    ],
)
def test_a_row_under_the_real_id(node: NodeRecord, verdict: Verdict) -> None:
    """It is the run's only with the run's label, in service, and not seen since."""
    assert whose(row(), HEARD_MS, [node]) == verdict


@pytest.mark.parametrize("nodes", [[], [listed()], [listed(seen_ms=1 << 60)]], ids=["hidden", "listed", "fresh"])
def test_a_row_under_a_random_id(nodes: list[NodeRecord]) -> None:
    """Nobody else has such an id, so it is the run's also where the list hides it."""
    assert whose(row(made_up=True), HEARD_MS, nodes) == "ours"


@pytest.mark.parametrize("fate", ["found", "removed", "gone", "not-ours", "stays"])
def test_sentences_tell_which_row_and_whose(fate: Fate) -> None:
    """Every fate is reported with the row, and with what joined it when; a reason where there is one."""
    said = sentence(LeftBehind(fate, row(), "no answer"))
    assert "the row node-a" in said
    assert "the enroll.cycle of 2023-11-14T22:13:20Z" in said
    assert ("no answer" in said) == (fate == "stays")


def test_the_line_to_paste_has_the_settings_of_the_run() -> None:
    """The file with its token, and the credential that it bought, each quoted for a shell."""
    assert row().clean_line == "preflight clean --control-url http://10.66.0.3:9847"
    assert row(config="/etc/my file", credentials="/tmp/c").clean_line == (
        "(set -a; . /tmp/c; preflight clean --config '/etc/my file' --control-url http://10.66.0.3:9847)"
    )
