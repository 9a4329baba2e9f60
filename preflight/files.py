"""How the product writes files: completely or not at all. It replaces regular files only.

The content of a regular or new file goes to a hidden file in the same folder, which is renamed when it is complete. So
a reader sees the old file or the new one. An existing file keeps its mode and owner; its other hard links keep the old
content. Symbolic links are followed. A device, pipe or socket is opened and written to. The name of one of this
process's descriptors (/dev/stdout, /dev/fd/N) means the open descriptor, not the file behind it.

What another user put into a world-writable sticky folder, such as /tmp, is not followed, replaced or written
to: the rule of Linux's fs.protected_symlinks, protected_fifos and protected_regular.
"""

import errno
import fcntl
import os
import re
import select
import signal
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

READER_WAIT_S = 3.0
"""How long to wait for a reader of a pipe or socket."""
STALL_S = 30.0
"""How long to wait for a reader of a named pipe, socket or device that reads nothing."""
_LOOK_AGAIN_S = 0.05
_MOST_LINKS = 40  # the limit of Linux
_DESCRIPTORS = re.compile(r"/proc/\d+(/task/\d+)?/fd")
_BY_SIGNAL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class WriteError(Exception):
    """A write failed; the text is one sentence that names the file."""


class ReaderGoneError(WriteError):
    """The program that read standard output has ended, as `head` does when it has enough: nothing is wrong."""


class Attempts:
    """A group of writes: all are tried, even if one fails."""

    def __init__(self) -> None:
        self.failures: list[WriteError] = []

    @contextmanager
    def one(self) -> Iterator[None]:
        """Record a WriteError of the body and continue."""
        try:
            yield
        except WriteError as error:
            self.failures.append(error)

    def settle(self) -> None:
        """Raise one WriteError for all that failed, if any did."""
        if len(self.failures) == 1:
            raise self.failures[0]
        if self.failures:
            raise WriteError("; ".join(dict.fromkeys(map(str, self.failures))))


def beginning(path: Path, most: int) -> bytes:
    """Read at most this many bytes from a path: a device may have no end. A pipe without a writer gives none.

    Raises OSError.
    """
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK | os.O_NOCTTY)) as stream:
        os.set_blocking(stream.fileno(), True)
        return stream.read(most)


def write(path: Path, content: str | bytes) -> None:
    """Write to the target of the path; see the module. Raises WriteError."""
    data = _encoded(content)
    with _telling(path):
        target = _Target.of(path)
        target.permit()
        if target.descriptor is not None:
            pour(target.descriptor, data)
        elif target.is_file:
            with _complete(target.path.parent, data, target.status) as draft:
                draft.replace(target.path)
        else:
            _write_open(target, data)


def create(path: Path, content: str | bytes, *, mode: int = 0o666) -> None:
    """Write a new file, of this mode from its first byte on; follow no link. Raises WriteError, also if it exists."""
    with _telling(path):
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, "it already exists")
        with _complete(path.parent, _encoded(content), mode=mode) as draft:
            _name(draft, path)


def create_all(contents: Iterable[tuple[Path, str | bytes]], *, mode: int = 0o666) -> None:
    """Create all of the files or none. Raises WriteError."""
    made: list[Path] = []
    with _undisturbed():
        try:
            for path, content in contents:
                create(path, content, mode=mode)
                made.append(path)
        except WriteError:
            for path in made:
                path.unlink(missing_ok=True)
            raise


def folder_at(path: Path) -> None:
    """Make a folder unless it is there. Raises WriteError."""
    with _telling(path):
        path.mkdir(exist_ok=True)
        _not_planted(path)


@contextmanager
def new_folder(path: Path) -> Iterator[None]:
    """A new folder for the body to fill; removed if the body fails. Raises WriteError."""
    with _telling(path):
        path.mkdir()
    try:
        yield
    except WriteError:
        path.rmdir()
        raise


def check(path: Path) -> None:
    """Raise WriteError if `write` would fail for a reason that is already visible."""
    with _telling(path):
        _Target.of(path).permit()


def keeps(path: Path) -> bool:
    """Whether what is written there stays as a file: a regular or new one. Raises WriteError."""
    with _telling(path):
        return _Target.of(path).is_file


