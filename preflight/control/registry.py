"""The rules of the node registry, pure: a record and the time in, a record or a verdict out.

A record is the JSON object as stored; `last_seen_unix_ms` is stored separately, because only it changes with every
heartbeat.
"""

from collections.abc import Mapping
from typing import Any

Record = Mapping[str, Any]

MAX_MAINTENANCE_FOR_MS = 7 * 24 * 3600 * 1000
SERVER_OWNED = ("quarantined", "maintenance", "maintenance_until_unix_ms")
"""Fields that a node cannot change."""
NEVER_MERGED = frozenset({"id", "capabilities", "version", "last_seen_unix_ms", *SERVER_OWNED})
"""A heartbeat refreshes optional fields; required ones change with a join."""


def joined(existing: Record | None, sent: Record) -> dict[str, Any]:
    """The record after a join: the sent one, except for the server's fields."""
    if existing is None:
        return _without(sent, ("last_seen_unix_ms", "quarantined"))
    kept = {name: existing[name] for name in SERVER_OWNED if name in existing}
    return _without(sent, ("last_seen_unix_ms", *SERVER_OWNED)) | kept


def beaten(existing: Record | None, sent: Record) -> dict[str, Any]:
    """The record after a heartbeat: optional fields that were sent are merged; an unknown node is added."""
    if existing is None:
        return joined(None, sent)
    return {**existing, **_without(sent, NEVER_MERGED)}


def swept(record: Record, now_ms: int) -> Record:
    """The record at `now_ms`: without a drain whose deadline has passed."""
    until = record.get("maintenance_until_unix_ms")
    if record.get("maintenance") is True and until is not None and until <= now_ms:
        return _without(record, ("maintenance", "maintenance_until_unix_ms"))
    return record


def maintained(
    record: Record, now_ms: int, maintenance: bool, until_unix_ms: int | None, for_ms: int | None
) -> dict[str, Any]:
    """The record after an administrator's request about its drain. A deadline in the past counts as none."""
    changed = {**_without(record, ("maintenance_until_unix_ms",)), "maintenance": maintenance}
    if not maintenance:
        return changed
    if until_unix_ms is not None and until_unix_ms > now_ms:
        return {**changed, "maintenance_until_unix_ms": until_unix_ms}
    if for_ms:
        return {**changed, "maintenance_until_unix_ms": now_ms + min(for_ms, MAX_MAINTENANCE_FOR_MS)}
    return changed


def blocked(record: Record, now_ms: int) -> str | None:
    """Why a node gets no new work at `now_ms`, or None."""
    if record.get("quarantined") is True:
        return "is quarantined"
    if swept(record, now_ms).get("maintenance") is True:
        return "is in maintenance"
    return None


def refused_classes(record: Record) -> tuple[str, ...]:
    """The privacy classes of mail that a node must not claim; an empty class is `public`."""
    visibility = _word(record, "visibility", "private")
    refused = {
        "private": ("public",),
        "public": ("private", "trusted", "trusted_only"),
    }.get(visibility, ())
    if _word(record, "trust_tier", "trusted") == "new":
        refused = (*refused, "trusted_only")
    return refused


def privacy(privacy_class: str | None) -> str:
    """A message's privacy class in its comparable form."""
    return (privacy_class or "").strip().lower() or "public"


def _word(record: Record, name: str, default: str) -> str:
    return str(record.get(name, default)).strip().lower()


def _without(record: Record, names: tuple[str, ...] | frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in names}
