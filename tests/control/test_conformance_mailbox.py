"""Conformance: delivering, listing, claiming, acknowledging and renewing."""

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.control.conftest import StartServer, Target


@pytest.fixture
def worker(target: "Target") -> str:
    """A node that may claim every class of mail but the public one."""
    return str(target.join(visibility="private", trust_tier="trusted")["id"])


def test_a_delivered_message_waits_in_the_inbox(target: "Target", mailbox: str) -> None:
    """The row carries all that was sent, the defaults, and no lease."""
    message_id = target.deliver(mailbox, sender_agent_id=" 7 ", payload="ü\n\0", privacy_class="private")
    (row,) = target.inbox(f" {mailbox} ")
    expected = {
        "id": message_id,
        "sender_agent_id": "7",
        "receiver_agent_id": mailbox,
        "message_type": "note",
        "payload": "ü\n\0",
        "acknowledged": False,
        "privacy_class": "private",
        "priority": 128,
    }
    assert {name: row[name] for name in expected} == expected
    assert row["created_unix_ms"] > 0
    assert "lease_holder_node_id" not in row


@pytest.mark.parametrize("field", ["sender_agent_id", "receiver_agent_id"])
@pytest.mark.parametrize("value", ["", "  ", "a", "1a", "-1", "1.0", "١", "0x1"])
def test_agent_ids_are_decimal_digits(target: "Target", field: str, value: str) -> None:
    """Anything else is 400; digits of other scripts too."""
    message = {"sender_agent_id": "1", "receiver_agent_id": "2", "message_type": "note", "payload": "", field: value}
    assert target.post("/a2a/deliver", message).status_code == 400


@pytest.mark.parametrize("priority", [-1, 256, "5"])
def test_priorities_are_bytes(target: "Target", priority: object) -> None:
    """0…255, else 422."""
    message = {"sender_agent_id": "1", "receiver_agent_id": "2", "message_type": "note", "payload": ""}
    assert target.post("/a2a/deliver", {**message, "priority": priority}).status_code == 422


def test_the_same_key_is_the_same_message(target: "Target", mailbox: str) -> None:
    """Same sender, receiver and key: same id and one row. Another sender, an empty key or none: another message."""
    first = target.deliver(mailbox, idempotency_key="k")
    assert target.deliver(mailbox, idempotency_key=" k ") == first
    others = [
        target.deliver(mailbox, idempotency_key="k", sender_agent_id="2"),
        target.deliver(mailbox, idempotency_key=" "),
        target.deliver(mailbox, idempotency_key=""),
        target.deliver(mailbox),
    ]
    assert len({first, *others}) == 5
    assert len(target.inbox(mailbox)) == 5


def test_acknowledging_frees_the_key(target: "Target", mailbox: str) -> None:
    """After the ack the same key is a new message."""
    first = target.deliver(mailbox, idempotency_key="k")
    assert _ack(target, mailbox, first) == 204
    assert target.deliver(mailbox, idempotency_key="k") > first


def test_acknowledging_is_repeatable_and_exact(target: "Target", mailbox: str) -> None:
    """204 again and again; 404 for another mailbox or id. What is acknowledged is off the list."""
    message_id = target.deliver(mailbox)
    assert _ack(target, "1", message_id) == 404
    assert _ack(target, mailbox, message_id + 10**9) == 404
    assert [_ack(target, mailbox, message_id) for _ in range(3)] == [204, 204, 204]
    assert target.inbox(mailbox) == []


def test_the_inbox_is_read_newest_first_with_limit_and_cursor(target: "Target", mailbox: str) -> None:
    """At most `max_messages` (1…256, default 64), ids below the cursor."""
    sent = [target.deliver(mailbox) for _ in range(70)][::-1]

    def ids(**fields: object) -> list[int]:
        return [row["id"] for row in target.inbox(mailbox, **fields)]

    assert ids() == sent[:64]
    assert ids(max_messages=3) == sent[:3]
    assert ids(max_messages=0) == sent[:1]
    assert ids(max_messages=100_000) == sent
    assert ids(max_messages=2, before_message_id=sent[2]) == sent[3:5]
    assert ids(before_message_id=0) == []
    assert ids(before_message_id=2**64 - 1) == sent[:64]
    assert ids(claimer_node_id=" ", max_messages=1) == sent[:1]


def test_a_claim_leases_the_most_urgent_then_oldest(target: "Target", mailbox: str, worker: str) -> None:
    """One row a time; reading the inbox without claiming shows the lease and takes none."""
    urgent = target.deliver(mailbox, privacy_class="private", priority=200)
    second = str(target.join()["id"])
    low = target.deliver(mailbox, privacy_class="private", priority=0)
    older = target.deliver(mailbox, privacy_class="private")
    newer = target.deliver(mailbox, privacy_class="private")
    (row,) = target.inbox(mailbox, claimer_node_id=worker)
    assert (row["id"], row["lease_holder_node_id"]) == (urgent, worker)
    assert row["lease_expires_unix_ms"] > row["created_unix_ms"]
    claimed = [target.inbox(mailbox, claimer_node_id=second)[0]["id"]]
    claimed += [target.inbox(mailbox, claimer_node_id=str(target.join()["id"]))[0]["id"] for _ in range(2)]
    assert claimed == [older, newer, low]
    assert {row["id"]: row["lease_holder_node_id"] for row in target.inbox(mailbox)}[urgent] == worker
    assert target.inbox(mailbox, claimer_node_id=str(target.join()["id"])) == []


def test_a_holder_claims_its_own_row_again(target: "Target", mailbox: str, worker: str) -> None:
    """A worker that lost the answer gets the same row, not a second one."""
    message_id = target.deliver(mailbox, privacy_class="private")
    target.deliver(mailbox, privacy_class="private")
    assert [target.inbox(mailbox, claimer_node_id=worker)[0]["id"] for _ in range(2)] == [message_id, message_id]


