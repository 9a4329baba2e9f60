"""The cells of gentle lines: all that were promised, and what counts as a false finding."""

from typing import Any

import pytest

from benchmarks.gentle import (
    CLEAN,
    CLEAN_RUNS,
    LOSSY,
    TARGETS,
    TOO_SLOW,
    Cell,
    Line,
    found_row,
    honest_row,
    silent_row,
    smallest_losses,
    together,
    wrong,
)
from benchmarks.labs import LabRun


def run(*results: dict[str, Any], causes: tuple[str, ...] = ()) -> LabRun:
    """A run with these results and causes."""
    return LabRun(1.0, 1.0, {"diagnosis": [{"code": code} for code in causes], "results": list(results)})


def test_the_cells_are_those_of_the_targets() -> None:
    """Every rate with every queue, number of peers and traffic, at least two hundred runs of them."""
    assert len(CLEAN) * CLEAN_RUNS >= 200
    assert {cell.line.down_kbit for cell in CLEAN} == {200, 1000, 2000, 5000, 10_000}
    assert {(cell.peers, cell.traffic) for cell in CLEAN} == {(n, t) for n in (1, 9, 50) for t in (False, True)}
    assert {(cell.line.down_kbit, cell.peers) for cell in TARGETS} == {(200, 1), (1000, 9), (2000, 50)}
    assert all(cell.loss_percent == 2 and cell.line.down_kbit >= 1000 and cell.peers <= 9 for cell in LOSSY)


@pytest.mark.parametrize(
    ("results", "causes", "false"),
    [
        (({"code": None, "status": "pass"}, {"code": "run.not-applicable", "status": "skip"}), (), ()),
        (({"code": "udp.loss", "status": "fail"},), ("udp.loss",), ("udp.loss",)),
        (({"code": "run.timeout", "status": "inconclusive"},), (), ("run.timeout",)),
    ],
)
def test_what_is_said_of_a_clean_line_is_false(
    results: tuple[dict[str, Any], ...], causes: tuple[str, ...], false: tuple[str, ...]
) -> None:
    """Causes, and what could not be measured: a check that gave up has measured nothing."""
    assert wrong(run(*results, causes=causes)) == false


def test_a_cell_says_what_it_is() -> None:
    """The row of a table has to be understood without the code."""
    cell = Cell(Line(10_000, 100, 40), 9, traffic=True)
    assert str(cell) == "100 up, 10000 down kbit/s, queue 40 ms, 9 peers, other traffic"
    assert str(Cell(Line(1000, 1000, 200), 1, loss_percent=2)) == "1000 kbit/s, queue 200 ms, 1 peer, 2 % loss"


def test_the_smallest_loss_is_read_from_what_was_measured() -> None:
    """Below it a run says nothing."""
    facts = [{"check": "udp.quality", "measurements": {"smallest_loss_percent": 1.5}}]
    assert smallest_losses(run(*facts, {"check": "reach.udp", "measurements": {}})) == [1.5]


def test_runs_that_measured_no_loss_have_their_row() -> None:
    """Where every session ran out of time the row says so; it took the whole area with it."""
    gave_up = run({"check": "udp.quality", "code": "run.timeout", "status": "inconclusive", "measurements": {}})
    row = silent_row(Cell(Line(10_000, 100, 1000), 50), [gave_up])
    assert (row.ours, row.met) == (1, False)
    assert "no loss was measured" in row.note


def test_a_real_loss_is_found_or_said_to_be_too_small() -> None:
    """Fast enough lines have to show it; on slower ones silence is honest if the report names a larger loss."""
    facts = {"check": "udp.quality", "code": None, "status": "pass"}
    blind = run({**facts, "measurements": {"smallest_loss_percent": 7.5}})
    sure = run({**facts, "measurements": {"smallest_loss_percent": 0.8}})
    finder = run(causes=("udp.loss",))
    assert found_row(LOSSY[0], [finder, blind]).ours == 1
    assert honest_row(TOO_SLOW[0], [finder, blind, sure]).ours == 2
    assert not honest_row(TOO_SLOW[0], [finder, blind, sure]).met


def test_all_clean_lines_together_are_one_row() -> None:
    """Two hundred runs end in one number, and a line that was not measured counts."""
    calm = run({"check": "udp.quality", "code": None, "status": "pass", "measurements": {}})
    good = silent_row(CLEAN[0], [calm])
    bad = silent_row(CLEAN[1], [run(causes=("udp.loss",))])
    assert together([good, good]).met
    assert (together([good, bad]).ours, together([good, bad]).met) == (1, False)
