"""Lines for a terminal; untrusted text can never start a line."""

from rich.console import Console
from rich.text import Text

_INDENT = "  "


def hanging(console: Console, text: Text) -> None:
    """Print one line; indent the rest of a long one: only our own text starts at the left edge."""
    first, *more = text.wrap(console, max(console.width - len(_INDENT), 1)) or [text]
    console.print(first, soft_wrap=True)
    for line in more:
        console.print(Text(_INDENT).append(line), soft_wrap=True)
