"""The file for the credential that a one-time token buys: reserved before the token is spent, and written whole or not.

It holds `NAME=value` lines that a worker can use as they are: `set -a; . FILE`, systemd's `EnvironmentFile=`.
During an exchange a hidden file next to it holds the exchange's idempotency key. A run that follows one that was
killed, or that lost the answer, asks again with this key and gets the same answer. It uses a hidden file only if this
user alone can have written it: anyone who could plant a key could use it to ask for the credential.
"""

import os
import re
import secrets
import shlex
from contextlib import suppress
from pathlib import Path

from preflight.model.control import Credential, CredentialsError
from preflight.net.control import own_files
from preflight.net.control.own_files import NotOursError

_RESERVED_BYTES = 4096
_PENDING = b"# idempotency key of an exchange under way: "


class CredentialsFile:
    """Reserve it, write it, release it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pending = path.with_name(f".{path.name}.pending")
        self._folder: int | None = None
        self._descriptor: int | None = None

    def reserve(self) -> str:
        """Prove that the file can be written and reserve its space; returns the exchange's idempotency key.

        Raises CredentialsError.
        """
        if os.path.lexists(self.path):
            raise CredentialsError(f"{self.path} exists and is not overwritten; move it away or name another file")
        try:
            self._folder = own_files.open_folder(self.path.parent)
            own_files.refuse_shared(self._folder)
            return self._take_up(self._folder)
        except CredentialsError as error:
            trouble = str(error)
        except NotOursError as error:
            trouble = f"{self.path.parent} is not safe for a secret: {error}; name a file in a private folder"
        except BlockingIOError:
            trouble = f"another run is about to write {self.path}"
        except OSError as error:
            trouble = f"{self.path} cannot be written: {error.strerror}"
        self.release(keep=True)
        raise CredentialsError(trouble)

    def write(self, credential: Credential) -> None:
        """Put the credential in place: content, sync, name, sync of the folder. Raises CredentialsError."""
        if self._descriptor is None or self._folder is None:
            raise CredentialsError(f"{self.path} was not reserved")
        content = environment(credential).encode()
        try:
            own_files.replace_content(self._descriptor, content)
            _name(self._folder, self._descriptor, self.path.name, content)
            os.fsync(self._folder)
        except OSError as error:
            # Keep the hidden file: it holds the only copy of the credential.
            self.release(keep=True)
            raise CredentialsError(f"{self.path} cannot be written ({error.strerror}); see {self.pending}") from None
        self.release()

    def release(self, *, keep: bool = False) -> None:
        """Undo the reservation. keep: leave the hidden file for a later run, which must ask with the same key."""
        if self._descriptor is not None and self._folder is not None:
            if not keep:
                with suppress(OSError):
                    own_files.remove(self._folder, self.pending.name, self._descriptor)
            os.close(self._descriptor)
        if self._folder is not None:
            os.close(self._folder)
        self._descriptor = self._folder = None

    def _take_up(self, folder: int) -> str:
        """The key of an earlier run's hidden file, or a new one in a new file. Raises CredentialsError, OSError."""
        try:
            self._descriptor = own_files.create(folder, self.pending.name)
        except FileExistsError:
            return self._go_on(folder)
        try:
            own_files.hold(self._descriptor)
            return _new_key(folder, self._descriptor)
        except BlockingIOError:  # another run locked it first
            raise
        except OSError:
            self.release()
            raise

    def _go_on(self, folder: int) -> str:
        """The key that an earlier run of this user left. Raises CredentialsError, OSError."""
        try:
            own_files.refuse_shared(folder, with_group=True)
            self._descriptor = own_files.open_own(folder, self.pending.name)
            own_files.hold(self._descriptor)
            return self._left_key(self._descriptor) or _new_key(folder, self._descriptor)
        except FileNotFoundError:  # the run that made it has just removed it
            raise BlockingIOError from None
        except NotOursError as error:
            raise CredentialsError(
                f"{self.pending} is in the way and was not made by an earlier run of this user: {error}; "
                "look at it and move it away, or name another file"
            ) from None

    def _left_key(self, descriptor: int) -> str | None:
        """The key in the hidden file; None if its run was killed before the key was on disk, so before it asked.

        Raises CredentialsError where it holds a credential, NotOursError where it holds something else.
        """
        found = os.pread(descriptor, _RESERVED_BYTES + 1, 0)
        if not found.strip(b"\0"):
            return None
        if found.startswith(b"VOX_MESH_TOKEN="):
            raise CredentialsError(f"an earlier run left its credential in {self.pending}: mv it to {self.path}")
        left = re.fullmatch(re.escape(_PENDING) + rb"([0-9a-f]{32}) *\n", found)
        if left is None:
            raise NotOursError("it holds something else")
        return left[1].decode()


def _name(folder: int, descriptor: int, name: str, content: bytes) -> None:
    """Give an open file with this content its name; unlike a rename, this never replaces another file."""
    try:
        # By its descriptor: the hidden name may be another file's by now.
        os.link(f"/proc/self/fd/{descriptor}", name, dst_dir_fd=folder, follow_symlinks=True)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        _write_new(folder, name, content)


def environment(credential: Credential) -> str:
    """The credential as lines of a worker's environment."""
    lines = [f"VOX_MESH_TOKEN={shlex.quote(credential.mesh_token.get_secret_value())}"]
    if credential.scope_id:
        lines.append(f"VOX_MESH_SCOPE_ID={shlex.quote(credential.scope_id)}")
    return "\n".join(lines) + "\n"


def _new_key(folder: int, descriptor: int) -> str:
    """A new key, safely on disk, in a file that is as large as what will replace it."""
    key = secrets.token_hex(16)
    own_files.replace_content(descriptor, (_PENDING + key.encode()).ljust(_RESERVED_BYTES - 1) + b"\n")
    os.fsync(folder)
    return key


def _write_new(folder: int, name: str, content: bytes) -> None:
    """A new file with this content, or none."""
    descriptor = own_files.create(folder, name)
    try:
        own_files.replace_content(descriptor, content)
    except OSError:
        own_files.remove(folder, name, descriptor)
        raise
    finally:
        os.close(descriptor)
