"""nodes.state's judge, by table."""

from typing import Any

import pytest
from preflight_checks.nodes_state import Registry, judge, judge_refusal

from preflight.api import Status
from preflight.model.control import ControlError, NodeRecord
from preflight.proto.control.url import ControlUrl

NOW_MS = 1_000_000_000.0


def node(node_id: str, version: str = "1.2", age_s: float = 5, **fields: Any) -> NodeRecord:
    return NodeRecord(node_id, version, int(NOW_MS - age_s * 1000), {"id": node_id, **fields})


def at(node_id: str, place: Any, age_s: float = 5) -> NodeRecord:
    return node(node_id, age_s=age_s, listen_addr=place)


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([], ["pass"]),
        ([node("a"), node("b", age_s=89)], ["pass"]),
        ([node("a", age_s=-300)], ["pass"]),
        ([node("a"), node("b", age_s=91)], ["nodes.stale"]),
        ([node("a", quarantined=True)], ["nodes.quarantined"]),
        ([node("a", maintenance=True)], ["nodes.draining"]),
        ([node("a", maintenance=True, maintenance_until_unix_ms=10**30)], ["nodes.draining"]),
        ([node("a"), node("b", quarantined=True, maintenance=True)], ["pass"]),
        ([node("a"), node("b", version="1.3")], ["nodes.version-skew"]),
        ([node("a"), node("b", version="1.1", age_s=500)], ["nodes.stale"]),
        ([node("a"), node("preflight-x-1", version="0.1", maintenance=True)], ["pass"]),
        ([node("a"), node("b", age_s=-90_000)], ["control.bad-answer"]),
        ([node("a", quarantined=True), node("b", age_s=200)], ["nodes.stale", "nodes.quarantined"]),
        ([at("a", "10.66.0.1:9"), at("b", "10.66.0.2:9"), at("c", "10.66.0.1:8")], ["pass"]),
        ([at("a", "10.66.0.1:9"), at("b", " 10.66.0.1:9")], ["nodes.duplicate-address"]),
        ([at("a", "[fd66::1]:9"), at("b", "[FD66::1]:9")], ["nodes.duplicate-address"]),
        ([at("a", "n1.mesh:9"), at("b", "n1.mesh:9")], ["nodes.duplicate-address"]),
        ([at("a", "10.66.0.1:9"), at("b", "10.66.0.1:9", age_s=500)], ["nodes.stale"]),
        ([at("a", "0.0.0.0:9"), at("b", "0.0.0.0:9"), at("c", "127.0.0.1:9"), at("d", "127.0.0.1:9")], ["pass"]),
        ([at("a", "[::]:9"), at("b", "[::]:9"), at("c", ""), at("d", ""), at("e", None), at("f", 7)], ["pass"]),
    ],
)
def test_judge(nodes: list[NodeRecord], expected: list[str]) -> None:
    """Stale rows of any node, quarantine and drain of this node `a`, versions of live nodes; no false alarm."""
    results = judge(Registry(tuple(nodes), NOW_MS), "a", 90_000)
    assert [result.code.slug if result.code else "pass" for result in results] == expected
    assert len({result.aspect for result in results}) == len(results)
    for result in results:
        assert result.code is None or result.remedy
        fatal = result.code is not None and result.code.slug in ("nodes.quarantined", "control.bad-answer")
        assert (result.status is Status.FAIL) == fatal


@pytest.mark.parametrize(
    ("announced", "expected"),
    [
        ("http://10.66.0.3:9847", "pass"),
        ("10.66.0.3:9847", "pass"),
        ("https://control.example/mesh", "pass"),
        ("10.66.0.3:9900", "nodes.duplicate-address"),
        ("10.66.0.4:9847", "nodes.duplicate-address"),
    ],
)
def test_the_control_url_is_no_address_of_a_worker(announced: str, expected: str) -> None:
    """Real workers announce the control URL, all of them the same; two that share another address are reported."""
    rows = tuple(at(name, announced) for name in ("b", "c", "d"))
    url = ControlUrl("http", "10.66.0.3", 9847)
    (result,) = judge(Registry(rows, NOW_MS), "a", 90_000, url=url)
    assert (result.code.slug if result.code else "pass") == expected


def test_the_row_that_preflight_joined_is_no_worker_of_another_version() -> None:
    """While it enrols under this node's own id, the row has preflight's version; a quarantine that it kept counts."""
    mine = node("a", version="0.1", quarantined=True)
    results = judge(Registry((mine, node("b")), NOW_MS), "a", 90_000, enrolling=True)
    assert [result.code.slug for result in results if result.code] == ["nodes.quarantined"]


def test_many_stale_nodes_make_one_sentence() -> None:
    """A partition of hundreds is reported by number, with a few names."""
    nodes = tuple(node(f"n{index}", age_s=1000) for index in range(300))
    message = judge(Registry(nodes, NOW_MS), None, 90_000)[0].message
    assert "300 of 300" in message
    assert "and 295 more" in message
    assert len(message) < 200


