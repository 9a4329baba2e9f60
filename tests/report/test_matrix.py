"""The matrix as data."""

import pytest

from preflight.report.matrix import Finding, Hole, Matrix, Node, OwnCause, Scope, View, Way, worst


def test_the_worst_status_counts() -> None:
    """An undecided result is worse than a good one, and a broken check is better than a failure."""
    assert worst(["pass", "inconclusive", "skip"]) == "inconclusive"
    assert worst(["error", "fail", "warn"]) == "fail"


def test_of_equal_views_the_one_about_this_direction_decides() -> None:
    """A round trip says less than a direction."""
    both = View(by="b", direction="round-trip", status="fail", code="reach.unreachable", message="", result="1")
    there = View(by="a", direction="forward", status="fail", code="reach.no-forward", message="", result="2")
    assert Way(source="a", target="b", status="fail", contradiction=False, views=(both, there)).decisive == there


@pytest.mark.parametrize(
    ("scope", "nodes", "subject"),
    [
        ("node", ("c",), "everything to and from c"),
        ("to", ("c",), "everything to c"),
        ("from", ("c",), "everything from c"),
        ("pair", ("a", "b"), "a ↔ b"),
        ("way", ("a", "b"), "a → b"),
        ("control", ("a", "b"), "the control plane"),
    ],
)
def test_a_finding_says_what_it_is_about(scope: Scope, nodes: tuple[str, ...], subject: str) -> None:
    """The first words of a finding."""
    found = Finding(scope=scope, nodes=nodes, status="fail", code=None, message="", by="a", seen_by=(), ways=())
    assert found.subject == subject


def test_a_node_with_a_failure_of_its_own_fails_the_matrix() -> None:
    """A node whose tunnel is down and that has no peers must not look good."""
    cause = OwnCause(code="overlay.down", status="fail", target="node", message="down")
    node = Node(name="a", hostname="a", addresses=(), reports=1, latest="", causes=(cause,))
    assert Matrix(nodes=(node,), silent=(), ways=()).failed
    assert not Matrix(nodes=(node.model_copy(update={"causes": ()}),), silent=("b",), ways=()).failed


def test_a_hole_is_neither_good_nor_bad() -> None:
    """A node that gave no report must not look good, and what the others saw of it stays."""
    view = View(by="a", direction="forward", status="pass", code=None, message="", result="1")
    seen = Way(source="a", target="c", status="pass", contradiction=False, views=(view,))
    nodes = tuple(Node(name=name, hostname=name, addresses=(), reports=1, latest="") for name in "ab")
    hole = Hole(node="c", code="fleet.unreachable", message="Connection refused")
    matrix = Matrix(nodes=nodes, silent=(), ways=(seen,), holes=(hole,))
    assert matrix.names == ("a", "b", "c")
    assert (matrix.failed, matrix.undecided) == (False, True)
    unknown = [f"{a}{b}" for a in matrix.names for b in matrix.names if matrix.unknown(a, b)]
    assert unknown == ["bc", "ca", "cb"]
