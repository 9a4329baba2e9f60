"""The exit codes and the words of `preflight fleet`, without a node."""

import pytest
from click.testing import CliRunner

from preflight.cli.fleet import EXIT_HOLES, exit_code, fleet
from preflight.report.matrix import Hole, Matrix, View, Way

HOLE = Hole(node="c", code="fleet.auth", message="denied")


def matrix(status: str, *holes: Hole) -> Matrix:
    view = View.model_validate(
        {"by": "a", "direction": "forward", "status": status, "code": None, "message": "", "result": "1"}
    )
    way = Way(source="a", target="b", status=view.status, contradiction=False, views=(view,))
    return Matrix(nodes=(), silent=(), ways=(way,), holes=holes)


@pytest.mark.parametrize(
    ("found", "missed", "code", "strict"),
    [
        (matrix("pass"), False, 0, 0),
        (matrix("warn"), False, 0, 0),
        (matrix("pass", HOLE), False, EXIT_HOLES, 1),
        (matrix("inconclusive"), False, EXIT_HOLES, 1),
        (matrix("pass"), True, EXIT_HOLES, 1),
        (matrix("fail", HOLE), False, 1, 1),
    ],
)
def test_faults_are_1_and_holes_are_3(found: Matrix, missed: bool, code: int, strict: int) -> None:
    """Protects scripts, and `--require-all`, which makes holes faults."""
    assert exit_code(found, require_all=False, missed=missed) == code
    assert exit_code(found, require_all=True, missed=missed) == strict


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["plan", "-i", "a,b", "--pairs", "some"], "--pairs: 'some' is not all, sample:K or from:NODE"),
        (["plan", "-i", "a,b", "--pairs", "from:c"], "the inventory has no host 'c'"),
        (["plan", "-i", "a,"], "a fleet has at least two hosts"),
        (["lint"], "give reports, or --inventory"),
        (["run"], "Missing option '--inventory'"),
    ],
)
def test_what_cannot_be_run_is_said_before_anything_runs(words: list[str], said: str) -> None:
    """Protects from a run that measures something else than was meant."""
    done = CliRunner().invoke(fleet, words)
    assert done.exit_code == 2
    assert said in " ".join(done.output.split())


def test_a_plan_runs_nothing() -> None:
    """Protects live networks: the hosts of this inventory do not exist."""
    done = CliRunner().invoke(fleet, ["plan", "-i", "a,b,c"])
    assert (done.exit_code, done.output.splitlines()[0]) == (0, "3 nodes, 0 sites, 3 pairs in 3 rounds")
