"""The SQLite file: opening, migrating, and one writer that commits all waiting operations in one transaction.

WAL mode: a commit is in the log before the client gets its answer, so it survives the process, even `kill
-9`; with `synchronous=FULL` it is also on disk and survives a power loss. Requests queue their writes; the writer
thread runs all waiting ones, each in its own savepoint, commits once, and only then answers them. So everything that
arrived during one fsync shares the next one, and a batch of refreshes alone needs none.
"""

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Concatenate, ParamSpec, TypeVar

from preflight.control import schema

P = ParamSpec("P")
T = TypeVar("T")

APPLICATION_ID = 0x504F5031  # "POP1": distinguishes our files from those of other programs
BUSY_TIMEOUT_S = 2.0
LARGEST_BATCH = 512
CHECKPOINT_PAGES = 8000  # 32 MiB of log; by SQLite's default 1000 heartbeats would wait for a checkpoint every second
SQLITE_INTEGER_MAX = 2**63 - 1

_FAILURES_OF_THE_FILE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PROTOCOL,
    }
)


class DatabaseError(Exception):
    """A file cannot be used as the database; the text names it and says what to do."""


class UnavailableError(Exception):
    """The file cannot be read or written now (disk full, read-only, busy); nothing of the request was done."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """The input of an operation: the connection inside its transaction, and the time, Unix milliseconds."""

    db: sqlite3.Connection
    now: int


def volume(tx: Transaction, name: str) -> int:
    """The size of `node`, `mail` or `exec_lease`, in bytes, or the number of `seen_jti`."""
    return int(tx.db.execute("SELECT amount FROM volume WHERE name = ?", (name,)).fetchone()[0])


class _Write:
    """A queued operation, the waiter for its result, and whether it must be on disk by then."""

    __slots__ = ("error", "future", "run", "synced", "value")

    def __init__(self, run: Callable[[Transaction], Any], future: asyncio.Future[Any], *, synced: bool) -> None:
        self.run = run
        self.future = future
        self.synced = synced
        self.value: Any = None
        self.error: BaseException | None = None

    def settle(self) -> None:
        if self.future.done():  # the waiter has gone; the write stays
            return
        if self.error is None:
            self.future.set_result(self.value)
        else:
            self.future.set_exception(self.error)


class Database:
    """One file, one writing connection with its thread, one reading connection with its thread."""

    def __init__(self, path: Path, now_ms: Callable[[], int], *, observe: Callable[[int], None] | None = None) -> None:
        """Open and migrate `path`; `observe` gets the number of writes in each commit. Raises DatabaseError."""
        self._path = path.absolute()
        self._now_ms = now_ms
        self._observe = observe or (lambda writes: None)
        self._writes: SimpleQueue[_Write | None] = SimpleQueue()
        self._writer = _open(self._path)
        self._reader = _connect(self._path, read_only=True)
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="control-read")
        self._writing = threading.Thread(target=self._write_forever, name="control-write", daemon=True)
        self._syncing = True
        self._closed = False
        self._writing.start()

    async def write(self, operation: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run an operation; returns after its commit is on disk. Raises what it raised, or UnavailableError."""
        return await self._queued(lambda transaction: operation(transaction, *args, **kwargs), synced=True)

    async def refresh(
        self, operation: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Like `write`, for data that the next heartbeat repeats: after a power loss the last of these may be lost.

        A later `write` takes them to disk with it.
        """
        return await self._queued(lambda transaction: operation(transaction, *args, **kwargs), synced=False)

    async def _queued(self, run: Callable[[Transaction], T], *, synced: bool) -> T:
        if self._closed:
            raise UnavailableError("the server is stopping")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._writes.put(_Write(run, future, synced=synced))
        return await future

    async def read(self, operation: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a read-only operation in parallel with the writer; it sees every commit that was answered."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._reading, lambda: self._read(operation, *args, **kwargs))

    def read_blocking(
        self, operation: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Like `read`, for a caller without an event loop."""
        return self._reading.submit(lambda: self._read(operation, *args, **kwargs)).result()

    def close(self) -> None:
        """Finish what is queued and close the file."""
        if self._closed:
            return
        self._closed = True
        self._writes.put(None)
        self._writing.join()
        self._reading.shutdown()
        self._reader.close()
        self._writer.close()

    def _read(self, operation: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return operation(Transaction(self._reader, self._now_ms()), *args, **kwargs)
        except sqlite3.Error as error:
            raise _unavailable(error) from error

    def _write_forever(self) -> None:
        while (first := self._writes.get()) is not None:
            batch, last = self._waiting(first)
            self._commit(batch)
            self._settle(batch)
            if last:
                return

    def _waiting(self, first: _Write) -> tuple[list[_Write], bool]:
        """Everything queued now, and whether the end marker was in it."""
        batch = [first]
        while len(batch) < LARGEST_BATCH:
            try:
                write = self._writes.get_nowait()
            except Empty:
                break
            if write is None:
                return batch, True
            batch.append(write)
        return batch, False

    def _commit(self, batch: list[_Write]) -> None:
        """Run and commit a batch; if the file fails, nothing was done and every caller gets the error."""
        try:
            self._sync(any(write.synced for write in batch))
            self._writer.execute("BEGIN IMMEDIATE")
            for write in batch:
                self._run(write)
            self._writer.execute("COMMIT")
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):  # SQLite may have rolled back already
                self._writer.execute("ROLLBACK")
            for write in batch:
                write.error = _unavailable(error)
        else:
            self._observe(len(batch))

    def _sync(self, wanted: bool) -> None:
        """Whether the next commit waits for the disk; SQLite takes this between transactions only."""
        if wanted != self._syncing:
            self._writer.execute(f"PRAGMA synchronous = {'FULL' if wanted else 'NORMAL'}")
            self._syncing = wanted

    def _run(self, write: _Write) -> None:
        """One operation in a savepoint: an exception undoes only this operation. A failure of the file is passed on."""
        self._writer.execute("SAVEPOINT operation")
        try:
            write.value = write.run(Transaction(self._writer, self._now_ms()))
        except Exception as error:
            if isinstance(error, sqlite3.Error) and _is_failure_of_the_file(error):
                raise
            write.error = error
            self._writer.execute("ROLLBACK TO operation")
        self._writer.execute("RELEASE operation")

    @staticmethod
    def _settle(batch: list[_Write]) -> None:
        def settle_all() -> None:
            for write in batch:
                write.settle()

        loop = batch[0].future.get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle_all)


