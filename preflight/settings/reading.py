"""How the settings' own files and variables are read: bounded, and each mistake as one `SettingsError`."""

import os
from collections.abc import Mapping, Sequence
from errno import EFBIG
from pathlib import Path

from preflight.files import beginning
from preflight.proto.control.url import without_secrets
from preflight.proto.responder.frame import shared_key

LARGEST_FILE = 1 << 20
"""Bytes of a settings, token or key file."""


class SettingsError(Exception):
    """A configuration that cannot be used; the text names the thing and what to do, without a URL's secrets."""

    def __init__(self, message: str) -> None:
        super().__init__(without_secrets(message))


def read_variable(environ: Mapping[str, str], *names: str) -> str | None:
    """The first of the variables that is set and not blank, without blanks around it."""
    return next((value for name in names if (value := environ.get(name, "").strip())), None)


def bounded(path: Path) -> bytes:
    """The content of a file. More than a megabyte is a mistake: a device would never end. Raises OSError."""
    content = beginning(path, LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise OSError(EFBIG, os.strerror(EFBIG))
    return content


def read_secret(path: Path, what: str) -> str:
    """The text of a secret file without its trailing newline. Raises SettingsError; never shows the content."""
    try:
        text = _content(path, what).decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise SettingsError(f"{what}: {path}: cannot be read as UTF-8 text") from None
    if not text.strip():
        raise SettingsError(f"{what}: {path} is empty")
    return text


def secret_bytes(path: Path, what: str) -> bytes:
    """The bytes of a secret file, whatever they are. Raises SettingsError if it cannot be read."""
    return _content(path, what)


def find_secret(environ: Mapping[str, str], variables: Sequence[str], path: Path | None, what: str) -> str | None:
    """A secret from the first of the variables that is set, or else from its file. Raises SettingsError."""
    value = read_variable(environ, *variables)
    return read_secret(path, what) if value is None and path is not None else value


def secret_text(path: Path) -> str:
    """What `read_secret` returns, or nothing where it fails: for code that only looks for secrets."""
    try:
        return read_secret(path, path.name)
    except SettingsError:
        return ""


def read_key(path: Path) -> bytes:
    """The shared key of the responders: the file's bytes without the trailing newline, at least 16 of them."""
    try:
        return shared_key(_content(path, "responder key"))
    except ValueError as error:
        raise SettingsError(
            f"responder key: {path} {error}; make one with: umask 077; head -c 32 /dev/urandom | base64 > {path}"
        ) from None


def _content(path: Path, what: str) -> bytes:
    try:
        return bounded(path)
    except IsADirectoryError:
        reason = " is a directory"
    except FileNotFoundError:
        reason = ": no such file"
    except PermissionError:
        reason = ": not readable by this user"
    except OSError as error:
        reason = f": cannot be read ({error.strerror})"
    raise SettingsError(f"{what}: {path}{reason}")
