"""The runbook's page of a code, for the HTML report: what a reader would look up next is in the same file."""

from collections.abc import Iterator
from functools import cache
from importlib.resources import files

from markdown_it import MarkdownIt
from markdown_it.token import Token

_LINKS = ("link_open", "link_close")
_BELOW = {"h2": "h4", "h3": "h5"}
"""A page's headings are below that of the cause."""


@cache
def runbook_html(code: str) -> str | None:
    """The page as HTML, without its title and without links to other pages; None for a code of someone else's check.

    The text is the program's own; a report only names the code.
    """
    if not code.replace(".", "").replace("-", "").isalnum():
        return None
    page = files("preflight_runbook").joinpath(f"{code}.md")
    if not page.is_file():
        return None
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = list(_body(reader.parse(page.read_text(encoding="utf-8"))))
    return str(reader.renderer.render(tokens, reader.options, {}))


def _body(tokens: list[Token]) -> Iterator[Token]:
    """Without the title, and with headings that fit."""
    in_title = False
    for token in tokens:
        if token.tag == "h1":
            in_title = token.type == "heading_open"
        elif not in_title:
            token.tag = _BELOW.get(token.tag, token.tag)
            if token.children:
                token.children = [child for child in token.children if child.type not in _LINKS]
            yield token
