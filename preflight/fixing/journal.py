"""Where `preflight fix` writes down what it does: in a folder of this user, which nobody else can read.

`journal.jsonl` has one line for each thing that was done. `open.json` is what undoes the change that is neither kept
nor undone yet; it is on disk before the change. Of a change that was kept, it becomes `<id>.json`. Only the process
that holds `lock` writes here.
"""

import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from preflight import files
from preflight.fixing import record as record_file
from preflight.fixing.record import Record
from preflight.fixing.step import FixError
from preflight.net.control import own_files
from preflight.net.control.journal import JournalError, state_folder

JOURNAL, OPEN, LOCK = "journal.jsonl", "open.json", "lock"
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_MOST_BYTES = 16 << 20


class Journal:
    """The folder, and what is written down in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of_this_user(cls) -> "Journal":
        """In this user's state folder. Raises FixError."""
        try:
            return cls(state_folder() / "fixes")
        except JournalError as error:
            raise FixError(str(error)) from None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Only this process writes for the length of the body. Raises FixError."""
        held = self._lock()
        try:
            yield
        finally:
            os.close(held)

    def _lock(self) -> int:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = self.folder.stat()
            if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise FixError(f"{self.folder} belongs to another user, or lets others in")
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            held = os.open(self.folder / LOCK, flags, 0o600)
        except OSError as error:
            raise FixError(f"{self.folder} cannot be used: {error.strerror}") from None
        try:
            own_files.hold(held)
        except OSError:
            os.close(held)
            raise FixError("another `preflight fix` has changed something, and waits for its confirmation") from None
        return held

    def hold(self, record: Record) -> None:
        """Write down what undoes the change, on disk when this returns. Raises FixError."""
        text, path = record_file.as_text(record), self.folder / OPEN
        try:
            if path.exists():
                files.write(path, text)
            else:
                files.create(path, text, mode=0o600)
        except files.WriteError as error:
            raise FixError(str(error)) from None

    def open_record(self) -> Record | None:
        """What undoes the change that is neither kept nor undone; None if there is none. Raises FixError."""
        return self._read(OPEN)

    def kept(self) -> list[Record]:
        """The changes that were kept, the oldest first. Raises FixError."""
        names = [path.name for path in self.folder.glob("*.json") if path.name != OPEN]
        found = [record for name in names if (record := self._read(name)) is not None]
        return sorted(found, key=lambda record: record.at)

    def keep(self, record: Record) -> None:
        """The change stays; it can be undone later. Raises FixError."""
        try:
            (self.folder / OPEN).rename(self.folder / f"{record.id}.json")
        except OSError as error:
            raise FixError(f"{self.folder / OPEN} cannot be renamed: {error.strerror}") from None

    def forget(self, record: Record) -> None:
        """The change is undone: nothing more is needed of it. Raises FixError."""
        try:
            (self.folder / f"{record.id}.json").unlink(missing_ok=True)
            current = self._read(OPEN)
            if current is not None and current.id == record.id:
                (self.folder / OPEN).unlink(missing_ok=True)
        except OSError as error:
            raise FixError(f"{self.folder} cannot be written: {error.strerror}") from None

    def tell(self, event: str, record: Record, **more: Any) -> None:
        """Add a line to the journal. Raises FixError."""
        entry: Mapping[str, Any] = {
            "at": now(),
            "event": event,
            "id": record.id,
            "code": record.code,
            "target": record.target,
            "fixes": [undo.fix.id for undo in record.undos],
            "commands": [command for undo in record.undos for command in undo.commands],
            "files": [undo.file for undo in record.undos if undo.file],
            **more,
        }
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            number = os.open(self.folder / JOURNAL, flags, 0o600)
            try:
                files.pour(number, json.dumps(entry, ensure_ascii=False).encode() + b"\n")
            finally:
                os.close(number)
        except OSError as error:
            raise FixError(f"{self.folder / JOURNAL} cannot be written: {error.strerror}") from None

    def _read(self, name: str) -> Record | None:
        try:
            folder = own_files.open_folder(self.folder)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise FixError(f"{self.folder} cannot be read: {error.strerror}") from None
        try:
            number = own_files.open_own(folder, name)
            try:
                return record_file.read(os.pread(number, _MOST_BYTES, 0).decode("utf-8"))
            finally:
                os.close(number)
        except FileNotFoundError:
            return None
        except (own_files.NotOursError, OSError, ValueError) as error:
            raise FixError(f"{self.folder / name} cannot be used: {error}") from None
        finally:
            os.close(folder)


def now() -> str:
    """The time, as the journal writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def this_boot() -> str:
    """The random id of the machine's start; empty where the system has none."""
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
