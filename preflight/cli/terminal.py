"""What the terminal can show: its width, and whether colours are wanted."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

PLAIN_WIDTH = 80
"""Columns where there is no terminal."""


def width_of(stream: TextIO) -> int:
    """Columns of the terminal behind the stream."""
    return shutil.get_terminal_size().columns if stream.isatty() else PLAIN_WIDTH


def colored(stream: TextIO, *, no_color: bool = False) -> bool:
    """Whether to write colours: not against NO_COLOR (no-color.org); for FORCE_COLOR even into a file or a pipe."""
    if no_color or os.environ.get("NO_COLOR"):
        return False
    forced = os.environ.get("FORCE_COLOR")
    if forced:
        return forced != "0"
    return stream.isatty() and os.environ.get("TERM") != "dumb"


@contextmanager
def announced(text: str, *, quiet: bool = False) -> Iterator[None]:
    """Show a line on the terminal while the body loads what it needs; nothing if standard error is a file or a pipe."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    sys.stderr.write(text)
    sys.stderr.flush()
    try:
        yield
    finally:
        sys.stderr.write("\r\x1b[2K")
