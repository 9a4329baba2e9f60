"""The rules about this node's row: whose id is used, and whether a row may still be listed."""

from typing import Any

import pytest

from preflight.model.control import ControlError, NodeList, NodeRecord
from preflight.proto.control.own_row import OwnRow, spare_prefix

LOST = ControlError("timeout", None, "no answer")
REFUSED = ControlError("status", 403, "forbidden")


def record(node_id: str, **fields: Any) -> NodeRecord:
    return NodeRecord(node_id, "1", 5, {"id": node_id, **fields})


@pytest.mark.parametrize(
    ("given", "listed", "used", "taken"),
    [("a", "b", "a", False), ("a", "a", "spare", True), (None, "a", "spare", False)],
)
def test_a_listed_id_is_never_used(given: str | None, listed: str, used: str, taken: bool) -> None:
    """A living node's row is neither replaced nor removed; a free id of the settings is used."""
    row = OwnRow(given, "spare", None)
    row.avoid(NodeList(1, (record(listed),)))
    assert (row.identity, row.identity_taken) == (used, taken)


def test_whether_a_row_may_be_listed() -> None:
    """From the join on, until it is refused or the row is gone; a lost answer is never forgotten."""
    row = OwnRow(None, "spare", None)
    seen = [row.may_be_listed]
    for happened in (
        row.joining,
        lambda: row.join_failed(REFUSED),
        lambda: row.join_failed(LOST),
        lambda: row.join_failed(REFUSED),
        row.left,
    ):
        happened()
        seen.append(row.may_be_listed)
    assert seen == [False, True, False, True, True, False]


@pytest.mark.parametrize("kept", [{"quarantined": True}, {"maintenance": True}])
def test_a_hidden_row_that_was_there_before_is_not_removed(kept: dict[str, bool]) -> None:
    """What an administrator did to it would be undone by leaving. A random id was never there before."""
    for node_id, existed in (("a", True), (None, False)):
        row = OwnRow(node_id, "spare", None)
        row.joining()
        row.joined(record(row.identity, **kept))
        assert (row.existed_before, row.may_be_listed) == (existed, not existed)


def test_random_ids_begin_with_the_host() -> None:
    """Whatever a host is called, its ids are short and of letters, digits and dashes."""
    assert spare_prefix("Node_7.example") == "preflight-node-7-example"
    assert spare_prefix("ñ") == "preflight-node"
    assert len(spare_prefix("x" * 300)) == len("preflight-") + 40
