"""Shell completion and man pages, which come from the commands themselves."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from preflight.cli.group import group
from preflight.engine.catalog import load_catalog

ROOT = Path(__file__).parents[2]
PROGRAM = Path(sys.executable).with_name("preflight")


def completed(*words: str) -> set[str]:
    """What bash offers for the last of these words."""
    done = subprocess.run(
        [str(PROGRAM)],
        env={
            "PATH": os.environ["PATH"],
            "_PREFLIGHT_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(("preflight", *words)),
            "COMP_CWORD": str(len(words)),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    return {line.partition(",")[2] for line in done.stdout.splitlines()}


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("re",), {"report", "responder"}),
        (("report", "m"), {"merge"}),
        (("run", "mtu.p"), {"mtu.path"}),
        (("explain", "mtu.bl"), {"mtu.black-hole"}),
        (("all", "--output", "mark"), {"markdown"}),
        (("all", "--fail-on", "w"), {"warn"}),
    ],
)
def test_words_are_completed(words: tuple[str, ...], offered: set[str]) -> None:
    """Commands, checks, codes and formats need not be looked up."""
    assert completed(*words) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell: str) -> None:
    """What the README says to source."""
    environ = {"PATH": os.environ["PATH"], "_PREFLIGHT_COMPLETE": f"{shell}_source"}
    done = subprocess.run([str(PROGRAM)], env=environ, capture_output=True, text=True, check=True)
    assert "_PREFLIGHT_COMPLETE" in done.stdout


def test_help_is_a_command_too() -> None:
    """`preflight help` was "did you mean 'schema'"; it is what people type first."""
    runner = CliRunner()
    assert runner.invoke(group(), ["help"]).output == runner.invoke(group(), ["--help"]).output
    for words in (["all"], ["report", "merge"]):
        assert runner.invoke(group(), ["help", *words]).output == runner.invoke(group(), [*words, "--help"]).output
    assert "there is no command 'rnu'; did you mean 'run'?" in runner.invoke(group(), ["help", "rnu"]).output


def test_an_unknown_command_gets_the_nearest_in_each_group() -> None:
    """The commands of `report` and `lab` are mistyped as often as those of the program."""
    runner = CliRunner()
    for words, said in (
        (["hlep"], "did you mean 'help'?"),
        (["report", "rendr"], "did you mean 'render'?"),
        (["lab", "hlp"], "did you mean 'help'?"),
        (["report", "zzz"], "`preflight report --help` lists them"),
    ):
        done = runner.invoke(group(), words, prog_name="preflight")
        assert (done.exit_code, said in done.output) == (2, True), words
    assert "render" in runner.invoke(group(), ["report", "help"]).output


def test_the_help_tells_exit_codes_and_examples() -> None:
    """What a pipeline branches on, and what to type, without a web page."""
    shown = CliRunner().invoke(group(), ["all", "--help"]).output
    assert "  3    nothing failed, but something could not be decided\n" in shown
    assert "  preflight all --peer 10.66.0.2=b\n" in shown


def test_the_catalogue_shows_codes_and_tags() -> None:
    """What the help of `list` promises."""
    shown = CliRunner().invoke(group(), ["list"]).output.splitlines()
    start = next(number for number, line in enumerate(shown) if line.startswith("udp.nat-timeout "))
    assert [line.split()[0] for line in shown[start + 1 : start + 4]] == ["needs", "tags", "codes"]
    assert max(len(line) for line in shown if line.startswith(" ")) <= 80


def test_explain_takes_checks_and_answers_unknown_words() -> None:
    """A reader types what the report shows: a code or a check; a typing mistake gets the nearest name."""
    runner = CliRunner()
    page = runner.invoke(group(), ["explain", "mtu.path"])
    assert page.exit_code == 0
    assert page.output.startswith("# mtu.path — ")
    assert "* `mtu.black-hole`: " in page.output
    for word, nearest in (
        ("mtu-path", "mtu.path"),
        ("mtu.blackhole", "mtu.black-hole"),
        ("handshake", "overlay.handshake-stale, overlay.no-handshake"),
        ("Raw sockets", "host.no-raw-socket"),
    ):
        said = runner.invoke(group(), ["explain", word])
        assert said.exit_code == 2
        assert f"nearest: {nearest}" in said.output, word
    assert "`preflight list`" in runner.invoke(group(), ["explain", "zzz"]).output


def test_every_check_has_a_page() -> None:
    """Each id that a report names can be looked up."""
    for check in load_catalog(third_party=False).checks:
        shown = CliRunner().invoke(group(), ["explain", check.id])
        assert shown.exit_code == 0
        assert f"# {check.id} — {check.title}" in shown.output.splitlines()
