"""The program that holds a database."""

import sqlite3
from pathlib import Path

import pytest

from preflight.lab.lock_holder import hold


def test_nobody_else_can_write(tmp_path: Path) -> None:
    """Protects the fault of a locked database: others read and cannot write, until the holder ends."""
    file = str(tmp_path / "a.db")
    other = sqlite3.connect(file, timeout=0, isolation_level=None)
    other.execute("CREATE TABLE t (x)")
    holder = hold(file)
    assert other.execute("SELECT count(*) FROM t").fetchone() == (0,)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("INSERT INTO t VALUES (1)")
    holder.close()
    other.execute("INSERT INTO t VALUES (1)")
    other.close()
