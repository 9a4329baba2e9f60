"""Nodes that a lab's cluster has from the start: joined, quarantined and drained by the control plane's code.

They are written into its database before it starts, with a clock set to the time when they were last seen.
"""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from preflight.control import nodes
from preflight.control.database import Database
from preflight.lab.blueprint import SCOPE, Registered


def register(database: Path, rows: Sequence[Registered]) -> None:
    """Write the nodes with their ages; leave an existing database unchanged."""
    if rows and not database.exists():
        asyncio.run(_register(database, rows))


async def _register(file: Path, rows: Sequence[Registered]) -> None:
    for row in rows:
        await _put(file, row)


async def _put(file: Path, row: Registered) -> None:
    heard_ms = int((time.time() - row.age_s) * 1000)
    record = {"id": row.id, "capabilities": {}, "version": row.version, "scope_id": SCOPE, **row.fields}
    database = Database(file, lambda: heard_ms)
    try:
        await database.write(nodes.join, record)
        if row.quarantined:
            await database.write(nodes.quarantine, row.id, True)
        if row.drained_for_s:
            await database.write(nodes.maintain, row.id, True, None, row.drained_for_s * 1000)
    finally:
        database.close()
