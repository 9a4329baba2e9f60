"""Parses what `git grep -z -n` and `git log -p` print into numbered lines; pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_HUNK = re.compile(rb"@@ -\d+(?:,\d+)? \+(\d+)(?:,(\d+))? @@")
VARIABLE_PATTERN = r"VOX_MESH_([A-Z0-9]+_)*(TOKEN|SECRET)"
"""Variables that hold a secret, as a POSIX extended regular expression; `…_TOKEN_FILE` only names a file."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a tracked file. commit: the one that added it; None in the tree that is checked out."""

    path: str
    number: int
    text: str
    commit: str | None = None


def grep_lines(output: bytes) -> Iterator[Line]:
    """The lines of `git grep -z -n PATTERN HEAD`; an incomplete last line is left out."""
    for raw in output.split(b"\n"):
        place, *rest = raw.split(b"\0", 2)
        if len(rest) == 2 and rest[0].isdigit():
            yield Line(_text(place.partition(b":")[2]), int(rest[0]), _text(rest[1]))


def log_lines(output: bytes) -> Iterator[Line]:
    """The added lines of `git log -p --format=%x00%h`."""
    commit = path = ""
    number = left = 0
    for raw in output.split(b"\n"):
        if raw.startswith(b"\0"):
            commit, left = _text(raw[1:]), 0
        elif left == 0 and raw.startswith(b"+++ "):
            path = _text(raw[4:]).strip('"').removeprefix("b/")
        elif left == 0 and (hunk := _HUNK.match(raw)):
            # What looks like a head among the added lines is one of them, so they are counted.
            number, left = int(hunk[1]), int(hunk[2] or b"1")
        elif left and raw.startswith(b"+"):
            yield Line(path, number, _text(raw[1:]), commit)
            number, left = number + 1, left - 1


def commits(output: bytes) -> int:
    """How many commits a `git log --format=%x00%h` shows."""
    return sum(raw.startswith(b"\0") for raw in output.split(b"\n"))


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace").rstrip("\r")
