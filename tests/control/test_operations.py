"""Registry, mailbox and leases over time: the clock is moved, nobody sleeps."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from preflight.control import credentials, leases, mailbox, nodes
from preflight.control.config import BootstrapToken
from preflight.control.database import Database, Transaction, volume
from preflight.control.models import DeliverRequest
from preflight.control.refusal import Refusal

LEASE_MS = 1000


class World:
    """A database and a clock that stops until the test moves it."""

    def __init__(self, path: Path) -> None:
        self.now = 1_000_000
        self.database = Database(path, lambda: self.now)

    def do(self, operation: Callable[..., Any], *args: object) -> Any:
        """Run an operation in a separate transaction."""
        return asyncio.run(self.database.write(operation, *args))

    def refused(self, operation: Callable[..., Any], *args: object) -> int:
        """The status with which an operation refuses."""
        with pytest.raises(Refusal) as refusal:
            self.do(operation, *args)
        return refusal.value.status

    def node(self, **fields: object) -> dict[str, Any]:
        """Join the node a."""
        record = {"id": "a", "capabilities": {}, "version": "1", "last_seen_unix_ms": 0, **fields}
        text, _ = self.do(nodes.join, record)
        joined: dict[str, Any] = json.loads(text)
        return joined

    def listed(self, hide_after_ms: int | None = None) -> list[dict[str, Any]]:
        """The nodes as a client sees them."""
        listing: list[dict[str, Any]] = json.loads(self.do(nodes.listing, hide_after_ms))["nodes"]
        return listing


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "control-plane.db")
    yield world
    world.database.close()


def message(**fields: Any) -> DeliverRequest:
    base = {"sender_agent_id": "1", "receiver_agent_id": "2", "message_type": "n", "payload": ""}
    return DeliverRequest(**base | {"privacy_class": "private"} | fields)


def test_the_server_sets_the_time_of_join_and_heartbeat(world: World) -> None:
    """A node's own clock does not count; an administrator's action is not a sign of life."""
    assert world.node(last_seen_unix_ms=5)["last_seen_unix_ms"] == 1_000_000
    world.now += 7
    world.do(nodes.quarantine, "a", True)
    assert world.listed()[0]["last_seen_unix_ms"] == 1_000_000
    world.do(nodes.heartbeat, {"id": "a", "capabilities": {}, "version": "1", "last_seen_unix_ms": 9})
    assert world.listed()[0]["last_seen_unix_ms"] == 1_000_007


def test_a_heartbeat_without_news_is_a_refresh(world: World) -> None:
    """It moves the time alone; an unknown node and a changed field are for the write that is kept for good."""
    beat = {"id": "a", "capabilities": {}, "version": "1", "last_seen_unix_ms": 0}
    assert world.do(nodes.beat, beat) is None
    world.node(provider="here")
    world.now += 5
    assert json.loads(world.do(nodes.beat, beat))["provider"] == "here"
    assert world.listed()[0]["last_seen_unix_ms"] == world.now
    assert world.do(nodes.beat, {**beat, "provider": "there"}) is None
    assert world.listed()[0]["provider"] == "here"


def test_a_drain_ends_at_its_deadline(world: World) -> None:
    """The flag is gone from list and heartbeat, the node gets work again, nobody has to write anything."""
    world.node()
    world.do(nodes.maintain, "a", True, None, 500)
    world.now += 499
    assert world.listed()[0]["maintenance"] is True
    assert world.refused(leases.grant, "a", "k", LEASE_MS) == 403
    world.now += 1
    assert "maintenance" not in world.listed()[0]
    assert "maintenance_until_unix_ms" not in world.listed()[0]
    assert world.do(leases.grant, "a", "k", LEASE_MS).holder_node_id == "a"
    record = {"id": "a", "capabilities": {}, "version": "1", "last_seen_unix_ms": 0}
    assert "maintenance" not in json.loads(world.do(nodes.heartbeat, record)[0])


def test_a_drain_without_deadline_stays(world: World) -> None:
    """Until an administrator ends it."""
    world.node()
    world.do(nodes.maintain, "a", True, None, None)
    world.now += 10**12
    assert world.listed()[0]["maintenance"] is True


def test_deadlines_beyond_sqlites_integers_are_kept(world: World) -> None:
    """Numbers are u64 on the wire."""
    world.node()
    world.do(nodes.maintain, "a", True, 2**64 - 1, None)
    assert world.listed()[0]["maintenance_until_unix_ms"] == 2**64 - 1


def test_nodes_are_hidden_when_older_than_the_limit(world: World) -> None:
    """Exactly at the limit they still show; hiding removes nothing."""
    world.node()
    world.now += 100
    assert len(world.listed(100)) == 1
    world.now += 1
    assert world.listed(100) == []
    assert len(world.listed()) == 1


def test_an_unclaimed_row_comes_back_when_its_lease_is_over(world: World) -> None:
    """A worker that died gives its message back; the live holder keeps it by renewing."""
    for name in ("a", "b"):
        world.node(id=name)
    row = world.do(mailbox.deliver, message(), 10)
    claim = world.do(mailbox.claim, "2", "a", LEASE_MS)
    assert claim[0]["lease_expires_unix_ms"] == world.now + LEASE_MS
    world.now += LEASE_MS - 1
    world.do(mailbox.renew, "2", row, "a", LEASE_MS)
    world.now += LEASE_MS - 1
    assert world.do(mailbox.claim, "2", "b", LEASE_MS) == []
    world.now += 1
    assert "lease_holder_node_id" not in world.do(mailbox.inbox, "2", None, None)[0]
    assert world.refused(mailbox.renew, "2", row, "a", LEASE_MS) == 409
    assert world.do(mailbox.claim, "2", "b", LEASE_MS)[0]["lease_holder_node_id"] == "b"
    assert world.refused(mailbox.renew, "2", row, "a", LEASE_MS) == 409


def test_the_queue_counts_what_nobody_works_on(world: World) -> None:
    """Waiting rows of all mailboxes, without leased and acknowledged ones; an expired lease counts again."""
    world.node()

    def depth() -> int:
        return int(json.loads(world.do(nodes.listing, None))["queue_depth"])

    row = world.do(mailbox.deliver, message(), 10)
    world.do(mailbox.deliver, message(receiver_agent_id="3"), 10)
    assert depth() == 2
    world.do(mailbox.claim, "2", "a", LEASE_MS)
    assert depth() == 1
    world.now += LEASE_MS
    assert depth() == 2
    world.do(mailbox.acknowledge, "2", row)
    assert depth() == 1


def test_fields_that_are_only_handed_on_come_back(world: World) -> None:
    """Signatures, traces and the like are the receiver's business."""
    world.do(mailbox.deliver, message(task_kind="t", traceparent="00-1", jwe_payload="j"), 10)
    (row,) = world.do(mailbox.inbox, "2", None, None)
    assert (row["task_kind"], row["traceparent"], row["jwe_payload"]) == ("t", "00-1", "j")
    assert "model_id" not in row


