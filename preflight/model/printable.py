"""Make untrusted text safe for lines and terminals: one place for everything that is printed."""

EXCERPT_CHARACTERS = 160
_BREAKS = str.maketrans("\n\r\t", "   ")
_KEPT = "\n\t\u00a0\u202f"
"""Line feeds, tabs, and the two spaces that do not separate a number from its unit."""


def printable(text: str) -> str:
    """The text without control, format and bidirectional characters, surrogates and non-characters (U+FFFE).

    Each is replaced by U+FFFD, so that none reaches a terminal or XML; line feeds and tabs stay.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in _KEPT else "\ufffd" for c in text.replace("\r\n", "\n"))


def one_line(text: str) -> str:
    """The text on one line, so that it cannot start a new line."""
    return text if text.isprintable() else printable(text.translate(_BREAKS))


def excerpt(text: str, most: int = EXCERPT_CHARACTERS) -> str:
    """Untrusted text for a message: one line of at most `most` printable characters."""
    start = text[: 4 * most]  # do not process the rest: it may be megabytes
    line = " ".join("".join(c if c.isprintable() else " " for c in start).split())
    return line if len(line) <= most and start == text else f"{line[:most]}…"


def number_of(things: str, number: int) -> str:
    """Number and noun, such as "1 node" and "2 nodes"."""
    return f"{number} {things.removesuffix('s') if number == 1 else things}"
