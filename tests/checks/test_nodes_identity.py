"""nodes.identity: whose row it is that has this node's id, and whose scope the others have."""

from typing import Any

import pytest
from preflight_checks.nodes_identity import Seen, judge

from preflight.api import Status
from preflight.model.control import NodeRecord
from preflight.proto.control.same_id import OwnRow, other_scope, own_row
from preflight.proto.control.url import ControlUrl

NOW_MS, STALE_MS = 1_000_000_000.0, 90_000.0
URL = ControlUrl("http", "10.66.0.3", 9847)


def node(node_id: str, age_s: float = 5, **fields: Any) -> NodeRecord:
    return NodeRecord(node_id, "1.2", int(NOW_MS - age_s * 1000), {"id": node_id, **fields})


def row(place: str | None = "10.66.0.7") -> OwnRow:
    return OwnRow(node("a"), 5.0, place)


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        ([], None),
        ([node("b")], None),
        ([node("a")], (5.0, None)),
        ([node("a", age_s=91)], None),
        ([node("a", listen_addr="10.66.0.7:9900")], (5.0, "10.66.0.7")),
        ([node("a", listen_addr="[fd66::7]:9900")], (5.0, "fd66::7")),
        ([node("a", listen_addr="10.66.0.3:9847")], (5.0, None)),
        ([node("a", listen_addr="http://10.66.0.3:9847")], (5.0, None)),
        ([node("a", capabilities={"labels": ["preflight-run=00ff"]})], None),
    ],
)
def test_the_living_row_of_this_nodes_id(listed: list[NodeRecord], found: tuple[float, str | None] | None) -> None:
    """Not a stale one, and not the one that this run has just made; the control plane's own URL is not its address."""
    seen = own_row(listed, NOW_MS, STALE_MS, "a", URL)
    assert ((seen.age_s, seen.address) if seen else None) == found
    assert own_row(listed, NOW_MS, STALE_MS, None, URL) is None


@pytest.mark.parametrize(
    ("listed", "own", "found"),
    [
        ([node("b", scope_id="x"), node("c", scope_id="x")], "y", ("x", 2)),
        ([node("b", scope_id="x"), node("c", scope_id="x")], "x", None),
        ([node("b", scope_id="x"), node("c", scope_id="x")], None, None),
        ([node("b", scope_id="x"), node("c", scope_id="y")], "z", None),
        ([node("b", scope_id="x", age_s=500)], "y", None),
        ([node("a", scope_id="x")], "y", None),
        ([node("b")], "y", None),
        ([], "y", None),
    ],
)
def test_the_scope_of_all_the_others(listed: list[NodeRecord], own: str | None, found: tuple[str, int] | None) -> None:
    """Where they agree, and this node is not among them and says another one."""
    assert other_scope(listed, NOW_MS, STALE_MS, "a", own) == found


@pytest.mark.parametrize(
    ("seen", "code", "words"),
    [
        (Seen(), None, "nobody has its id"),
        (Seen(row()), None, "nothing shows that another machine sent it"),
        (Seen(row(), elsewhere=True), "nodes.id-taken", "announcing 10.66.0.7, which is the address of another member"),
        (Seen(row(None), unheld=True), "nodes.id-taken", "no worker (vox) runs on this machine"),
        (Seen(scope=("x", 2)), "nodes.scope-mixed", "'x'"),
        (Seen(row(), elsewhere=True, scope=("x", 2)), "nodes.id-taken", "replaces that row"),
    ],
)
def test_judge(seen: Seen, code: str | None, words: str) -> None:
    """A worker of this node keeps its own row alive, which is right; another machine's is."""
    result = judge(seen, "y")
    assert (result.code.slug if result.code else None) == code
    assert words in result.message
    assert result.status is (Status.PASS if code is None else Status.WARN)
    assert code is None or result.remedy
