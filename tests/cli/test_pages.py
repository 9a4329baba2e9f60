"""Pages of the runbook on a narrow terminal: each command in them can be pasted."""

import re
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from preflight.cli.pages import Page

PAGES = sorted((Path(__file__).parents[2] / "runbook").glob("*.md"))
CODE = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("color", [False, True])
def test_no_line_of_code_is_wrapped(color: bool) -> None:
    """Protects a reader who pastes a command from a page: every line is whole, without blanks behind it."""
    out = StringIO()
    console = Console(file=out, width=60, force_terminal=True, color_system="standard" if color else None)
    code = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        code += [line.strip() for block in CODE.findall(text) for line in block.splitlines() if line.strip()]
        console.print(Page(text), crop=False)
    shown = {re.sub(r"\x1b\[[0-9;]*m", "", line).strip() for line in out.getvalue().split("\n")}
    assert len(code) > 300
    assert not [line for line in code if line not in shown]
