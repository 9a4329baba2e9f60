"""Colours and width: what the terminal and the environment ask for."""

from io import StringIO

import pytest

from preflight.cli.outputs import Output, write_texts
from preflight.cli.terminal import announced, colored, width_of


class Screen(StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        """Yes."""
        return True


@pytest.mark.parametrize(
    ("environment", "terminal", "no_color", "expected"),
    [
        ({}, True, False, True),
        ({}, False, False, False),
        ({}, True, True, False),
        ({"NO_COLOR": "1"}, True, False, False),
        ({"NO_COLOR": ""}, True, False, True),
        ({"FORCE_COLOR": "1"}, False, False, True),
        ({"FORCE_COLOR": "0"}, True, False, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False, False),
        ({"FORCE_COLOR": "1"}, True, True, False),
        ({"TERM": "dumb"}, True, False, False),
    ],
)
def test_who_decides_about_colours(
    environment: dict[str, str], terminal: bool, no_color: bool, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protects logs from escapes, and a CI that shows colours from having none."""
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert colored(Screen() if terminal else StringIO(), no_color=no_color) is expected


def test_colours_that_were_asked_for_reach_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    """click takes escapes out of what goes into a pipe; FORCE_COLOR asks for them."""
    write_texts([(Output("text", None), "\x1b[1mbold\x1b[0m\n")])
    assert capsys.readouterr().out == "\x1b[1mbold\x1b[0m\n"


def test_a_pipe_has_eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file must not depend on the size of somebody's window."""
    monkeypatch.setenv("COLUMNS", "132")
    assert (width_of(StringIO()), width_of(Screen())) == (80, 132)


def test_the_first_line_is_erased(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the report from a rest of what was shown while the program loaded, also after an error."""
    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    with pytest.raises(ValueError, match="bad"), announced("loading"):
        raise ValueError("bad")
    assert screen.getvalue() == "loading\r\x1b[2K"
    monkeypatch.setattr("sys.stderr", log := StringIO())
    with announced("loading"):
        pass
    assert log.getvalue() == ""
