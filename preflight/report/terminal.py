"""Lines for a terminal; untrusted text can never start a line."""

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

_INDENT = "  "


def hanging(console: Console, text: Text) -> None:
    """Print one line; indent the rest of a long one: only our own text starts at the left edge."""
    first, *more = text.wrap(console, max(console.width - len(_INDENT), 1)) or [text]
    console.print(first, soft_wrap=True)
    for line in more:
        console.print(Text(_INDENT).append(line), soft_wrap=True)


def cut(text: str, width: int) -> str:
    """The text, or as many of its words as fit, with `…`."""
    if len(text) <= width:
        return text
    start = text[: max(width - 1, 0)]
    words, blank, _ = start.rpartition(" ")
    return f"{(words if blank and len(words) > width // 2 else start).rstrip(' ,;:')}…"


def rows(lines: Iterable[str], width: int) -> int:
    """How many rows of a terminal the lines take: a command is not wrapped by us, but by the terminal."""
    return sum(max(1, -(-Text.from_ansi(line).cell_len // width)) for line in lines)
