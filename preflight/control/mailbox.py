"""Operations on agents' mailboxes: deliver, list, claim, acknowledge, renew a claim."""

import json
from collections.abc import Mapping
from typing import Any

from preflight.control import nodes, registry
from preflight.control.database import SQLITE_INTEGER_MAX, Transaction, volume
from preflight.control.models import DeliverRequest
from preflight.control.refusal import Refusal

DEFAULT_LIMIT = 64
LARGEST_LIMIT = 256
LARGEST_LISTING = 8 * 1024 * 1024
"""Limit of the payloads in one answer, bytes; it always contains at least one row."""
LARGEST_STORE = 1024 * 1024 * 1024
"""Limit of all waiting messages, bytes."""
LONGEST_AGENT_ID = 128
HANDED_ON = frozenset(
    {"payload_blake3_hex", "worker_ed25519_sig_b64", "jwe_payload", "task_kind", "model_id", "traceparent"}
)


def deliver(tx: Transaction, message: DeliverRequest, max_messages: int) -> int:
    """Store a message and return its id; one with the key of a waiting message is that message. The oldest rows make
    room.
    """
    sender = _agent_id("sender_agent_id", message.sender_agent_id)
    receiver = _agent_id("receiver_agent_id", message.receiver_agent_id)
    key = message.idempotency_key or None
    if key is not None and (known := _delivered(tx, sender, receiver, key)) is not None:
        return known
    cursor = tx.db.execute(
        "INSERT INTO mail (sender, receiver, message_type, payload, created_unix_ms, priority, privacy, privacy_class,"
        " idempotency_key, extra) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            sender,
            receiver,
            message.message_type,
            message.payload,
            tx.now,
            message.priority,
            registry.privacy(message.privacy_class),
            message.privacy_class,
            key,
            json.dumps(message.model_dump(include=set(HANDED_ON), exclude_none=True)),
        ),
    )
    message_id = int(cursor.lastrowid or 0)
    # Ids have no gaps and rows go oldest first, so the cap is a distance between ids.
    tx.db.execute("DELETE FROM mail WHERE id <= ?", (message_id - max_messages,))
    while volume(tx, "mail") > LARGEST_STORE:
        tx.db.execute("DELETE FROM mail WHERE id = (SELECT min(id) FROM mail)")
    return message_id


def inbox(tx: Transaction, receiver: str, max_messages: int | None, before: int | None) -> list[Mapping[str, Any]]:
    """Waiting rows, newest first, with ids below `before`; fewer if they are large (the last id is a cursor)."""
    limit = min(max(DEFAULT_LIMIT if max_messages is None else max_messages, 1), LARGEST_LIMIT)
    cursor = SQLITE_INTEGER_MAX if before is None else min(before, SQLITE_INTEGER_MAX)
    rows = tx.db.execute(
        "SELECT * FROM mail WHERE receiver = ? AND acknowledged = 0 AND id < ? ORDER BY id DESC LIMIT ?",
        (receiver, cursor, limit),
    )
    found: list[Mapping[str, Any]] = []
    size = 0
    for row in rows:
        size += len(row["payload"]) + len(row["extra"])
        if found and size > LARGEST_LISTING:
            break
        found.append(_on_the_wire(row, tx.now))
    return found


def claim(tx: Transaction, receiver: str, claimer_node_id: str, lease_ms: int) -> list[Mapping[str, Any]]:
    """Lease the most urgent row that the node may have, at most one; none for a quarantined or draining node."""
    node = nodes.claimer(tx, claimer_node_id)
    if registry.blocked(node, tx.now) is not None:
        return []
    row = tx.db.execute(
        "SELECT * FROM mail WHERE receiver = ? AND acknowledged = 0"
        " AND (lease_expires_unix_ms IS NULL OR lease_expires_unix_ms <= ? OR lease_holder = ?)"
        " AND privacy NOT IN (SELECT value FROM json_each(?))"
        " ORDER BY priority DESC, id LIMIT 1",
        (receiver, tx.now, claimer_node_id, json.dumps(registry.refused_classes(node))),
    ).fetchone()
    if row is None:
        return []
    lease = {"lease_holder": claimer_node_id, "lease_expires_unix_ms": tx.now + lease_ms}
    tx.db.execute(
        "UPDATE mail SET lease_holder = :lease_holder, lease_expires_unix_ms = :lease_expires_unix_ms WHERE id = :id",
        {**lease, "id": row["id"]},
    )
    return [_on_the_wire({**row, **lease}, tx.now)]


def acknowledge(tx: Transaction, receiver: str, message_id: int) -> None:
    """Remove a message from the queue, free its key and drop its content; idempotent."""
    changed = tx.db.execute(
        "UPDATE mail SET acknowledged = 1, idempotency_key = NULL, lease_holder = NULL, lease_expires_unix_ms = NULL,"
        " payload = '', extra = '{}' WHERE id = ? AND receiver = ?",
        (min(message_id, SQLITE_INTEGER_MAX), receiver),
    ).rowcount
    if changed == 0:
        raise Refusal(404, "no such message")


def renew(tx: Transaction, receiver: str, message_id: int, claimer_node_id: str, lease_ms: int) -> None:
    """Extend a live claim of the node that holds it."""
    nodes.able_claimer(tx, claimer_node_id)
    row = tx.db.execute(
        "SELECT lease_holder, lease_expires_unix_ms FROM mail WHERE id = ? AND receiver = ? AND acknowledged = 0",
        (min(message_id, SQLITE_INTEGER_MAX), receiver),
    ).fetchone()
    if row is None:
        raise Refusal(404, "no such message")
    if row["lease_holder"] != claimer_node_id or row["lease_expires_unix_ms"] <= tx.now:
        raise Refusal(409, "the claiming node does not hold the lease")
    tx.db.execute("UPDATE mail SET lease_expires_unix_ms = ? WHERE id = ?", (tx.now + lease_ms, message_id))


def _agent_id(field: str, value: str) -> str:
    if not (value.isascii() and value.isdigit() and len(value) <= LONGEST_AGENT_ID):
        raise Refusal(400, f"{field} must be a string of at most {LONGEST_AGENT_ID} decimal digits")
    return value


def _delivered(tx: Transaction, sender: str, receiver: str, key: str) -> int | None:
    row = tx.db.execute(
        "SELECT id FROM mail WHERE sender = ? AND receiver = ? AND idempotency_key = ?", (sender, receiver, key)
    ).fetchone()
    return int(row[0]) if row else None


def _on_the_wire(row: Mapping[str, Any], now_ms: int) -> Mapping[str, Any]:
    """A mailbox row as clients see it: without empty fields and without an expired lease."""
    leased = row["lease_expires_unix_ms"] is not None and row["lease_expires_unix_ms"] > now_ms
    fields = {
        "id": row["id"],
        "sender_agent_id": row["sender"],
        "receiver_agent_id": row["receiver"],
        "message_type": row["message_type"],
        "payload": row["payload"],
        "created_unix_ms": row["created_unix_ms"],
        "acknowledged": bool(row["acknowledged"]),
        "priority": row["priority"],
        "privacy_class": row["privacy_class"],
        "lease_holder_node_id": row["lease_holder"] if leased else None,
        "lease_expires_unix_ms": row["lease_expires_unix_ms"] if leased else None,
        **json.loads(row["extra"]),
    }
    return {name: value for name, value in fields.items() if value is not None}
