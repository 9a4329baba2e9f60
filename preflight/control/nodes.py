"""Operations on the node registry: join, heartbeat, leave, list, quarantine, maintenance."""

import json
import sqlite3
from typing import Any

from preflight.control import registry
from preflight.control.database import SQLITE_INTEGER_MAX, Transaction, volume
from preflight.control.models import NodeRecord
from preflight.control.refusal import Refusal
from preflight.control.registry import Record

SCHEMA_VERSION = 1
LARGEST_RECORD = 64 * 1024
MOST_UNNAMED = 64
LARGEST_REGISTRY = 32 * 1024 * 1024
"""Limit of the JSON of all records, bytes."""
RETRY_AFTER_S = 60


def join(tx: Transaction, sent: Record) -> tuple[str, bool]:
    """Add or replace a node; its record as JSON, and whether it is new."""
    existing = find(tx, sent["id"])
    return _keep(tx, existing, registry.joined(existing, sent)), existing is None


def beat(tx: Transaction, sent: Record) -> str | None:
    """Refresh a node whose heartbeat has no new data; its record as JSON. None: call `heartbeat` instead."""
    existing = find(tx, sent["id"])
    if existing is None or registry.beaten(existing, sent) != existing:
        return None
    tx.db.execute("UPDATE node SET last_seen_unix_ms = ? WHERE id = ?", (tx.now, sent["id"]))
    return _stamped(encode(existing), tx.now)


def heartbeat(tx: Transaction, sent: Record) -> tuple[str, bool]:
    """Refresh a node and merge what it sent, or add it; its record as JSON, and whether it is new."""
    existing = find(tx, sent["id"])
    return _keep(tx, existing, registry.beaten(existing, sent)), existing is None


def leave(tx: Transaction, node_id: str) -> None:
    """Remove a node; its leases expire."""
    if tx.db.execute("DELETE FROM node WHERE id = ?", (node_id,)).rowcount == 0:
        raise Refusal(404, "unknown node id")


def listing(tx: Transaction, hide_after_ms: int | None) -> str:
    """All nodes as JSON, without those not seen for longer than `hide_after_ms`, and how much mail waits."""
    seen_since = tx.now - hide_after_ms if hide_after_ms else 0
    rows = tx.db.execute(
        "SELECT record, last_seen_unix_ms, drain_until_unix_ms <= ? FROM node WHERE last_seen_unix_ms >= ? ORDER BY id",
        (tx.now, seen_since),
    )
    # Records are inserted as stored text: parsing ten thousand of them would delay every heartbeat.
    nodes = ",".join(
        _stamped(encode(registry.swept(json.loads(record), tx.now)) if drain_over else record, last_seen)
        for record, last_seen, drain_over in rows
    )
    return f'{{"schema_version":{SCHEMA_VERSION},"nodes":[{nodes}],"queue_depth":{_waiting(tx)}}}'


def quarantine(tx: Transaction, node_id: str, quarantined: bool) -> None:
    """Set or lift a node's quarantine."""
    record = {**_named(tx, node_id), "quarantined": quarantined}
    _store(tx, record, encode(record), touch=False)


def maintain(tx: Transaction, node_id: str, maintenance: bool, until_unix_ms: int | None, for_ms: int | None) -> None:
    """Drain a node until a deadline or without end, or end its drain."""
    record = registry.maintained(_named(tx, node_id), tx.now, maintenance, until_unix_ms, for_ms)
    _store(tx, record, encode(record), touch=False)


def find(tx: Transaction, node_id: str) -> Record | None:
    """A node's current record."""
    row = tx.db.execute("SELECT record FROM node WHERE id = ?", (node_id,)).fetchone()
    return registry.swept(json.loads(row[0]), tx.now) if row else None


def claimer(tx: Transaction, node_id: str) -> Record:
    """The node that asks for work or for a lease. Refuses an empty id with 400, an unknown node with 403."""
    if not node_id:
        raise Refusal(400, "claimer_node_id is required")
    record = find(tx, node_id)
    if record is None:
        raise Refusal(403, "unknown claimer_node_id: the node has not joined")
    return record


def able_claimer(tx: Transaction, node_id: str) -> Record:
    """Like `claimer`, but also refuse with 403 a node that gets no new work."""
    record = claimer(tx, node_id)
    reason = registry.blocked(record, tx.now)
    if reason is not None:
        raise Refusal(403, f"the claiming node {reason}")
    return record


def count(tx: Transaction) -> int:
    """How many nodes are registered."""
    return int(tx.db.execute("SELECT count(*) FROM node").fetchone()[0])


def encode(record: Record) -> str:
    """Compact JSON. Refuses with 400 a value that JSON cannot express, such as a number larger than a double."""
    try:
        return json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError:
        raise Refusal(400, "a number in the record is out of range") from None


def _named(tx: Transaction, node_id: str) -> Record:
    if not node_id:
        raise Refusal(400, "node_id is required")
    record = find(tx, node_id)
    if record is None:
        raise Refusal(404, "unknown node_id")
    return record


def _keep(tx: Transaction, existing: Record | None, record: Record) -> str:
    """Store what a node sent, if there is room. Refuses with 413 a record that is too large, with 503 if the list is
    full; the old record then stays.

    A record that shrinks always fits.
    """
    text = encode(record)
    size = len(text.encode())
    if size > LARGEST_RECORD:
        raise Refusal(413, f"the record would have {size} bytes, more than {LARGEST_RECORD}")
    if sum(name not in NodeRecord.model_fields for name in record) > MOST_UNNAMED:
        raise Refusal(413, f"the record would have more than {MOST_UNNAMED} fields that the API does not name")
    full = volume(tx, "node") + size > LARGEST_REGISTRY
    if full and (existing is None or size > len(encode(existing).encode())):
        raise Refusal(503, "the registry is full", {"retry-after": str(RETRY_AFTER_S)})
    return _store(tx, record, text)


def _store(tx: Transaction, record: Record, text: str, *, touch: bool = True) -> str:
    """Write a record, `text` as JSON, and return it with its time; `touch`: the node itself sent it."""
    tx.db.execute(
        "INSERT INTO node (id, record, last_seen_unix_ms, drain_until_unix_ms) VALUES (?1, ?2, ?3, ?4)"
        " ON CONFLICT (id) DO UPDATE SET record = ?2, drain_until_unix_ms = ?4,"
        " last_seen_unix_ms = iif(?5, ?3, last_seen_unix_ms)",
        (record["id"], text, tx.now, _drain_until(record), touch),
    )
    return _stamped(text, tx.now)


def _drain_until(record: Record) -> int | None:
    until: Any = record.get("maintenance_until_unix_ms")
    return None if until is None else min(until, SQLITE_INTEGER_MAX)


def _stamped(record: str, last_seen_unix_ms: int) -> str:
    """The record's JSON text with the time put in front; a record always has an id after it."""
    return f'{{"last_seen_unix_ms":{last_seen_unix_ms},{record[1:]}'


def _waiting(tx: Transaction) -> int:
    row: sqlite3.Row = tx.db.execute(
        "SELECT count(*) FROM mail WHERE acknowledged = 0"
        " AND (lease_expires_unix_ms IS NULL OR lease_expires_unix_ms <= ?)",
        (tx.now,),
    ).fetchone()
    return int(row[0])
