"""A program that holds the write lock of an SQLite database: `python -m preflight.lab.lock_holder FILE`."""

import signal
import sqlite3
import sys


def hold(file: str) -> sqlite3.Connection:
    """Take the lock; it is held until the connection is closed. Raises sqlite3.OperationalError."""
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    return connection


def main(file: str) -> None:
    """Hold the lock until the process is terminated."""
    connection = hold(file)
    print(f"holding {file}", flush=True)  # noqa: T201 - what the lab waits for
    signal.pause()
    connection.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
