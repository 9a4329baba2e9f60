"""The captures that a report names, if they exist. The report may come from anyone and name any file."""

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
    """files: content by result id. left_out: path in the report to the reason why its file is missing."""

    files: Mapping[str, bytes]
    left_out: Mapping[str, str]


def kept(report: Report, parent: Path) -> Kept:
    """Read the folder that the report's run made next to it: regular files, no links, not too large."""
    files: dict[str, bytes] = {}
    left_out: dict[str, str] = {}
    left = LARGEST_BYTES
    with _folder(parent / folder_of(report)) as folder:
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
    """An open folder that is not a link; None if there is none."""
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
    """The file of that name in the folder, ignoring the folder in the path; else the reason."""
    if folder is None or path.suffix != ".pcap":
        return None, "it is not in the folder of the report's captures"
    try:
        # Non-blocking: opening a pipe without a writer would block.
        file = os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except (OSError, ValueError):
        return None, "it is not in the folder of the report's captures"
    about = os.fstat(file)
    if not stat.S_ISREG(about.st_mode) or about.st_size > left:
        os.close(file)
        return None, "it is too large" if stat.S_ISREG(about.st_mode) else "it is not a regular file"
    with os.fdopen(file, "rb") as stream:
        return stream.read(left), ""
