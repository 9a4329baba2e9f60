"""The rows: each is a set-up and faults that can exist, and it expects what its faults say is true."""

import pytest

from preflight.lab.axes.rules import broken_rule
from preflight.lab.axes.setup import Setup
from preflight.lab.scenarios import SCENARIOS, Expected, Scenario
from preflight.lab.truth import Truth

OWN_PARTS = {
    "healthy-silent",
    "healthy-mesh",
    "mesh-silent",
    "black-hole-lossy",
    "black-hole-tcp-forward",
    "black-hole-tcp-reverse",
    "black-hole-enroll",
    "throttled",
    "restart",
}
"""Rows with something that no axis and no fault makes: repetition, load, and what only a part of a run sees."""


def truths(row: Scenario) -> list[Truth]:
    return [] if row.draw is None else list(row.draw.truths())


def fits(truth: Truth, expected: Expected) -> bool:
    """Whether a row's expectation says no more than the truth, and nothing else."""
    known = expected.code in (truth.code, *truth.vague)
    return known and (expected.direction in (None, truth.direction) or truth.direction is None)


@pytest.mark.parametrize("row", SCENARIOS.values(), ids=lambda row: row.name)
def test_a_row_can_exist(row: Scenario) -> None:
    """Protects a row from a set-up that nobody can build, and from a fault that has no effect on it."""
    assert row.draw is not None
    setup = row.draw.setup
    assert Setup.of(setup.changed()) == setup
    assert broken_rule(setup) is None
    assert [fault.excluded(setup) for fault in row.draw.made()] == [None] * len(row.draw.faults)


@pytest.mark.parametrize("row", [row for row in SCENARIOS.values() if truths(row)], ids=lambda row: row.name)
def test_a_row_expects_what_its_faults_say(row: Scenario) -> None:
    """Protects rows and faults from saying two things about one failure."""
    for truth in truths(row):
        assert any(fits(truth, each) for each in (*row.expected, *row.also)), (truth, row.expected, row.also)
    for expected in row.also:
        assert any(fits(truth, expected) for truth in truths(row)), expected


def test_few_rows_have_parts_of_their_own() -> None:
    """Protects the axes: a failure that only a row makes is met on one set-up, and by no draw."""
    own = {name for name, row in SCENARIOS.items() if row.draw and len(row.faults) > len(row.draw.parts())}
    assert own == OWN_PARTS


def test_rows_are_judged_by_what_they_expect() -> None:
    """Protects the matrix: a row keeps its expectation, also where its faults could say more."""
    assert not [name for name, row in SCENARIOS.items() if row.by_truth]
    assert {name for name, row in SCENARIOS.items() if not row.is_broken} == {
        name for name, row in SCENARIOS.items() if name.startswith("healthy") and not row.expected
    } | {"throttled", "restart"}