def test_an_execution_lease_runs_out(world: World) -> None:
    """Then it is neither listed nor renewed nor released, and another node gets the key under a new id."""
    for name in ("a", "b"):
        world.node(id=name)
    first = world.do(leases.grant, "a", "k", LEASE_MS)
    world.now += LEASE_MS - 1
    assert json.loads(world.do(leases.listing)) == {"leases": [first.model_dump()]}
    assert world.refused(leases.grant, "b", "k", LEASE_MS) == 409
    world.do(leases.renew, first.lease_id, "a", LEASE_MS)
    world.now += LEASE_MS
    assert json.loads(world.do(leases.listing)) == {"leases": []}
    assert world.refused(leases.renew, first.lease_id, "a", LEASE_MS) == 404
    assert world.refused(leases.release, first.lease_id, "a") == 404
    assert world.refused(leases.revoke, first.lease_id) == 404
    assert int(world.do(leases.grant, "b", "k", LEASE_MS).lease_id) > int(first.lease_id)


def test_a_bootstrap_token_dies_at_its_deadline(world: World) -> None:
    """At the deadline it is good, a millisecond later not, for the one who has the key neither."""
    token = BootstrapToken("right", world.now)
    assert world.do(credentials.exchange, token, "mesh", "right", "mine") == "mesh"
    world.now += 1
    assert world.refused(credentials.exchange, token, "mesh", "right", "mine") == 410
    assert world.refused(credentials.exchange, token, "mesh", "wrong", "mine") == 401


