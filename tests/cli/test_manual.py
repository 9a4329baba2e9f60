"""Man pages, examples and completions are the program's own, for every command."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from preflight.cli.group import group
from preflight.cli.manual import EXAMPLES, EXIT_CODES, OWN_EXIT_CODES

ROOT = Path(__file__).parents[2]
SHARE = ROOT / "share"
pytestmark = pytest.mark.xdist_group("manual")  # written once, on one worker


def commands(of: click.Group, words: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Every command by its words, the program itself by none."""
    yield " ".join(words), of
    context = click.Context(of)
    for name in of.list_commands(context):
        command = of.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*words, name))
        else:
            yield " ".join((*words, name)), command


ALL = dict(commands(group()))


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `bin/man` would write now."""
    folder = tmp_path_factory.mktemp("share")
    subprocess.run([sys.executable, str(ROOT / "docs" / "manual_pages.py"), str(folder)], check=True)
    return folder


def test_every_command_has_exit_codes_and_examples() -> None:
    """A command that is new needs both; one that is gone must not stay in the manual."""
    assert set(EXAMPLES) == set(ALL)
    assert set(OWN_EXIT_CODES) <= set(ALL)
    assert all(OWN_EXIT_CODES.get(words, EXIT_CODES) for words in ALL)


@pytest.mark.parametrize("words", EXAMPLES)
def test_every_example_can_be_typed(words: str) -> None:
    """The command exists, and click accepts the options; nothing is run."""
    for line, _ in EXAMPLES[words]:
        _, *typed = shlex.split(line)
        own, known = next((n, ALL[k]) for n in (2, 1) if (k := " ".join(typed[:n])) in ALL)
        assert " ".join(typed[:own]).startswith(words)
        assert known.make_context(typed[0], list(typed[own:])).params is not None


def test_what_the_wheel_ships_is_what_the_program_says(fresh: Path) -> None:
    """A page of last month's options misleads: run bin/man."""
    written = {path.relative_to(fresh): path.read_text(encoding="utf-8") for path in fresh.rglob("*") if path.is_file()}
    shipped = {path.relative_to(SHARE): path.read_text(encoding="utf-8") for path in SHARE.rglob("*") if path.is_file()}
    assert set(written) == set(shipped), "run bin/man"
    assert [str(name) for name in written if written[name] != shipped[name]] == [], "run bin/man"


@pytest.mark.parametrize("words", ALL)
def test_every_page_has_exit_status_and_examples(words: str) -> None:
    """In the order of man-pages(7), and each once."""
    page = SHARE / "man" / "man1" / f"{'-'.join(('preflight', *words.split()))}.1"
    titles = re.findall(r"^\.SH (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert titles[-2:] == ["EXIT STATUS", "EXAMPLES"]
    assert len(titles) == len(set(titles))


def test_each_shell_finds_its_script() -> None:
    """bash loads by the command's name, zsh by a tag in the first line, fish by the file's name."""
    assert "complete" in (SHARE / "bash-completion" / "completions" / "preflight").read_text(encoding="utf-8")
    assert (
        (SHARE / "zsh" / "site-functions" / "_preflight").read_text(encoding="utf-8").startswith("#compdef preflight")
    )
    fish = SHARE / "fish" / "vendor_completions.d" / "preflight.fish"
    assert "--command preflight" in fish.read_text(encoding="utf-8")