@pytest.mark.parametrize(
    ("error", "has_token", "enrolling", "expected"),
    [
        (ControlError("status", 401, "no"), True, False, ("fail", "enroll.unauthorized")),
        (ControlError("status", 401, "no"), False, False, ("inconclusive", "run.needs-credentials")),
        (ControlError("status", 401, "no"), False, True, ("skip", "run.not-applicable")),
        (ControlError("status", 403, "no"), True, False, ("fail", "enroll.forbidden")),
        (ControlError("status", 404, "no"), True, False, ("fail", "control.bad-answer")),
        (ControlError("status", 429, "no"), True, False, ("inconclusive", "run.no-answer")),
        (ControlError("status", 500, "no"), True, False, ("fail", "control.unhealthy")),
        (ControlError("status", 503, "no"), True, False, ("fail", "control.unhealthy")),
        (ControlError("timeout", None, "no"), True, False, ("fail", "control.timeout")),
        (ControlError("protocol", 200, "no"), True, False, ("fail", "control.bad-answer")),
        (ControlError("protocol", None, "no"), True, False, ("fail", "control.unhealthy")),
        (ControlError("foreign", None, "no"), True, False, ("fail", "control.not-populi")),
        (ControlError("redirected", None, "no"), True, False, ("fail", "control.redirected")),
    ],
)
def test_a_list_that_cannot_be_read(
    error: ControlError, has_token: bool, enrolling: bool, expected: tuple[str, str]
) -> None:
    """It is a finding or undecided; only a node that enrols in this run may have no token."""
    result = judge_refusal(error, None, has_token=has_token, enrolling=enrolling)
    assert (result.status.value, result.code and result.code.slug) == expected


def test_any_number_of_nodes_with_any_name() -> None:
    """A hundred thousand stale rows take little time, and no name breaks a line or fills a message."""
    odd = "\x1b[31m\n\u202e" + "x" * 100_000
    rows = tuple(NodeRecord(f"{odd}{n}", odd, 0, {"listen_addr": odd}) for n in range(3))
    many = tuple(node(f"n{n}", age_s=500) for n in range(100_000))
    results = judge(Registry((*rows, *many), NOW_MS), None, 90_000)
    assert [result.code.slug for result in results if result.code] == ["nodes.stale"]
    assert results[0].message.isprintable()
    assert len(results[0].message) < 1000


@pytest.mark.parametrize(
    "until",
    [True, -(10**400), 10**400, 2**64 - 1, "x", None, 0, 1e400],
    ids=["true", "negative", "400 digits", "2^64-1", "text", "null", "zero", "infinite"],
)
def test_an_absurd_end_of_a_drain(until: Any) -> None:
    """Whatever the text is, the drain is reported and nothing breaks."""
    (result,) = judge(Registry((node("a", maintenance=True, maintenance_until_unix_ms=until),), NOW_MS), "a", 90_000)
    assert result.code is not None
    assert result.code.slug == "nodes.draining"


def test_nodes_of_another_scope_or_of_none_are_named() -> None:
    """Protects the boundary between clusters: the odd nodes by name, and ids to the letter, blanks included."""
    nodes = [node("a", scope_id="ours"), node("b", scope_id="ours"), node("c", scope_id="ours "), node("d")]
    (result,) = judge(Registry(tuple(nodes), NOW_MS), "a", 90_000)
    assert result.code is not None
    assert (result.code.slug, result.status) == ("nodes.scope-mixed", Status.WARN)
    assert result.measurements["node_id"] == ["c", "d"]
    assert "d has none" in result.message
    stale = [node("a", scope_id="ours"), node("b", scope_id="theirs", age_s=500), node("preflight-x", scope_id="x")]
    assert [found.code.slug for found in judge(Registry(tuple(stale), NOW_MS), "a", 90_000) if found.code] == [
        "nodes.stale"
    ]
    assert judge(Registry((node("a"), node("b")), NOW_MS), "a", 90_000)[0].status is Status.PASS


def test_the_nodes_of_an_older_version_are_named() -> None:
    """0.10 is newer than 0.9, also where most nodes still run the older one."""
    nodes = [node("a", "0.9"), node("b", "0.9"), node("c", "0.10")]
    (result,) = judge(Registry(tuple(nodes), NOW_MS), "a", 90_000)
    assert result.measurements["node_id"] == ["a", "b"]
    assert "older than the newest: a, b" in result.message


def test_a_token_that_no_worker_sends_is_a_failure_and_no_lack_of_credentials() -> None:
    """Protects from a green report on a node whose worker is refused: the variable is named, and the line heals."""
    error = ControlError("status", 401, "was answered 401: unauthorized")
    result = judge_refusal(error, None, has_token=False, enrolling=False, only_for_workers="VOX_MESH_WORKER_TOKEN")
    assert result.code is not None
    assert (result.code.slug, result.status) == ("enroll.unauthorized", Status.FAIL)
    assert result.measurements["variable"] == "VOX_MESH_WORKER_TOKEN"
    assert result.remedies[0].fix is not None
