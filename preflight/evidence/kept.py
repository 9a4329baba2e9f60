"""The captures that a report names, as far as they are there: a report may be somebody else's, and name any file."""

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from preflight.evidence.capture import folder_of
from preflight.report.model import Report

LARGEST_BYTES = 64_000_000
"""Of all captures together; a run keeps at most 20 000 packets."""


class Kept(NamedTuple):
    """files: content by result id. left_out: by the path that the report names why its file is not among them."""

    files: Mapping[str, bytes]
    left_out: Mapping[str, str]


def kept(report: Report, beside: Path) -> Kept:
    """Read what lies in the folder that the report's run made beside it: regular files, no links, not too large."""
    files: dict[str, bytes] = {}
    left_out: dict[str, str] = {}
    left = LARGEST_BYTES
    with _folder(beside / folder_of(report)) as folder:
        for id, path in _named(report):
            content, why = _read(folder, Path(path), left)
            if content is None or id in files:
                left_out[path] = why
            else:
                files[id] = content
                left -= len(content)
    return Kept(files, left_out)


def _named(report: Report) -> Iterator[tuple[str, str]]:
    return ((result.id, entry.path) for result in report.results for entry in result.evidence if entry.path)


@contextmanager
def _folder(path: Path) -> Iterator[int | None]:
    """An open folder that is not a link; None where there is none."""
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        yield folder
    finally:
        os.close(folder)


def _read(folder: int | None, path: Path, left: int) -> tuple[bytes | None, str]:
    """The file of that name in the folder, whatever folder the path says; else why not."""
    if folder is None or path.suffix != ".pcap":
        return None, "it is not in the folder of the report's captures"
    try:
        # Not blocking: a pipe without a writer would not even open.
        file = os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except (OSError, ValueError):
        return None, "it is not in the folder of the report's captures"
    about = os.fstat(file)
    if not stat.S_ISREG(about.st_mode) or about.st_size > left:
        os.close(file)
        return None, "it is too large" if stat.S_ISREG(about.st_mode) else "it is no regular file"
    with os.fdopen(file, "rb") as stream:
        return stream.read(left), ""
