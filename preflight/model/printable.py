"""Text of strangers made safe for where lines and terminals count: one place for all that is printed."""

EXCERPT_CHARACTERS = 160
_BREAKS = str.maketrans("\n\r\t", "   ")
_KEPT = "\n\t\u00a0\u202f"
"""Lines, columns, and the two spaces that do not break a number from its unit."""


def printable(text: str) -> str:
    """The text without control, format and bidirectional characters, surrogates and what is no character (U+FFFE).

    Each is replaced by U+FFFD, so that none reaches a terminal or XML; line feeds and tabs stay.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in _KEPT else "\ufffd" for c in text.replace("\r\n", "\n"))


def one_line(text: str) -> str:
    """The same on one line: nobody can begin a line of their own with it."""
    return printable(text.translate(_BREAKS))


def excerpt(text: str, most: int = EXCERPT_CHARACTERS) -> str:
    """A stranger's text for a message: one line of printable characters, `most` of them at most."""
    start = text[: 4 * most]  # what is left out is not looked at: it may be megabytes
    line = " ".join("".join(c if c.isprintable() else " " for c in start).split())
    return line if len(line) <= most and start == text else f"{line[:most]}…"


def number_of(things: str, number: int) -> str:
    """As "1 node" and "2 nodes" of the nodes."""
    return f"{number} {things.removesuffix('s') if number == 1 else things}"