def descriptor(path: Path) -> int | None:
    """The number of this process's descriptor that the path is a name of, if it is one. Raises WriteError."""
    with _telling(path):
        return _Target.of(path).descriptor


def identity(path: Path) -> tuple[object, ...] | None:
    """An identity that two paths to one file share; None for terminals and the like, to which many may write.

    Raises WriteError.
    """
    with _telling(path):
        target = _Target.of(path)
        if target.status is None:
            folder = target.path.parent.stat()
            return folder.st_dev, folder.st_ino, target.path.name
        return None if stat.S_ISCHR(target.mode) else (target.status.st_dev, target.status.st_ino)


def pour(number: int, data: bytes | memoryview, *, stall_s: float | None = None) -> None:
    """Write everything to an open descriptor, blocking or not. stall_s: None waits forever.

    Raises OSError.
    """
    ready = select.poll()
    ready.register(number, select.POLLOUT)
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(number, rest) :]
        except BlockingIOError:
            if not ready.poll(None if stall_s is None else stall_s * 1000):
                raise TimeoutError(errno.ETIMEDOUT, "nothing reads what is written") from None


class Stream:
    """A file that grows while the program works, so that a killed run leaves what it had written.

    A regular file that was there is replaced by an empty one when this opens it; mode and owner stay. Everything else
    is as in `write`. Nobody waits for a slow reader before `close`: what it does not take yet is kept in memory.
    """

    def __init__(self, path: Path) -> None:
        """Open it. Raises WriteError."""
        self._path = path
        self._waiting = bytearray()
        with _telling(path):
            target = _Target.of(path)
            target.permit()
            self._number = _open_to_grow(target)
        self._ready = select.poll()
        self._ready.register(self._number, select.POLLOUT)

    def append(self, text: str) -> None:
        """Write as much as can be written now. Raises WriteError."""
        self._waiting += _encoded(text)
        with _telling(self._path), suppress(BlockingIOError):
            while self._waiting and self._ready.poll(0):
                # No more at once than a pipe that is ready is sure to take.
                del self._waiting[: os.write(self._number, self._waiting[: select.PIPE_BUF])]

    def close(self) -> None:
        """Write the rest, for which a reader gets `STALL_S` seconds at a time, and close. Raises WriteError."""
        try:
            with _telling(self._path):
                pour(self._number, bytes(self._waiting), stall_s=STALL_S)
        finally:
            os.close(self._number)


