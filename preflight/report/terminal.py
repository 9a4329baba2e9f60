"""Lines for a person at a terminal, of which no stranger's text can begin one of its own."""

from rich.console import Console
from rich.text import Text

_INDENT = "  "


def hanging(console: Console, text: Text) -> None:
    """Print one line; where it is too long, what goes on below is indented: only we begin a line at its edge."""
    first, *more = text.wrap(console, max(console.width - len(_INDENT), 1)) or [text]
    console.print(first, soft_wrap=True)
    for line in more:
        console.print(Text(_INDENT).append(line), soft_wrap=True)
