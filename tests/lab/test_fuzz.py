"""`preflight lab fuzz`: what is shrunk and how, the score, and a killed run. test_forty_draws.py has real draws."""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from preflight.lab import faultboard
from preflight.lab.axes.setup import Setup
from preflight.lab.draws import Draw, draws
from preflight.lab.fuzz import Drawn, Shrunk, shrink, worth_shrinking
from preflight.lab.heal import Healing
from preflight.lab.scenario_file import parse_scenario, scenario_of
from preflight.lab.score import Outcome
from preflight.lab.truth import Judgement

WRONG = Judgement("wrong", got="udp.loss b forward", alarms=("udp.loss",))
RIGHT = Judgement("right")


def outcome(found: Judgement | None, number: int = 1, ran_ms: float = 2000.0) -> Outcome:
    """A run that was judged so; None: the lab could not be built."""
    return Outcome(
        "x", number, None, None, found == RIGHT, found.alarms if found else (), judgement=found, ran_ms=ran_ms
    )


def wrong_with(axis: str, value: str) -> Shrunk:
    """Shrink a draw that is wrong only if an axis has a value."""
    start = Draw(Setup(delay="near", filter="strict", transport="tls", outer="ipv6"), ("filter-out-drop",))

    def trial(candidate: Draw) -> Outcome:
        return outcome(WRONG if candidate.setup[axis] == value else RIGHT)

    shrunk = shrink(Drawn(start, outcome(WRONG)), trial)
    assert shrunk is not None
    return shrunk


@pytest.mark.parametrize(("axis", "value"), [("delay", "near"), ("filter", "strict"), ("transport", "tls")])
def test_only_what_is_needed_is_left(axis: str, value: str) -> None:
    """Protects the reader of a wrong draw from axes that have nothing to do with it."""
    shrunk = wrong_with(axis, value)
    assert shrunk.smallest.setup.changed() == {axis: value}
    assert shrunk.smallest.faults == ("filter-out-drop",)


def test_the_shrunk_draw_is_a_scenario_file() -> None:
    """Protects replays: what is printed is what was left."""
    shrunk = wrong_with("filter", "strict")
    assert parse_scenario("shrunk", shrunk.file()).draw == shrunk.smallest


def test_another_mistake_is_not_followed() -> None:
    """Protects against shrinking into a second defect: the symptom stays the same."""
    start = Draw(Setup(filter="strict"), ("filter-out-drop",))
    other = Judgement("wrong", got="reach.unreachable b forward")
    shrunk = shrink(Drawn(start, outcome(WRONG)), lambda _: outcome(other))
    assert shrunk is not None
    assert shrunk.smallest == start


def test_a_stop_ends_it() -> None:
    """Protects Ctrl-C: a trial that was stopped says nothing."""
    start = Draw(Setup(filter="strict"), ("filter-out-drop",))
    assert shrink(Drawn(start, outcome(WRONG)), lambda _: None) is None


def test_one_draw_of_each_symptom_is_shrunk() -> None:
    """Protects the laboratory's time: the same mistake twice is shrunk once, a vague draw never."""
    drop, hole = Draw(Setup(), ("filter-out-drop",)), Draw(Setup(), ("network-large-forward",))
    everything = [
        Drawn(drop, outcome(WRONG)),
        Drawn(drop, outcome(WRONG, 2)),
        Drawn(hole, outcome(WRONG, 3)),
        Drawn(drop, outcome(Judgement("vague"), 4)),
        Drawn(drop, outcome(None, 5)),
    ]
    assert [each.outcome.repeat for each in worth_shrinking(everything, 9)] == [1, 3]
    assert worth_shrinking(everything, 0) == []


def test_the_score_counts_by_fault_and_by_axis() -> None:
    """Protects the numbers of the bench: two faults count for both, and an unbuilt lab blames nobody."""
    both = Draw(Setup(delay="far"), ("filter-out-drop", "input-drop"))
    everything = [Drawn(both, outcome(WRONG)), Drawn(Draw(Setup()), outcome(RIGHT, 2)), Drawn(both, outcome(None, 3))]
    rows = {row.name: row for row in faultboard.by_fault(everything)}
    assert (rows["filter-out-drop"].drawn, rows["input-drop"].wrong, rows["input-drop"].unbuilt) == (2, 1, 1)
    assert (rows["healthy"].right, rows["healthy"].seconds) == (1, 2.0)
    assert {row.name: row.drawn for row in faultboard.by_axis(everything)}["delay far"] == 2
    said = faultboard.document(7, everything, [])
    assert (said["total"]["wrong"], said["seed"]) == (1, 7)
    assert "seed 7: 1 right, 0 vague, 1 wrong, 1 unbuilt" in faultboard.text(7, everything, [])


def test_the_rate_of_what_heals_is_of_what_can_be_known() -> None:
    """Protects a rate that is at most 1: what heals although nobody could know it raises neither of its numbers."""
    seen, unseen = Draw(Setup(responder="observing"), ("input-drop",)), Draw(Setup(), ("input-drop",))
    healed = replace(outcome(RIGHT), healing=Healing("healed"))
    total = faultboard.tally("all", [Drawn(seen, healed), Drawn(unseen, healed), Drawn(seen, outcome(RIGHT))])
    assert (total.healable, total.healed, total.harmful) == (1, 1, 0)


def labs_of(seed: int) -> list[str]:
    """The namespaces of the first draws of a seed that exist now."""
    drawn = {f"preflight-{scenario_of(each).name}-" for each in draws(seed, 12)}
    return [path.name for path in Path("/run/netns").glob("preflight-*") if path.name.startswith(tuple(drawn))]


def wait_until(condition: Callable[[], bool]) -> None:
    """Look again and again; the test's own time limit ends it."""
    while not condition():
        time.sleep(0.05)


@pytest.mark.lab
@pytest.mark.timeout(120)
def test_a_killed_run_leaves_nothing(tmp_path: Path) -> None:
    """Protects the machine of a user whose terminal or CI job ends by SIGKILL: no namespace and no process is left."""
    words = [
        "lab",
        "fuzz",
        "--seed",
        "11",
        "--count",
        "50",
        "--jobs",
        "2",
        "--output",
        f"json={tmp_path / 'score.json'}",
    ]
    command = subprocess.Popen([sys.executable, "-m", "preflight", *words], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: labs_of(11) != [])
    finally:
        command.kill()
        command.wait()
    wait_until(lambda: labs_of(11) == [])
