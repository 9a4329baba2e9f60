"""Conformance: join, heartbeat, leave, nodes, quarantine and maintenance."""

import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.control.conftest import StartServer, Target

DAY_MS = 24 * 3600 * 1000


def test_a_join_answers_with_the_record_and_lists_it(target: "Target") -> None:
    """The answer is the record as the list has it, with the server's time in it."""
    before = time.time() * 1000
    record = target.join(
        listen_addr="10.66.0.1:9847", workload_classes=["infer"], gpu_total_count=2, last_seen_unix_ms=1
    )
    assert abs(record["last_seen_unix_ms"] - before) < 3600_000
    assert record["workload_classes"] == ["infer"]
    assert record["gpu_total_count"] == 2
    assert target.listed(record["id"]) == record


def test_the_list_has_a_schema_version_and_the_queue(target: "Target") -> None:
    """`schema_version` is an integer; `queue_depth`, if given, counts."""
    listing = target.ask("GET", "/nodes").json()
    assert isinstance(listing["schema_version"], int)
    assert isinstance(listing.get("queue_depth", 0), int)


def test_a_second_join_replaces_the_row(target: "Target") -> None:
    """Same id, one row; what is not sent again is gone."""
    first = target.join(provider="here", version="1")
    second = target.join(id=first["id"], version="2")
    assert second["version"] == "2"
    assert "provider" not in second
    listing = target.ask("GET", "/nodes").json()["nodes"]
    assert [node["id"] for node in listing].count(first["id"]) == 1


def test_names_are_trimmed(target: "Target") -> None:
    """Blanks around an id make no second node, and leaving takes them off as well."""
    node_id = target.join()["id"]
    assert target.join(id=f"  {node_id}\t")["id"] == node_id
    assert target.post("/leave", {"id": f" {node_id} "}).status_code == 204


@pytest.mark.ours
def test_unknown_fields_are_kept(target: "Target") -> None:
    """What a newer node sends is stored and returned, at the top and within its capabilities."""
    sent = {"from_the_future": {"deep": [1, 2.5, None, "ü"]}, "capabilities": {"labels": ["a"], "tpu": True}}
    record = target.join(**sent)
    assert {name: record[name] for name in sent} == sent
    assert target.listed(record["id"]) == record
    merged = target.post("/heartbeat", target.record(id=record["id"], another="one")).json()
    assert merged["from_the_future"] == sent["from_the_future"]
    assert merged["another"] == "one"


def test_a_heartbeat_merges_what_is_sent(target: "Target") -> None:
    """Optional fields that are sent are taken over, others stay; the time is refreshed."""
    joined = target.join(provider="here", pool_id="a", capabilities={"labels": ["kept"]})
    answer = target.post("/heartbeat", target.record(id=joined["id"], pool_id="b", provider=None))
    assert answer.status_code == 200
    record = answer.json()
    assert (record["provider"], record["pool_id"]) == ("here", "b")
    assert record["last_seen_unix_ms"] >= joined["last_seen_unix_ms"]
    assert target.listed(joined["id"]) == record


def test_a_heartbeat_of_an_unknown_node_adds_it(target: "Target") -> None:
    """After a restart of the real server nodes come back by their heartbeats."""
    record = target.record(provider="here")
    assert target.post("/heartbeat", record).status_code == 200
    listed = target.listed(record["id"])
    assert listed is not None
    assert listed["provider"] == "here"


def test_leaving_works_once(target: "Target") -> None:
    """204, then 404; the node is off the list."""
    node_id = target.join()["id"]
    assert target.post("/leave", {"id": node_id}).status_code == 204
    assert target.listed(node_id) is None
    assert target.post("/leave", {"id": node_id}).status_code == 404


@pytest.mark.parametrize("path", ["/join", "/heartbeat"])
def test_a_node_cannot_quarantine_or_pardon_itself(target: "Target", path: str) -> None:
    """`quarantined` from a client is ignored, when the row is new and when it exists."""
    record = target.record(quarantined=True)
    assert not target.post(path, record).json().get("quarantined")
    assert _quarantine(target, record["id"], True) == 204
    pardon = target.record(id=record["id"], quarantined=False)
    assert target.post(path, pardon).json()["quarantined"] is True
    assert _quarantine(target, record["id"], False) == 204
    assert not (target.listed(record["id"]) or {}).get("quarantined")


