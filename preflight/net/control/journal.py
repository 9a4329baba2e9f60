"""What runs join is written down before they join it, so that the next run can take back what a killed one left.

One file for each row, in a folder of this user's own: on disk before the join, locked as long as its run lives, removed
once the row is proved gone. A file that nobody holds was left behind. Its time of modification is when the control
plane saw the row last, by the control plane's clock and as far as its run heard: set without writing, as a kill may
come at any moment.
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
"""After so many seconds a draft is no write under way, but one that was killed: nothing was joined."""
_MOST_BYTES = 64 * 1024
_MOST_UNIX_MS = 1 << 42
"""In the year 2109: a later `last_seen_unix_ms` is nonsense, and more than some file systems can keep."""


class JournalError(Exception):
    """The journal cannot be used; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file of the journal, or all of it, that tells nothing: which, and why."""

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
    """One row that is written down; nobody else takes it up before the end of `with`."""

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
        """When the control plane had seen the row, by the last answer that was heard."""
        return os.fstat(self._descriptor).st_mtime_ns // 1_000_000

    def heard(self, last_seen_unix_ms: int) -> None:
        """The control plane told when it saw the row."""
        seen_ns = min(max(0, last_seen_unix_ms), _MOST_UNIX_MS) * 1_000_000
        with suppress(OSError):  # an older time has the row rather kept than taken from somebody
            os.utime(self._descriptor, ns=(seen_ns, seen_ns))

    def strike_out(self) -> None:
        """The row is gone, or somebody else's: there is nothing more to remove."""
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
    """The rows of runs that are dead, one after the other; what is no file of this user's own is told, not opened."""
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
    """What one run writes down about its row, as far as that can be done.

    mark: a label for the row. trouble: why nothing is written down, where nothing can be; the run goes on without.
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
        """What is written down."""
        return self._entry.row if self._entry else None

    def before_join(self, node_id: str, scope_id: str | None) -> None:
        """A join of this id comes next; once is enough for its repeats."""
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
        """The run is over. gone: no row of it is listed any more, for certain."""
        if self._entry is None:
            return
        with self._entry as entry:
            if gone:
                entry.strike_out()
        self._entry = None


def _absolute(path: Path | None) -> str:
    return str(path.absolute()) if path else ""


def _write(folder: int, row: JoinedRow) -> Entry:
    """A new entry: held before it has its name, so that nobody takes it for a dead run's. Raises OSError."""
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
        raise ValueError("it does not tell of a row") from None
    texts = [value for value in asdict(row).values() if isinstance(value, str)]
    if not all(map(str.isprintable, texts)) or not 0 <= row.at_unix_ms <= _MOST_UNIX_MS:
        raise ValueError("it tells what no run writes")
    return row
