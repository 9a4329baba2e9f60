"""A page of the runbook on a terminal: sentences are wrapped, code never."""

from typing import ClassVar

from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, Markdown, MarkdownElement
from rich.segment import Segment
from rich.style import Style

_BLANK = "\ue000"
"""Instead of a blank in a command inside a sentence, until the lines are made: there no line ends."""


class _Code(CodeBlock):
    """A block of code, each line as it is: wrapped, or filled up with blanks, it could not be pasted."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The lines as they are."""
        style = console.get_style("markdown.code_block", default=Style())
        for line in str(self.text).rstrip("\n").split("\n"):
            yield Segment(line, style)
            yield Segment.line()


class Page(Markdown):
    """A page in Markdown."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = Markdown.elements | {"fence": _Code, "code_block": _Code}

    def __init__(self, text: str) -> None:
        super().__init__(text)
        for token in self.parsed:
            for part in token.children or ():
                if part.type == "code_inline":
                    part.content = part.content.replace(" ", _BLANK)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The page, with its blanks."""
        for part in super().__rich_console__(console, options):
            yield part._replace(text=part.text.replace(_BLANK, " ")) if isinstance(part, Segment) else part
