"""The file that keeps what a one-time token bought: made ready before the token is spent, complete or not there at all.

It holds `NAME=value` lines that a worker can use as they are: `set -a; . FILE`, systemd's `EnvironmentFile=`.
While an exchange is under way a hidden file beside it holds the exchange's idempotency key, so that a run that was
killed, or that never heard the answer, can ask again and get the same one.
"""

import fcntl
import os
import re
import secrets
import shlex
from pathlib import Path

from preflight.model.control import Credential, CredentialsError

_RESERVED_BYTES = 4096
_PENDING = "# idempotency key of an exchange under way: "


class CredentialsFile:
    """Reserve, write, release."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pending = path.with_name(f".{path.name}.pending")
        self._descriptor: int | None = None

    def reserve(self) -> str:
        """Prove that the file can be written and hold the space for it; the exchange's idempotency key.

        Raises CredentialsError.
        """
        if os.path.lexists(self.path):
            raise CredentialsError(f"{self.path} exists and is not overwritten; move it away or name another file")
        try:
            self._descriptor = os.open(self.pending, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            _lock(self._descriptor)
            return self._key(self._descriptor)
        except BlockingIOError:
            self.release(keep=True)
            raise CredentialsError(f"another run is about to write {self.path}") from None
        except OSError as error:
            self.release(keep=True)
            raise CredentialsError(f"{self.path} cannot be written: {error.strerror}") from None

    def write(self, credential: Credential) -> None:
        """Put the credential in place: content, sync, name, sync of the folder. Raises CredentialsError."""
        if self._descriptor is None:
            raise CredentialsError(f"{self.path} was not reserved")
        content = environment(credential).encode()
        try:
            os.pwrite(self._descriptor, content, 0)
            os.ftruncate(self._descriptor, len(content))
            os.fsync(self._descriptor)
            self._name()
            _sync_folder(self.path.parent)
        except OSError as error:
            # What was bought is worth more than tidiness: the hidden file stays.
            self.release(keep=True)
            raise CredentialsError(f"{self.path} cannot be written ({error.strerror}); see {self.pending}") from None
        self.release()

    def release(self, *, keep: bool = False) -> None:
        """Take the reservation back; `keep` it for a later run that has to ask with the same key."""
        if self._descriptor is not None:
            if not keep:
                self.pending.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None

    def _key(self, descriptor: int) -> str:
        """The key that an earlier run left, or a new one, safely on disk."""
        found = os.pread(descriptor, _RESERVED_BYTES, 0).decode("latin-1")
        if found.startswith("VOX_MESH_TOKEN="):
            self.release(keep=True)
            raise CredentialsError(f"an earlier run left its credential in {self.pending}: mv it to {self.path}")
        left = re.fullmatch(re.escape(_PENDING) + r"([0-9a-f]{32})\s*", found)
        if left:
            return left[1]
        key = secrets.token_hex(16)
        os.pwrite(descriptor, f"{_PENDING}{key}".ljust(_RESERVED_BYTES - 1).encode() + b"\n", 0)
        os.ftruncate(descriptor, _RESERVED_BYTES)
        os.fsync(descriptor)
        _sync_folder(self.path.parent)
        return key

    def _name(self) -> None:
        """Unlike a rename, a link does not replace a file that came in between; where there are none, rename."""
        try:
            os.link(self.pending, self.path)
        except FileExistsError:
            raise
        except OSError:
            self.pending.rename(self.path)


def environment(credential: Credential) -> str:
    """The credential as lines of a worker's environment."""
    lines = [f"VOX_MESH_TOKEN={shlex.quote(credential.mesh_token.get_secret_value())}"]
    if credential.scope_id:
        lines.append(f"VOX_MESH_SCOPE_ID={shlex.quote(credential.scope_id)}")
    return "\n".join(lines) + "\n"


def _lock(descriptor: int) -> None:
    """Raises BlockingIOError if another run holds the file, or has just ended and taken its name away."""
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if os.fstat(descriptor).st_nlink == 0:
        raise BlockingIOError


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