def test_the_file_does_not_hold_the_bootstrap_token(world: World, tmp_path: Path) -> None:
    """A stolen backup enrols nobody."""
    world.do(credentials.exchange, BootstrapToken("the-right-token", None), "the-mesh-token", "the-right-token", "k")
    world.database.close()
    for path in tmp_path.iterdir():
        assert b"the-right-token" not in path.read_bytes()
        assert b"the-mesh-token" not in path.read_bytes()


def remembered(tx: Transaction) -> int:
    return int(tx.db.execute("SELECT count(*) FROM seen_jti").fetchone()[0])


def test_a_jti_is_accepted_once(world: World) -> None:
    """However long its token lives."""
    assert [world.do(credentials.accept_jti, "x", world.now + 10) for _ in range(2)] == [True, False]
    assert [world.do(credentials.accept_jti, "for ever", 2**70) for _ in range(2)] == [True, False]


def test_a_jti_outlives_a_clock_that_jumps(world: World) -> None:
    """Ahead, where its token is over and others are accepted, and back, where it would be valid again."""
    forget, before = world.now + 1000, world.now
    assert world.do(credentials.accept_jti, "x", forget)
    world.now += 10**12
    assert world.do(credentials.accept_jti, "y", world.now + 1000)
    world.now = before
    assert not world.do(credentials.accept_jti, "x", forget)
    assert world.do(credentials.accept_jti, "z", forget)


def test_what_was_forgotten_is_not_accepted_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table stays small, by ids that are over; those that could be among them are refused, later ones are not."""
    monkeypatch.setattr(credentials, "MOST_REMEMBERED", 10)
    first, before = world.now + 1, world.now
    for number in range(10):
        assert world.do(credentials.accept_jti, str(number), first + number)
    world.now += 10**12
    assert world.do(credentials.accept_jti, "later", world.now + 1)
    assert world.do(remembered) == 6
    world.now = before
    for number in range(10):
        assert not world.do(credentials.accept_jti, str(number), first + number)
    assert not world.do(credentials.accept_jti, "new, but perhaps not", first)
    assert world.do(credentials.accept_jti, "surely new", first + 5)


def test_ids_that_are_still_good_are_kept_however_many(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forgetting one of them would let it in again."""
    monkeypatch.setattr(credentials, "MOST_REMEMBERED", 10)
    for number in range(20):
        assert world.do(credentials.accept_jti, str(number), world.now + 1)
    assert world.do(remembered) == 20


@pytest.mark.parametrize("number", ["1e400", "-1e400"])
def test_numbers_that_json_cannot_give_back_are_refused(world: World, number: str) -> None:
    """Infinity would make the whole node list unreadable."""
    record = {"id": "a", "capabilities": {}, "version": "1", "last_seen_unix_ms": 0, "x": float(number)}
    assert world.refused(nodes.join, record) == 400
    assert world.listed() == []


def record(**fields: object) -> dict[str, Any]:
    return {"id": "a", "capabilities": {}, "version": "1", **fields}


