"""Lists of nodes that come in turn."""

from preflight.model.control import NodeList, NodeRecord
from preflight.proto.control.several import alternating


def listed(*ids: str) -> NodeList:
    return NodeList(1, tuple(NodeRecord(each, "1.0", 0, {}) for each in ids))


def test_lists_that_come_again() -> None:
    """Two control planes, and not one whose list changed, nor one where only test enrolments come and go."""
    one, other = listed("a", "b"), listed("b")
    assert alternating([one, other], [other, one]) == {frozenset({"a", "b"}), frozenset({"b"})}
    assert not alternating([one, other], [other, other])
    assert not alternating([one, listed("a", "b", "preflight-x")], [listed("a", "b", "preflight-x"), one])
    assert not alternating([], [])
