"""`watch --exec`: the words of the option, and the environment of the command."""

import asyncio

import click
import pytest

from preflight.cli import notify as module
from preflight.cli.notify import command_of, notify, variables
from preflight.report.entries import Entry

ENTRY = Entry("worse", "reach.no-forward b: none arrive", "reach.no-forward", "b", "forward", ("fix: ip route",))


def test_words_are_split_as_a_shell_would_and_no_shell_is_started() -> None:
    """Quotes keep words together; a variable or a pipe has no meaning."""
    assert command_of("notify-send 'the overlay' $HOME | x") == ("notify-send", "the overlay", "$HOME", "|", "x")
    assert command_of(None) == ()


@pytest.mark.parametrize("text", ["", "  ", "'open"])
def test_what_is_no_command_is_refused_at_the_start(text: str) -> None:
    """Not at the first change, which may come in a week."""
    with pytest.raises(click.UsageError, match="--exec"):
        command_of(text)


def test_the_environment_holds_the_entry() -> None:
    """No byte that an environment cannot hold ends the watch."""
    given = variables(Entry("now", "a\0b", target="c"))
    assert given["PREFLIGHT_CHANGE_TEXT"] == "ab"
    assert variables(ENTRY)["PREFLIGHT_CHANGE_ADVICE"] == "fix: ip route"
    assert set(given) == {
        f"PREFLIGHT_CHANGE_{name}" for name in ("TREND", "CODE", "TARGET", "DIRECTION", "TEXT", "ADVICE")
    }


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("true",), ""),
        (("false",), "false ended with exit code 1"),
        (("/no/such",), "/no/such: No such file or directory"),
    ],
)
def test_how_it_ended_is_said(command: tuple[str, ...], said: str) -> None:
    """A watch goes on; its reader learns that no message was sent."""
    assert asyncio.run(notify(command, ENTRY)) == said


def test_a_command_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """It must not hold up the rounds for ever."""
    monkeypatch.setattr(module, "LIMIT_S", 0.2)
    assert asyncio.run(notify(("sleep", "60"), ENTRY)) == "sleep was ended after 0 s"