@pytest.mark.parametrize("operation", [nodes.join, nodes.heartbeat])
def test_a_record_has_a_largest_size(world: World, operation: Callable[..., Any]) -> None:
    """64 KiB of JSON fit to the byte; one more is 413, and the row stays as it was."""
    room = nodes.LARGEST_RECORD - len(nodes.encode(record(x="")))
    world.do(operation, record(x="x" * room))
    before = world.listed()
    assert world.refused(operation, record(x="x" * (room + 1))) == 413
    assert world.refused(operation, record(id="b", x="ü" * room)) == 413
    assert world.listed() == before


def test_heartbeats_do_not_add_up(world: World) -> None:
    """Each small, all together not: the one that goes over the limit changes nothing."""
    world.node()
    for number in range(3):
        world.do(nodes.heartbeat, record(**{f"x{number}": "x" * 20_000}))
    before = world.listed()
    assert world.refused(nodes.heartbeat, record(x3="x" * 20_000)) == 413
    assert world.listed() == before


def test_a_record_has_so_many_unnamed_fields(world: World) -> None:
    """64 fields that the API does not name are kept, one more is refused."""
    fields = {f"x{number}": 1 for number in range(nodes.MOST_UNNAMED)}
    world.node(**fields, provider="named, so not counted")
    assert world.refused(nodes.heartbeat, record(one="more")) == 413
    assert world.refused(nodes.join, record(**fields, one="more")) == 413


def test_a_full_registry_takes_no_more_but_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new node and a record that grows are refused; those that are there beat, shrink, and leave room again."""
    world.node(x="x" * 1000)
    monkeypatch.setattr(nodes, "LARGEST_REGISTRY", 1100)
    assert world.refused(nodes.join, record(id="b", x="x" * 100)) == 503
    assert world.refused(nodes.heartbeat, record(x="x" * 1001)) == 503
    assert world.do(nodes.beat, record()) is not None
    world.do(nodes.quarantine, "a", True)
    world.do(nodes.join, record(x="x"))
    world.do(nodes.join, record(id="b", x="x" * 100))
    world.do(nodes.leave, "b")
    assert world.do(volume, "node") == len(json.dumps(record(x="x", quarantined=True), separators=(",", ":")))


def test_large_mail_goes_like_much_mail_oldest_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store has a size as well as a number of rows; an acknowledged message has no content any more."""
    monkeypatch.setattr(mailbox, "LARGEST_STORE", 5000)
    first, *rest = (world.do(mailbox.deliver, message(payload="ü" * 500), 10) for _ in range(4))
    assert [row["id"] for row in world.do(mailbox.inbox, "2", None, None)] == rest[::-1]
    for row in rest:
        world.do(mailbox.acknowledge, "2", row)
        world.do(mailbox.acknowledge, "2", row)
    assert world.do(volume, "mail") == 3 * (512 + len("{}"))
    assert world.refused(mailbox.acknowledge, "2", first) == 404


def test_an_answer_holds_so_much_mail(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer rows if they are large, at least one; the last id is the cursor for the next."""
    monkeypatch.setattr(mailbox, "LARGEST_LISTING", 2500)
    ids = [world.do(mailbox.deliver, message(payload="x" * size), 10) for size in (1000, 1000, 1000, 9000)]
    seen: list[int] = []
    while rows := world.do(mailbox.inbox, "2", None, seen[-1] if seen else None):
        seen += [row["id"] for row in rows]
    assert seen == ids[::-1]
    assert len(world.do(mailbox.inbox, "2", None, None)) == 1


def test_execution_leases_have_a_largest_table(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """No new key while it is full; held ones go on, and expired ones make room."""
    world.node()
    monkeypatch.setattr(leases, "LARGEST_TABLE", 100)
    for key in ("k" * 60, "l" * 60):
        world.do(leases.grant, "a", key, LEASE_MS)
    assert world.refused(leases.grant, "a", "m", LEASE_MS) == 503
    world.do(leases.grant, "a", "k" * 60, LEASE_MS)
    world.now += LEASE_MS
    assert world.do(leases.grant, "a", "m", LEASE_MS)
    assert world.do(volume, "exec_lease") == 2
