"""The file: made, migrated, refused, shared commits, and what happens when it cannot be written."""

import asyncio
import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from preflight.control import schema
from preflight.control.database import Database, DatabaseError, Transaction, UnavailableError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control-plane.db"


@pytest.fixture
def commits() -> list[int]:
    return []


@pytest.fixture
def opened(path: Path, commits: list[int]) -> Iterator[Database]:
    """An open database; `commits` gets the number of writes of each commit."""
    opened = Database(path, lambda: 1000, observe=commits.append)
    yield opened
    opened.close()


def put(tx: Transaction, jti: str) -> None:
    tx.db.execute("INSERT INTO seen_jti VALUES (?, ?)", (jti, tx.now))


def everything(tx: Transaction) -> list[str]:
    return [row["jti"] for row in tx.db.execute("SELECT jti FROM seen_jti ORDER BY jti")]


def test_a_new_file_is_its_owners_and_in_wal_mode(opened: Database, path: Path) -> None:
    """Mailboxes hold payloads; the log makes commits cheap."""
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA user_version").fetchone() == (len(schema.MIGRATIONS),)
    connection.close()


def test_what_was_written_is_read_after_reopening(path: Path) -> None:
    """Closing finishes what is queued."""
    first = Database(path, lambda: 1000)
    asyncio.run(first.write(put, "a"))
    first.close()
    first.close()
    second = Database(path, lambda: 2000)
    try:
        assert asyncio.run(second.read(everything)) == ["a"]
        assert second.read_blocking(everything) == ["a"]
    finally:
        second.close()


def test_writes_that_wait_share_a_commit(opened: Database, commits: list[int]) -> None:
    """Group commit: far fewer commits than writes, and every write is there."""

    async def many() -> list[str]:
        await asyncio.gather(*(opened.write(put, f"{number:03}") for number in range(200)))
        return await opened.read(everything)

    assert asyncio.run(many()) == [f"{number:03}" for number in range(200)]
    assert sum(commits) == 200
    assert len(commits) < 100


def test_a_refresh_spares_the_disk_and_a_write_does_not(opened: Database) -> None:
    """Heartbeats wait for no fsync (1: NORMAL); with one write among them the whole commit does (2: FULL)."""
    running, gate = threading.Event(), threading.Event()

    def hold(tx: Transaction) -> None:
        running.set()
        gate.wait(60)

    def level(tx: Transaction) -> int:
        return int(tx.db.execute("PRAGMA synchronous").fetchone()[0])

    async def together() -> list[int]:
        held = asyncio.create_task(opened.refresh(hold))
        await asyncio.to_thread(running.wait, 60)  # its batch is taken: what comes now is in the next one
        queued = [asyncio.create_task(opened.refresh(level)) for _ in range(5)]
        queued.append(asyncio.create_task(opened.write(level)))
        await asyncio.sleep(0)  # all of them are in the queue now, behind the one that holds the writer
        gate.set()
        await held
        return list(await asyncio.gather(*queued))

    async def alone() -> list[int]:
        return [await opened.refresh(level), await opened.write(level), await opened.refresh(level)]

    assert asyncio.run(alone()) == [1, 2, 1]
    assert asyncio.run(together()) == [2] * 6


def test_a_refused_write_undoes_itself_alone(opened: Database) -> None:
    """Its neighbours in the same commit stay."""

    def broken(tx: Transaction) -> None:
        put(tx, "half-done")
        raise LookupError("no")

    async def mixed() -> list[str]:
        outcomes = await asyncio.gather(
            opened.write(put, "a"), opened.write(broken), opened.write(put, "b"), return_exceptions=True
        )
        assert [type(outcome) for outcome in outcomes] == [type(None), LookupError, type(None)]
        return await opened.read(everything)

    assert asyncio.run(mixed()) == ["a", "b"]


def test_a_mistake_in_sql_is_no_failure_of_the_file(opened: Database) -> None:
    """A bug must show as one, and not as a database that is unavailable."""

    def mistaken(tx: Transaction) -> None:
        tx.db.execute("SELECT * FROM nowhere")

    for attempt in (opened.write(mistaken), opened.read(mistaken)):
        with pytest.raises(sqlite3.OperationalError, match="nowhere"):
            asyncio.run(attempt)


def test_reading_cannot_write(opened: Database) -> None:
    """One writer: the reading connection refuses."""
    with pytest.raises(UnavailableError):
        asyncio.run(opened.read(put, "a"))


def impatient(tx: Transaction) -> None:
    tx.db.execute("PRAGMA busy_timeout = 50")


def test_a_full_disk_is_reported_and_recovered_from(opened: Database) -> None:
    """All of the failed commit are refused, nothing of them is kept, and the next write after there is room works."""

    def limit(tx: Transaction, pages: int) -> None:
        tx.db.execute(f"PRAGMA max_page_count = {pages}")

    async def fill() -> None:
        await opened.write(put, "before")
        await opened.write(limit, 1)  # SQLite never goes below what it has: no page can be added
        outcomes = await asyncio.gather(
            *(opened.write(put, "x" * 5000 + str(number)) for number in range(5)), return_exceptions=True
        )
        assert {type(outcome) for outcome in outcomes} == {UnavailableError}
        await opened.write(limit, 100_000)
        await opened.write(put, "after")
        assert await opened.read(everything) == ["after", "before"]

    asyncio.run(fill())