def _is_failure_of_the_file(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF in _FAILURES_OF_THE_FILE


def _unavailable(error: sqlite3.Error) -> Exception:
    """UnavailableError for a failure of the file; any other error of SQLite is a bug and passes unchanged."""
    return UnavailableError(str(error)) if _is_failure_of_the_file(error) else error


def _connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    if read_only:
        connection.execute("PRAGMA query_only = ON")
    return connection


def _open(path: Path) -> sqlite3.Connection:
    """A connection to an existing or new database of the current version. Raises DatabaseError."""
    try:
        # Only its owner may read it: mailboxes contain payloads.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except FileNotFoundError:
        raise DatabaseError(f"database {path}: the directory {path.parent} does not exist; create it") from None
    except IsADirectoryError:
        raise DatabaseError(f"database {path}: is a directory; name a file in it") from None
    except OSError as error:
        raise DatabaseError(f"database {path}: cannot be opened for writing ({error.strerror})") from None
    connection: sqlite3.Connection | None = None
    try:
        connection = _connect(path)
        _migrate(connection, path)
    except (sqlite3.Error, DatabaseError) as error:
        if connection is not None:
            connection.close()
        if isinstance(error, DatabaseError):
            raise
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
            raise DatabaseError(f"database {path}: is not an SQLite database; name another file") from None
        raise DatabaseError(f"database {path}: cannot be used ({error})") from None
    return connection


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the schema to the current version, in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    owner = int(connection.execute("PRAGMA application_id").fetchone()[0])
    if owner != APPLICATION_ID and connection.execute("SELECT 1 FROM sqlite_master").fetchone():
        raise DatabaseError(f"database {path}: belongs to another program; name another file")
    if version > len(schema.MIGRATIONS):
        raise DatabaseError(
            f"database {path}: has schema version {version}, this preflight knows up to {len(schema.MIGRATIONS)}; "
            "run a newer preflight or name another file"
        )
    for script in schema.MIGRATIONS[version:]:
        for statement in schema.statements(script):
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {len(schema.MIGRATIONS)}")
    connection.execute("COMMIT")
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise DatabaseError(
            f"database {path}: its file system does not support a write-ahead log; name a file on a local disk"
        )