@pytest.mark.parametrize(
    ("privacy_class", "node", "may"),
    [
        (None, {}, False),
        ("", {}, False),
        ("public", {"visibility": "private"}, False),
        (" PUBLIC ", {"visibility": " Private "}, False),
        ("public", {"visibility": "public"}, True),
        (None, {"visibility": "public"}, True),
        ("private", {}, True),
        ("private", {"visibility": "public"}, False),
        ("trusted", {"visibility": "private", "trust_tier": "new"}, True),
        ("trusted", {"visibility": "public"}, False),
        ("trusted_only", {}, True),
        ("trusted_only", {"trust_tier": "new"}, False),
        ("trusted_only", {"visibility": "public"}, False),
        ("something-else", {}, True),
        ("something-else", {"visibility": "public", "trust_tier": "new"}, True),
    ],
)
def test_who_may_claim_what(
    target: "Target", mailbox: str, privacy_class: str | None, node: dict[str, Any], may: bool
) -> None:
    """The contract's table of privacy class against the node's visibility and trust."""
    message_id = target.deliver(mailbox, **({} if privacy_class is None else {"privacy_class": privacy_class}))
    claimed = target.inbox(mailbox, claimer_node_id=target.join(**node)["id"])
    assert [row["id"] for row in claimed] == ([message_id] if may else [])


def test_a_row_that_may_not_be_claimed_hides_no_other(target: "Target", mailbox: str, worker: str) -> None:
    """The most urgent row is for others; the next one is still found."""
    target.deliver(mailbox, priority=255)
    message_id = target.deliver(mailbox, privacy_class="private")
    assert target.inbox(mailbox, claimer_node_id=worker)[0]["id"] == message_id


def test_who_is_unknown_or_out_of_service_claims_nothing(target: "Target", mailbox: str, worker: str) -> None:
    """Unknown: 403. Quarantined or draining: an empty list."""
    target.deliver(mailbox, privacy_class="private")
    unknown = target.post("/a2a/inbox", {"receiver_agent_id": mailbox, "claimer_node_id": "nobody-is-called-this"})
    assert unknown.status_code == 403
    target.post("/admin/quarantine", {"node_id": worker, "quarantined": True})
    assert target.inbox(mailbox, claimer_node_id=worker) == []
    target.post("/admin/quarantine", {"node_id": worker, "quarantined": False})
    target.post("/admin/maintenance", {"node_id": worker, "maintenance": True})
    assert target.inbox(mailbox, claimer_node_id=worker) == []
    target.post("/admin/maintenance", {"node_id": worker, "maintenance": False})
    assert len(target.inbox(mailbox, claimer_node_id=worker)) == 1


def test_only_the_holder_renews_its_claim(target: "Target", mailbox: str, worker: str) -> None:
    """204 for the holder; 409 for another and for a row without a lease; 404 once acknowledged or for no row."""
    message_id = target.deliver(mailbox, privacy_class="private")
    other = str(target.join()["id"])
    assert _renew(target, mailbox, message_id, worker) == 409
    (row,) = target.inbox(mailbox, claimer_node_id=worker)
    assert _renew(target, mailbox, message_id, worker) == 204
    assert target.inbox(mailbox)[0]["lease_expires_unix_ms"] >= row["lease_expires_unix_ms"]
    assert _renew(target, mailbox, message_id, other) == 409
    assert _renew(target, "1", message_id, worker) == 404
    assert _ack(target, mailbox, message_id) == 204
    assert _renew(target, mailbox, message_id, worker) == 404


def test_who_is_unknown_or_out_of_service_renews_nothing(target: "Target", mailbox: str, worker: str) -> None:
    """400 without a claimer, 403 for an unknown, a quarantined and a draining one."""
    message_id = target.deliver(mailbox, privacy_class="private")
    target.inbox(mailbox, claimer_node_id=worker)
    assert _renew(target, mailbox, message_id, " ") == 400
    assert _renew(target, mailbox, message_id, "nobody-is-called-this") == 403
    target.post("/admin/quarantine", {"node_id": worker, "quarantined": True})
    assert _renew(target, mailbox, message_id, worker) == 403
    target.post("/admin/quarantine", {"node_id": worker, "quarantined": False})
    target.post("/admin/maintenance", {"node_id": worker, "maintenance": True})
    assert _renew(target, mailbox, message_id, worker) == 403


def test_the_oldest_rows_make_room(start_server: "StartServer") -> None:
    """At the cap the oldest go, of whichever mailbox, and their ids are not used again."""
    server = start_server({"VOX_MESH_A2A_MAX_MESSAGES": "3"})
    with server.client() as client:
        sent = []
        for number in range(5):
            message = {"sender_agent_id": "1", "receiver_agent_id": "2", "message_type": "n", "payload": str(number)}
            sent.append(client.post("/v1/populi/a2a/deliver", json=message).json()["message_id"])
        waiting = client.post("/v1/populi/a2a/inbox", json={"receiver_agent_id": "2"}).json()["messages"]
        assert [row["id"] for row in waiting] == sent[:1:-1]
        evicted = client.post("/v1/populi/a2a/ack", json={"receiver_agent_id": "2", "message_id": sent[0]})
        assert evicted.status_code == 404


def _ack(target: "Target", receiver: str, message_id: int) -> int:
    return target.post("/a2a/ack", {"receiver_agent_id": receiver, "message_id": message_id}).status_code


def _renew(target: "Target", receiver: str, message_id: int, claimer: str) -> int:
    body = {"receiver_agent_id": receiver, "message_id": message_id, "claimer_node_id": claimer}
    return target.post("/a2a/lease-renew", body).status_code
