"""Nodes that a lab's cluster has from the start."""

import json
import time
from pathlib import Path

from preflight.control import nodes
from preflight.control.database import Database
from preflight.lab.blueprint import Registered
from preflight.lab.cluster import register


def test_rows_are_as_old_and_as_blocked_as_planned(tmp_path: Path) -> None:
    """A row that is younger than planned, or in service, would make the diagnosis look wrong."""
    file, now_ms = tmp_path / "control.db", int(time.time() * 1000)
    old = Registered("old", age_s=600, version="0.9", fields={"listen_addr": "10.66.0.7:9900"})
    register(file, [old, Registered("q", quarantined=True), Registered("d", drained_for_s=3600)])
    register(file, [Registered("late")])  # as at a restart: what the cluster has since is kept
    database = Database(file, lambda: now_ms)
    try:
        rows = {row["id"]: row for row in json.loads(database.read_blocking(nodes.listing, None))["nodes"]}
    finally:
        database.close()
    assert set(rows) == {"old", "q", "d"}
    assert now_ms - 660_000 < rows["old"]["last_seen_unix_ms"] < now_ms - 599_000
    assert (rows["old"]["version"], rows["old"]["listen_addr"]) == ("0.9", "10.66.0.7:9900")
    assert rows["q"]["quarantined"] is True
    assert rows["d"]["maintenance"] is True
    assert rows["d"]["maintenance_until_unix_ms"] > now_ms + 3_000_000
