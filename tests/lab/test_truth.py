"""What counts as right, vague and wrong for a fault on a set-up."""

from dataclasses import replace
from typing import Any

import pytest

from preflight.lab.axes.setup import Setup
from preflight.lab.stations.catalogue import FAULTS
from preflight.lab.truth import Deciding, Place, Truth, judge

TRUE = Truth(
    "host.firewall-drop",
    "b",
    "forward",
    place=Place("packet", "filter-out", "sender"),
    deciding=Deciding("rule_handle", 7),
    vague=("reach.unreachable",),
)
RESULT = {
    "id": "x",
    "status": "fail",
    "code": "host.firewall-drop",
    "measurements": {"rule_handle": 7},
}
CAUSE = {
    "code": "host.firewall-drop",
    "target": "b",
    "direction": "forward",
    "place": {"way": "w1", "station": "filter-out"},
    "message": "rule 7 drops it",
    "explains": ["x"],
}
WAY = {"id": "w1", "kind": "packet", "stations": [{"id": "filter-out", "host": "sender a"}]}


def report(*, exit_code: int = 1, results: tuple[dict[str, Any], ...] = (RESULT,), **cause: Any) -> dict[str, Any]:
    """A report of which everything is right, except what is named."""
    return {
        "run": {"exit_code": exit_code},
        "ways": [WAY],
        "diagnosis": [{**CAUSE, **cause}],
        "results": list(results),
    }


def test_everything_said() -> None:
    """Protects the goal itself: code, target, direction, place and the deciding fact are all there."""
    assert judge([TRUE], report()).right


@pytest.mark.parametrize(
    ("changed", "grade", "lacks"),
    [
        ({"place": None}, "vague", "place packet:filter-out@sender"),
        ({"place": {"way": "w1", "station": "egress"}}, "vague", "place packet:filter-out@sender"),
        ({"message": "a rule drops it"}, "vague", "rule_handle in the sentence"),
        ({"results": ({**RESULT, "measurements": {}},)}, "vague", "rule_handle 7"),
        ({"direction": "round-trip"}, "vague", "direction forward"),
        ({"direction": "reverse"}, "wrong", "direction forward"),
        ({"target": "c"}, "wrong", "target b"),
        ({"code": "reach.unreachable"}, "vague", "code host.firewall-drop"),
        ({"code": "udp.loss"}, "wrong", "code host.firewall-drop"),
        ({"exit_code": 0}, "wrong", "exit code 1, not 0"),
    ],
)
def test_what_is_missing(changed: dict[str, Any], grade: str, lacks: str) -> None:
    """Protects readers of the score: true and short is not wrong, false is, and either says why."""
    found = judge([TRUE], report(**changed))
    assert found.grade == grade
    assert lacks in found.lacks


def test_the_other_end_is_another_place() -> None:
    """Protects against a place at the wrong host: a way has the same stations at its two ends."""
    truth = replace(TRUE, place=Place("packet", "filter-out", "receiver"))
    assert judge([truth], report()).lacks == ("place packet:filter-out@receiver",)


def test_a_second_cause_is_a_false_alarm() -> None:
    """Protects the rule that one fault has one cause."""
    said = report()
    said["diagnosis"].append({**CAUSE, "code": "udp.loss", "explains": []})
    assert judge([TRUE], said).alarms == ("udp.loss",)


def test_a_bad_result_that_nothing_explains_is_a_false_alarm() -> None:
    """Protects against an accusation in the list below a right diagnosis."""
    stray = {"id": "y", "status": "warn", "code": "host.clock-unsynced", "measurements": {}}
    assert judge([TRUE], report(results=(RESULT, stray))).grade == "wrong"


def test_a_healthy_set_up_is_silent() -> None:
    """Protects healthy nodes: only what the set-up itself lacks may be said."""
    asked = {"id": "z", "status": "inconclusive", "code": "run.needs-responder", "measurements": {}}
    said = report(exit_code=3, results=(asked,), code="run.needs-responder", explains=["z"])
    assert judge([], said, silent=frozenset({"run.needs-responder"})).right
    assert not judge([], said).right


def test_a_green_report_on_a_broken_node_is_wrong() -> None:
    """Protects against the worst answer."""
    green = {"run": {"exit_code": 0}, "ways": [], "diagnosis": [], "results": []}
    found = judge([TRUE], green)
    assert (found.grade, found.got) == ("wrong", "nothing")
    assert "no cause host.firewall-drop" in found.lacks


@pytest.mark.parametrize(
    ("responder", "counts"), [("key", False), ("observing", True), ("absent", False)], ids=lambda each: str(each)
)
def test_what_nobody_can_know_is_not_counted_as_healable(responder: str, counts: bool) -> None:
    """Protects honest reports: they have no fix for a rule at the peer, unless the peer's responder observes it."""
    assert FAULTS["input-drop"].expected(Setup(responder=responder)).healable is counts


@pytest.mark.parametrize(
    ("name", "setup", "placed"),
    [
        ("network-large-forward", Setup(), True),
        ("network-large-forward", Setup(namespace="container"), False),
        ("network-large-both", Setup(responder="observing"), True),
        ("network-large-both", Setup(responder="observing", namespace="container"), False),
        ("route-outer-private", Setup(), False),
        ("route-outer-hairpin", Setup(), True),
    ],
    ids=str,
)
def test_a_place_is_asked_for_where_it_can_be_proven(name: str, setup: Setup, placed: bool) -> None:
    """Protects honest reports: a container does not see its uplink, and what leaves by it did not die before it."""
    assert (FAULTS[name].expected(setup).place is not None) is placed


@pytest.mark.parametrize(
    ("truth", "counts"),
    [
        (Truth("reach.unreachable", "b", heals="command"), False),
        (Truth("reach.unreachable", "b", deciding=Deciding("offender", "10.0.0.2"), heals="command"), True),
        (Truth("overlay.no-handshake", "b", place=Place("packet", "session"), heals="command"), True),
        (Truth("mtu.black-hole", "b", heals="command"), True),
        (Truth("token.spent", "control"), False),
    ],
)
def test_what_is_known_decides_what_is_healable(truth: Truth, counts: bool) -> None:
    """Protects the rate of what heals: a code that says why needs no place, and what nothing heals never counts."""
    assert truth.healable is counts


def test_two_that_are_equally_deep_come_in_any_order() -> None:
    """Protects two directions of one way: neither has to be repaired first, and both must be named."""
    other = replace(TRUE, direction="reverse", place=None, deciding=None)
    said = report()
    said["diagnosis"].insert(0, {**CAUSE, "direction": "reverse", "place": None, "explains": []})
    assert judge([TRUE, other], said, any_order=True).right
    assert judge([TRUE, other], said).grade == "wrong"
    del said["diagnosis"][0]
    assert judge([TRUE, other], said, any_order=True).grade == "wrong"
