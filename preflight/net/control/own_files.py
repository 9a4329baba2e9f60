"""Files that only this user can have written: opened relative to an open folder, never through a link, without waiting.

Anyone who may write to a folder can put a link, a pipe or a file of their content where we look for ours. So an
existing file is checked before it is opened and again once it is open, and a new file is created exclusively.
"""

import fcntl
import os
import stat
from pathlib import Path

_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class NotOursError(Exception):
    """Not a file of this user alone; the text is a clause that says why, such as `it is a pipe`."""


def open_folder(path: Path) -> int:
    """A descriptor of a folder, to open its files by. Raises OSError."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def create(folder: int, name: str) -> int:
    """A descriptor of a new file of mode 0600, whatever the umask. Raises FileExistsError, OSError."""
    descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    os.fchmod(descriptor, 0o600)
    return descriptor


def open_own(folder: int, name: str) -> int:
    """A descriptor of a regular file of this user that nobody else can open, can link or can have written.

    Raises NotOursError, OSError.
    """
    _refuse_foreign(os.stat(name, dir_fd=folder, follow_symlinks=False))
    # Another file may have taken its place: do not wait if it is a pipe, and check it again.
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    descriptor = os.open(name, flags, dir_fd=folder)
    try:
        _refuse_foreign(os.fstat(descriptor))
    except NotOursError:
        os.close(descriptor)
        raise
    return descriptor


def hold(descriptor: int) -> None:
    """Lock a file until its descriptor is closed, at the latest by the end of the process.

    Raises BlockingIOError if another process holds the lock, or has just removed the file; OSError.
    """
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if os.fstat(descriptor).st_nlink == 0:
        raise BlockingIOError


def replace_content(descriptor: int, content: bytes) -> None:
    """Replace the content of an open file; on disk when this returns. Raises OSError."""
    written = 0
    while written < len(content):
        written += os.pwrite(descriptor, content[written:], written)
    os.ftruncate(descriptor, len(content))
    os.fsync(descriptor)


def remove(folder: int, name: str, descriptor: int) -> None:
    """Remove the name of an open file, if it is still that file's; on disk when this returns. Raises OSError."""
    try:
        same = os.path.samestat(os.stat(name, dir_fd=folder, follow_symlinks=False), os.fstat(descriptor))
    except FileNotFoundError:
        return
    if same:
        os.unlink(name, dir_fd=folder)
        os.fsync(folder)


def refuse_shared(folder: int, *, with_group: bool = False) -> None:
    """Raises NotOursError if anyone except this user and root can replace a file in the folder.

    with_group: also if only a group may write; on many systems that group has one member.
    """
    found = os.fstat(folder)
    if found.st_uid not in (os.geteuid(), 0):
        raise NotOursError("it belongs to another user, who can replace what is in it")
    writers = stat.S_IWOTH | (stat.S_IWGRP if with_group else 0)
    if found.st_mode & writers and not found.st_mode & stat.S_ISVTX:
        raise NotOursError("others may write to it, and replace what is in it")


def _refuse_foreign(found: os.stat_result) -> None:
    """Raises NotOursError unless only this user can have written the file."""
    if not stat.S_ISREG(found.st_mode):
        raise NotOursError(f"it is {_KINDS.get(stat.S_IFMT(found.st_mode), 'no regular file')}")
    if found.st_uid != os.geteuid():
        raise NotOursError("it belongs to another user")
    if found.st_mode & _OTHERS:
        raise NotOursError(f"its mode {stat.S_IMODE(found.st_mode):04o} lets others in")
    if found.st_nlink != 1:
        raise NotOursError("it has another name elsewhere (a hard link)")