@pytest.mark.parametrize("path", ["/join", "/heartbeat"])
def test_a_node_cannot_end_its_drain(target: "Target", path: str) -> None:
    """An existing row keeps `maintenance` and its deadline, whatever the node sends."""
    node_id = target.join()["id"]
    assert _maintain(target, node_id, maintenance=True, maintenance_for_ms=DAY_MS) == 204
    drained = target.listed(node_id) or {}
    sent = target.record(id=node_id, maintenance=False, maintenance_until_unix_ms=1)
    answer = target.post(path, sent).json()
    for field in ("maintenance", "maintenance_until_unix_ms"):
        assert answer[field] == drained[field]


def test_a_new_node_may_join_draining(target: "Target") -> None:
    """The first word on its drain is the node's own."""
    assert target.join(maintenance=True)["maintenance"] is True


def test_a_drain_is_without_end_or_has_a_deadline(target: "Target") -> None:
    """Absolute deadlines in the future count, those in the past count as none, relative ones end at seven days."""
    node_id = target.join()["id"]
    now = int(time.time() * 1000)

    def until(**fields: object) -> int | None:
        assert _maintain(target, node_id, maintenance=True, **fields) == 204
        record = target.listed(node_id) or {}
        assert record["maintenance"] is True
        deadline: int | None = record.get("maintenance_until_unix_ms")
        return deadline

    assert until() is None
    assert until(maintenance_until_unix_ms=now + 2 * DAY_MS) == now + 2 * DAY_MS
    assert until(maintenance_until_unix_ms=now - DAY_MS) is None
    assert until(maintenance_until_unix_ms=now + 2 * DAY_MS, maintenance_for_ms=5) == now + 2 * DAY_MS
    capped = until(maintenance_for_ms=30 * DAY_MS)
    assert capped is not None
    assert abs(capped - now - 7 * DAY_MS) < 3600_000
    assert until(maintenance_for_ms=0) is None
    assert _maintain(target, node_id, maintenance=False, maintenance_for_ms=DAY_MS) == 204
    ended = target.listed(node_id) or {}
    assert not ended.get("maintenance")
    assert "maintenance_until_unix_ms" not in ended


@pytest.mark.parametrize(
    ("path", "more"), [("/admin/quarantine", {"quarantined": True}), ("/admin/maintenance", {"maintenance": True})]
)
def test_an_administrator_must_name_a_known_node(target: "Target", path: str, more: dict[str, Any]) -> None:
    """Blank: 400; unknown: 404."""
    assert target.post(path, {"node_id": "  ", **more}).status_code == 400
    assert target.post(path, {"node_id": "nobody-is-called-this", **more}).status_code == 404


@pytest.mark.parametrize("path", ["/join", "/heartbeat"])
@pytest.mark.parametrize("scope", [None, "other", "", "Cluster", " cluster", "cluster "])
def test_another_scope_is_kept_out(start_server: "StartServer", path: str, scope: str | None) -> None:
    """With a scope set, a record of another or of none is 403 and leaves no row; case and blanks count."""
    server = start_server({"VOX_MESH_SCOPE_ID": "cluster"})
    record = {"id": "a", "capabilities": {}, "version": "1", "last_seen_unix_ms": 0}
    with server.client() as client:
        foreign = record if scope is None else {**record, "scope_id": scope}
        assert client.post(f"/v1/populi{path}", json=foreign).status_code == 403
        assert client.get("/v1/populi/nodes").json()["nodes"] == []
        assert client.post(f"/v1/populi{path}", json={**record, "scope_id": "cluster"}).status_code == 200


def test_stale_nodes_are_hidden_if_asked(start_server: "StartServer") -> None:
    """VOX_MESH_SERVER_STALE_PRUNE_MS hides, it does not remove: a heartbeat brings the node back."""
    server = start_server({"VOX_MESH_SERVER_STALE_PRUNE_MS": "1"})
    record = {"id": "a", "capabilities": {}, "version": "1", "last_seen_unix_ms": 0, "provider": "here"}
    with server.client() as client:
        client.post("/v1/populi/join", json=record)
        deadline = time.monotonic() + 10
        while client.get("/v1/populi/nodes").json()["nodes"]:
            assert time.monotonic() < deadline
        bare = {**record, "provider": None}
        assert client.post("/v1/populi/heartbeat", json=bare).json()["provider"] == "here"


def _quarantine(target: "Target", node_id: str, quarantined: bool) -> int:
    return target.post("/admin/quarantine", {"node_id": node_id, "quarantined": quarantined}).status_code


def _maintain(target: "Target", node_id: str, **fields: object) -> int:
    return target.post("/admin/maintenance", {"node_id": node_id, **fields}).status_code
