"""A run writes down the row that it joins before it joins, so that the next run can remove what a killed one left.

One file per row, in a folder of this user: on disk before the join, locked while its run lives, removed once the row is
proved gone. A file that nobody has locked was left behind. Its modification time is when the control plane last saw the
row, by the control plane's clock and the last answer that the run received; setting it writes no content, because a
kill may come at any moment.
"""

import json
import os
import secrets
import stat
import time
from collections.abc import Generator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from preflight.model.control import NodeRecord
from preflight.model.enrolment import JoinedRow
from preflight.net.control import own_files
from preflight.net.control.own_files import NotOursError
from preflight.proto.control.left_behind import MARK

if TYPE_CHECKING:
    from preflight.settings.load import Settings

_DRAFT = ".new"
_DRAFT_S = 60
"""A draft that is older (seconds) belongs to a run that was killed while it wrote: nothing was joined."""
_MOST_BYTES = 64 * 1024
_MOST_UNIX_MS = 1 << 42
"""The year 2109: a later `last_seen_unix_ms` is nonsense, and some file systems cannot store it."""


class JournalError(Exception):
    """The journal cannot be used; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file of the journal, or the whole journal, that cannot be read: which, and why."""

    reason: str


def state_folder() -> Path:
    """This user's state folder (XDG base directory specification); it need not exist. Raises JournalError."""
    named = os.environ.get("XDG_STATE_HOME", "")
    try:
        # The specification has a relative one ignored.
        home = Path(named) if named.startswith("/") else Path.home() / ".local" / "state"
    except RuntimeError:
        raise JournalError("this user has no home folder, and XDG_STATE_HOME is not set") from None
    return home / "preflight"


class Entry:
    """One row that is written down; nobody else can use it before the end of `with`."""

    def __init__(self, folder: int, name: str, descriptor: int, row: JoinedRow) -> None:
        self.row = row
        self._folder = os.dup(folder)
        self._name = name
        self._descriptor = descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
        os.close(self._folder)

    @property
    def heard_unix_ms(self) -> int:
        """When the control plane last saw the row, by the last answer that the run received."""
        return os.fstat(self._descriptor).st_mtime_ns // 1_000_000

    def heard(self, last_seen_unix_ms: int) -> None:
        """The control plane said when it saw the row."""
        seen_ns = min(max(0, last_seen_unix_ms), _MOST_UNIX_MS) * 1_000_000
        with suppress(OSError):  # with an older time a row is kept, not removed from another user
            os.utime(self._descriptor, ns=(seen_ns, seen_ns))

    def remove(self) -> None:
        """The row is gone or another node's: nothing is left to remove."""
        with suppress(OSError):  # it stays, and the next run finds that the row is gone
            own_files.remove(self._folder, self._name, self._descriptor)


def write_down(row: JoinedRow) -> Entry:
    """A new entry, on disk when this returns. Raises JournalError."""
    path = _path()
    try:
        for each in (path.parent, path):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = _open(path)
        try:
            return _write(folder, row)
        finally:
            os.close(folder)
    except OSError as error:
        raise JournalError(f"{path} cannot be written: {error.strerror}") from None


def left_behind() -> Generator[Entry | Unreadable, None, None]:
    """The rows of dead runs, one by one. A file that is not this user's own is reported, not opened."""
    try:
        path = _path()
        folder = _open(path)
    except FileNotFoundError:  # no run ever joined
        return
    except OSError as error:
        yield Unreadable(f"{path}: {error.strerror}")
        return
    except JournalError as error:
        yield Unreadable(str(error))
        return
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries)
        for name in names:
            found = _looked_at(path, folder, name)
            if found is not None:
                yield found
    finally:
        os.close(folder)


def _looked_at(path: Path, folder: int, name: str) -> Entry | Unreadable | None:
    try:
        return _take_up(folder, name)
    except (BlockingIOError, FileNotFoundError):
        return None  # its run lives, or has just ended
    except (NotOursError, ValueError) as error:
        return Unreadable(f"{path / name}: {error}")
    except OSError as error:
        return Unreadable(f"{path / name}: {error.strerror}")


