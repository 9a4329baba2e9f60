"""Operations on execution leases: at any time at most one node holds a scope key."""

import json

from preflight.control import nodes
from preflight.control.database import Transaction, volume
from preflight.control.models import ExecLease
from preflight.control.refusal import Refusal

LONGEST_SCOPE_KEY = 2048
LARGEST_TABLE = 16 * 1024 * 1024
"""Limit of the scope keys and holders of all live leases together, bytes."""
RETRY_AFTER_S = 60
LONGEST_LEASE_ID = 18  # digits that always fit SQLite's integers


def grant(tx: Transaction, claimer_node_id: str, scope_key: str, lease_ms: int) -> ExecLease:
    """Lease a scope key, or extend the same lease of the same holder."""
    if not scope_key:
        raise Refusal(400, "scope_key is required")
    if len(scope_key.encode()) > LONGEST_SCOPE_KEY:
        raise Refusal(400, f"scope_key is longer than {LONGEST_SCOPE_KEY} bytes")
    nodes.able_claimer(tx, claimer_node_id)
    _sweep(tx)
    expires = tx.now + lease_ms
    row = tx.db.execute("SELECT id, holder FROM exec_lease WHERE scope_key = ?", (scope_key,)).fetchone()
    if row is None:
        if volume(tx, "exec_lease") >= LARGEST_TABLE:
            raise Refusal(503, "too many execution leases", {"retry-after": str(RETRY_AFTER_S)})
        lease_id = tx.db.execute(
            "INSERT INTO exec_lease (scope_key, holder, expires_unix_ms) VALUES (?, ?, ?)",
            (scope_key, claimer_node_id, expires),
        ).lastrowid
    else:
        lease_id, holder = row
        if holder != claimer_node_id:
            raise Refusal(409, "scope_key is leased to another node")
        tx.db.execute("UPDATE exec_lease SET expires_unix_ms = ? WHERE id = ?", (expires, lease_id))
    return ExecLease(
        lease_id=str(lease_id), scope_key=scope_key, holder_node_id=claimer_node_id, expires_unix_ms=expires
    )


def renew(tx: Transaction, lease_id: str, claimer_node_id: str, lease_ms: int) -> None:
    """Extend a live lease of its holder, who must be able to work."""
    _required(lease_id)
    nodes.able_claimer(tx, claimer_node_id)
    row = _held(tx, lease_id, claimer_node_id)
    tx.db.execute("UPDATE exec_lease SET expires_unix_ms = ? WHERE id = ?", (tx.now + lease_ms, row))


def release(tx: Transaction, lease_id: str, claimer_node_id: str) -> None:
    """End a live lease of its holder, even while the holder is quarantined or draining."""
    _required(lease_id)
    nodes.claimer(tx, claimer_node_id)
    tx.db.execute("DELETE FROM exec_lease WHERE id = ?", (_held(tx, lease_id, claimer_node_id),))


def revoke(tx: Transaction, lease_id: str) -> None:
    """End a live lease of any holder."""
    _required(lease_id)
    row, _ = _live(tx, lease_id)
    tx.db.execute("DELETE FROM exec_lease WHERE id = ?", (row,))


def listing(tx: Transaction) -> str:
    """All live leases as JSON, oldest first."""
    rows = tx.db.execute(
        "SELECT id, scope_key, holder, expires_unix_ms FROM exec_lease WHERE expires_unix_ms > ? ORDER BY id",
        (tx.now,),
    )
    leases = [
        {"lease_id": str(row), "scope_key": scope_key, "holder_node_id": holder, "expires_unix_ms": expires}
        for row, scope_key, holder, expires in rows
    ]
    return json.dumps({"leases": leases}, ensure_ascii=False, separators=(",", ":"))


def _required(lease_id: str) -> None:
    if not lease_id:
        raise Refusal(400, "lease_id is required")


def _held(tx: Transaction, lease_id: str, claimer_node_id: str) -> int:
    row, holder = _live(tx, lease_id)
    if holder != claimer_node_id:
        raise Refusal(409, "the claiming node does not hold the lease")
    return row


def _live(tx: Transaction, lease_id: str) -> tuple[int, str]:
    """Row number and holder of a live lease; 404 for anything else."""
    row = None
    if lease_id.isascii() and lease_id.isdigit() and not lease_id.startswith("0") and len(lease_id) <= LONGEST_LEASE_ID:
        row = tx.db.execute(
            "SELECT id, holder FROM exec_lease WHERE id = ? AND expires_unix_ms > ?",
            (int(lease_id), tx.now),
        ).fetchone()
    if row is None:
        raise Refusal(404, "no such lease, or it has expired")
    return int(row[0]), str(row[1])


def _sweep(tx: Transaction) -> None:
    tx.db.execute("DELETE FROM exec_lease WHERE expires_unix_ms <= ?", (tx.now,))
