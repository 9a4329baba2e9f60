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


def test_a_command_inside_a_sentence_stays_together() -> None:
    """Protects the command from a line end in its middle, where the line has room for it."""
    out = StringIO()
    command = "sysctl -w net.ipv4.ping_group_range='0 2147483647'"
    Console(file=out, width=60).print(Page(f"Let every user of this node send echoes: `{command}`.\n\n* So `a b c`."))
    assert command in out.getvalue()
    assert "So a b c." in out.getvalue()
    assert "\ue000" not in out.getvalue()


def test_a_long_command_has_a_block() -> None:
    """Inside a sentence, a command that is longer than the line is wrapped, and pasted broken."""
    blocks = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
    inside = {page.name: re.findall(r"`([^`]+)`", blocks.sub("", page.read_text(encoding="utf-8"))) for page in PAGES}
    assert {name: long for name, said in inside.items() if (long := [each for each in said if len(each) > 72])} == {}
