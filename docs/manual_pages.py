"""Writes man pages and completions from the program itself, as the wheel ships them. `bin/man` runs it."""

import re
import sys
from pathlib import Path

import click
from click.shell_completion import get_completion_class
from click_man.core import write_man_pages

from preflight import __version__
from preflight.cli.main import build
from preflight.cli.manual import EXAMPLES, sections

NAME = "preflight"
PAGES = "man/man1"
COMPLETIONS = {
    "bash": "bash-completion/completions/preflight",
    "zsh": "zsh/site-functions/_preflight",
    "fish": "fish/vendor_completions.d/preflight.fish",
}
"""Where each shell looks below a `share` folder."""


def write_pages(folder: Path) -> None:
    """One page a command, with exit status and examples."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.1"):
        old.unlink()
    lazy = build()
    context = click.Context(lazy)
    commands = {name: lazy.get_command(context, name) for name in lazy.list_commands(context)}
    eager = click.Group(name=NAME, help=lazy.help, params=lazy.params, commands=commands)
    # Without a date a page changes only when the program does.
    write_man_pages(NAME, eager, version=__version__, target_dir=str(folder), date=" ")
    for words in EXAMPLES:
        page = folder / f"{'-'.join((NAME, *words.split()))}.1"
        text = re.sub(r"[ \t]+$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
        page.write_text(text.rstrip("\n") + "\n" + sections(words), encoding="utf-8")


def write_completions(share: Path) -> None:
    """The script of each shell, which asks the program for the words."""
    for shell, place in COMPLETIONS.items():
        completer = get_completion_class(shell)
        assert completer is not None
        text = completer(build(), {}, NAME, "_PREFLIGHT_COMPLETE").source()
        (share / place).parent.mkdir(parents=True, exist_ok=True)
        (share / place).write_text(text.strip("\n") + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]) / PAGES)
    write_completions(Path(sys.argv[1]))