class _Target(NamedTuple):
    """Where a path leads. path: no symbolic link, unless it is `magic`; status: None where nothing is yet.

    magic: a name in /proc/…/fd, which leads to what is open, whatever it is called. descriptor: its number if it is
    open in this process.
    """

    path: Path
    magic: bool
    descriptor: int | None
    status: os.stat_result | None

    @classmethod
    def of(cls, path: Path) -> "_Target":
        """Follow the path. Raises OSError."""
        end, folder = _followed(path)
        magic = _DESCRIPTORS.fullmatch(folder) is not None
        if not os.path.exists(end):  # noqa: PTH110 - unlike Path.exists it raises nothing
            return cls(end, magic, None, None)
        own = folder in map(os.path.realpath, ("/proc/self/fd", "/proc/thread-self/fd"))
        return cls(end, magic, int(end.name) if own and end.name.isdecimal() else None, end.stat())

    @property
    def mode(self) -> int:
        """Kind and permissions; 0 where nothing is yet."""
        return self.status.st_mode if self.status else 0

    @property
    def is_file(self) -> bool:
        """A regular file to be replaced, or a new one to be made."""
        return not self.magic and (self.status is None or stat.S_ISREG(self.mode))

    def permit(self) -> None:
        """Raise OSError if writing would fail by what can be seen now."""
        folder = self.path.parent
        if stat.S_ISDIR(self.mode):
            raise IsADirectoryError(errno.EISDIR, "it is a directory")
        if self.descriptor is not None:
            if fcntl.fcntl(self.descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        elif self.status is None and self.magic:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        elif self.status is not None and not os.access(self.path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        elif self.is_file and not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, f"no permission to write in {folder.absolute()}")


def _followed(path: Path) -> tuple[Path, str]:
    """The target of a chain of symbolic links, even if it does not exist, and the real path of its folder. Raises
    OSError.

    Only the last component is followed here: the kernel follows the others, and refuses what it must.
    """
    for _ in range(_MOST_LINKS):
        if not path.parent.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{path.parent.absolute()} is not a directory")
        folder = os.path.realpath(path.parent)
        if _DESCRIPTORS.fullmatch(folder):
            return path, folder
        if os.path.lexists(path):
            _not_planted(path)
        if not path.is_symlink():
            return path, folder
        path = path.parent / path.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _not_planted(path: Path) -> None:
    """Raise PermissionError for what another user put into a world-writable folder."""
    folder, own = path.parent.stat(), path.lstat().st_uid
    shared = stat.S_ISVTX | stat.S_IWOTH
    if folder.st_mode & shared == shared and own not in (os.geteuid(), folder.st_uid):
        raise PermissionError(errno.EACCES, "it belongs to another user, in a world-writable folder")


@contextmanager
def _complete(
    folder: Path, data: bytes, replaced: os.stat_result | None = None, *, mode: int = 0o666
) -> Iterator[Path]:
    """A hidden file with the data, synced to disk, for the body to rename; removed afterwards. Raises OSError."""
    draft = folder / f".preflight-{os.urandom(8).hex()}"
    kept = stat.S_IMODE(replaced.st_mode) & 0o777 if replaced else mode
    with _undisturbed():
        number = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, kept)
        try:
            try:
                if replaced:
                    _like(number, replaced, kept)
                pour(number, data)
                os.fsync(number)  # some file systems report only now that they are full
            finally:
                os.close(number)
            yield draft
        finally:
            draft.unlink(missing_ok=True)


def _like(number: int, replaced: os.stat_result, mode: int) -> None:
    """Copy owner and mode of the file that is replaced, where the system permits it."""
    with suppress(OSError):
        os.fchown(number, replaced.st_uid, replaced.st_gid)
    with suppress(OSError):
        os.fchmod(number, mode)


def _name(draft: Path, path: Path) -> None:
    """Unlike a rename, a link does not replace a file that appeared meanwhile; without links, rename."""
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        raise
    except OSError:
        draft.rename(path)


def _write_open(target: _Target, data: bytes) -> None:
    """Write into an existing file. Raises OSError."""
    number = _opened(target)
    try:
        pour(number, data, stall_s=STALL_S)
    finally:
        os.close(number)


def _open_to_grow(target: _Target) -> int:
    """A descriptor that appends, to a new file in the place of a regular one. Raises OSError."""
    if target.descriptor is not None:
        return os.dup(target.descriptor)
    if not target.is_file:
        return _opened(target)
    with _complete(target.path.parent, b"", target.status) as draft:
        number = os.open(draft, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        draft.replace(target.path)
    return number


def _opened(target: _Target) -> int:
    """Open an existing file for writing: a socket's listener, or a pipe as soon as it has a reader. Raises OSError."""
    if stat.S_ISSOCK(target.mode):
        return _connected(target.path)
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    flags |= os.O_TRUNC if target.magic else os.O_NOFOLLOW
    give_up = time.monotonic() + READER_WAIT_S
    while True:
        try:
            return os.open(target.path, flags)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            if time.monotonic() > give_up:
                raise OSError(errno.ENXIO, "nothing reads from it") from None
            time.sleep(_LOOK_AGAIN_S)


def _connected(path: Path) -> int:
    """A descriptor to the listener of a UNIX stream socket. Raises OSError."""
    import socket  # `preflight --version` imports this module and should not pay for it

    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(READER_WAIT_S)
        link.connect(str(path))
        return link.detach()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Block signals that would end the program until the body is done: they would leave half a file."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _BY_SIGNAL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Turn the system's error into one sentence."""
    try:
        yield
    except OSError as error:
        raise WriteError(f"{path} cannot be written: {error.strerror or error}") from None


def _encoded(content: str | bytes) -> bytes:
    """UTF-8; a lone surrogate, as in a name that is not UTF-8, becomes its escape."""
    return content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