def _path() -> Path:
    """Raises JournalError."""
    return state_folder() / "joined"


def _open(path: Path) -> int:
    """The journal's folder, if nobody else writes to it. Raises JournalError, OSError."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    found = os.fstat(folder)
    if found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return folder
    os.close(folder)
    raise JournalError(f"{path} belongs to another user, or others may write to it")


class Note:
    """What one run writes down about its row.

    mark: a label for the row. trouble: why nothing can be written down, if so; the run goes on without it.
    """

    def __init__(self, settings: "Settings", command: str, credentials: Path | None = None) -> None:
        self.mark = f"{MARK}{secrets.token_hex(8)}"
        self.trouble = ""
        self._settings = settings
        self._command = command
        self._credentials = credentials
        self._entry: Entry | None = None

    @property
    def row(self) -> JoinedRow | None:
        """The row as written down; None if nothing is."""
        return self._entry.row if self._entry else None

    def before_join(self, node_id: str, scope_id: str | None) -> None:
        """A join of this id comes next; repeats of the join write nothing more."""
        if self._entry is not None or self.trouble:
            return
        row = JoinedRow(
            url=str(self._settings.control.usable_url),
            node_id=node_id,
            made_up=node_id != self._settings.node.id,
            mark=self.mark,
            command=self._command,
            at_unix_ms=time.time_ns() // 1_000_000,
            scope_id=scope_id,
            config=_absolute(self._settings.source),
            credentials=_absolute(self._credentials),
        )
        try:
            self._entry = write_down(row)
        except JournalError as error:
            self.trouble = str(error)

    def heard(self, answer: NodeRecord) -> None:
        """The control plane answered with the row."""
        if self._entry is not None:
            self._entry.heard(answer.last_seen_unix_ms)

    def end(self, *, gone: bool) -> None:
        """The run is over. gone: its row is certainly not listed any more."""
        if self._entry is None:
            return
        with self._entry as entry:
            if gone:
                entry.remove()
        self._entry = None


def _absolute(path: Path | None) -> str:
    return str(path.absolute()) if path else ""


def _write(folder: int, row: JoinedRow) -> Entry:
    """A new entry, locked before it gets its name, so that nobody takes it for a dead run's. Raises OSError."""
    name = secrets.token_hex(8)
    draft, final = f".{name}{_DRAFT}", f"{name}.json"
    descriptor = own_files.create(folder, draft)
    try:
        own_files.hold(descriptor)
        own_files.replace_content(descriptor, json.dumps(asdict(row)).encode())
        os.rename(draft, final, src_dir_fd=folder, dst_dir_fd=folder)
        os.fsync(folder)
        return Entry(folder, final, descriptor, row)
    except OSError:
        for leftover in (draft, final):
            with suppress(OSError):
                own_files.remove(folder, leftover, descriptor)
        os.close(descriptor)
        raise


def _take_up(folder: int, name: str) -> Entry | None:
    """An entry that nobody holds; None for a draft. Raises NotOursError, OSError, ValueError."""
    descriptor = own_files.open_own(folder, name)
    try:
        own_files.hold(descriptor)
        if not name.endswith(_DRAFT):
            return Entry(folder, name, descriptor, _read(os.pread(descriptor, _MOST_BYTES, 0)))
        if time.time() - os.fstat(descriptor).st_mtime > _DRAFT_S:
            own_files.remove(folder, name, descriptor)
    except (OSError, ValueError):
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _read(content: bytes) -> JoinedRow:
    """Raises ValueError."""
    from pydantic import TypeAdapter, ValidationError

    try:
        # Fields that only a newer version knows are left out.
        row = TypeAdapter(JoinedRow).validate_json(content, strict=True)
    except ValidationError:
        raise ValueError("it does not describe a row") from None
    texts = [value for value in asdict(row).values() if isinstance(value, str)]
    if not all(map(str.isprintable, texts)) or not 0 <= row.at_unix_ms <= _MOST_UNIX_MS:
        raise ValueError("no run writes such an entry")
    return row