def test_a_read_only_file_is_reported_and_recovered_from(opened: Database) -> None:
    """SQLITE_READONLY, as a file system gives that the kernel took its writes away from; then writes work again."""

    def read_only(switch: str) -> None:
        opened._writer.execute(f"PRAGMA query_only = {switch}")

    async def run() -> None:
        await opened.write(put, "before")
        read_only("ON")
        for attempt in (opened.write(put, "lost"), opened.refresh(put, "lost as well")):
            with pytest.raises(UnavailableError, match="readonly"):
                await attempt
        read_only("OFF")
        await opened.write(put, "after")
        assert await opened.read(everything) == ["after", "before"]

    asyncio.run(run())


def test_a_database_that_another_process_holds_is_reported(opened: Database, path: Path) -> None:
    """Another program's forgotten transaction makes writes fail after a while, not hang; reading goes on."""
    other = sqlite3.connect(path, isolation_level=None)
    try:
        asyncio.run(opened.write(impatient))
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnavailableError, match="locked"):
            asyncio.run(opened.write(put, "a"))
        assert asyncio.run(opened.read(everything)) == []
        other.execute("ROLLBACK")
        asyncio.run(opened.write(put, "a"))
    finally:
        other.close()


def test_after_closing_writes_are_refused(path: Path) -> None:
    """A request that comes during the stop gets 503, not silence."""
    closed = Database(path, lambda: 1000)
    closed.close()
    with pytest.raises(UnavailableError):
        asyncio.run(closed.write(put, "a"))


def test_a_newer_database_is_refused_and_left_alone(path: Path) -> None:
    """A downgrade must not mangle what a newer program wrote."""
    Database(path, lambda: 1000).close()
    _pragma(path, f"user_version = {len(schema.MIGRATIONS) + 1}")
    before = path.read_bytes()
    with pytest.raises(DatabaseError, match="newer preflight"):
        Database(path, lambda: 1000)
    assert path.read_bytes() == before


def test_an_older_database_is_migrated(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps that are missing are made up for, and what was there stays."""
    first = Database(path, lambda: 1000)
    asyncio.run(first.write(put, "a"))
    first.close()
    step = "CREATE TABLE more (x); CREATE INDEX more_x ON more (x);"
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, step))
    second = Database(path, lambda: 1000)
    try:
        assert asyncio.run(second.read(everything)) == ["a"]
        assert second.read_blocking(lambda tx: tx.db.execute("PRAGMA user_version").fetchone()[0]) == len(
            schema.MIGRATIONS
        )
    finally:
        second.close()


def execute(tx: Transaction, statement: str) -> None:
    tx.db.execute(statement)


def test_what_there_is_of_everything_is_counted_when_it_is_migrated(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the first version, which did not count: what is removed later leaves nothing."""
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
        first = Database(path, lambda: 1000)
        for statement in (
            """INSERT INTO node VALUES ('a', '{"id":"ü"}', 1, NULL)""",
            "INSERT INTO mail VALUES (1, '1', '2', 'n', 'pay', 1, 0, 128, 'public', NULL, NULL, NULL, NULL, '{}')",
            "INSERT INTO exec_lease VALUES (1, 'key', 'a', 1)",
            "INSERT INTO seen_jti VALUES ('j', 1)",
        ):
            asyncio.run(first.write(execute, statement))
        first.close()
    second = Database(path, lambda: 1000)
    try:

        def counted() -> dict[str, int]:
            return second.read_blocking(lambda tx: dict(map(tuple, tx.db.execute("SELECT * FROM volume"))))

        assert counted() == {"node": 11, "mail": 517, "exec_lease": 4, "seen_jti": 1}
        for table in counted():
            asyncio.run(second.write(execute, f"DELETE FROM {table}"))
        assert set(counted().values()) == {0}
    finally:
        second.close()


def test_a_migration_is_done_whole_or_not_at_all(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that fails half-way leaves the version that was there."""
    Database(path, lambda: 1000).close()
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, "CREATE TABLE more (x); CREATE TABLE node (x);"))
    with pytest.raises(DatabaseError, match="cannot be used"):
        Database(path, lambda: 1000)
    monkeypatch.undo()
    again = Database(path, lambda: 1000)
    try:
        tables = again.read_blocking(lambda tx: [row[0] for row in tx.db.execute("SELECT name FROM sqlite_master")])
        assert "more" not in tables
    finally:
        again.close()


def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    """Another program's notes are not overwritten."""
    path.write_text("these are my notes\n" * 100)
    with pytest.raises(DatabaseError, match="is not an SQLite database"):
        Database(path, lambda: 1000)
    assert path.read_text() == "these are my notes\n" * 100


def test_a_database_of_another_program_is_refused(path: Path) -> None:
    """Its tables are not ours to migrate."""
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(DatabaseError, match="belongs to another program"):
        Database(path, lambda: 1000)


@pytest.mark.parametrize(("name", "problem"), [("missing/x.db", "does not exist"), (".", "is a directory")])
def test_a_place_where_no_file_can_be_is_named(tmp_path: Path, name: str, problem: str) -> None:
    """One sentence with the path in it."""
    with pytest.raises(DatabaseError, match=problem):
        Database(tmp_path / name, lambda: 1000)


def _pragma(path: Path, assignment: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA {assignment}")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
