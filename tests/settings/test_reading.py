"""How settings, token and key files are read: bounded, and one sentence for each mistake."""

import os
from pathlib import Path

import pytest

from preflight.settings.reading import LARGEST_FILE, SettingsError, find_secret, read_key, read_secret, secret_text

KEY = "0123456789abcdef"


@pytest.mark.parametrize("read", [read_key, lambda path: read_secret(path, "control.token_file")])
@pytest.mark.parametrize(
    ("lure", "why"),
    [("nothing", "no such file"), ("folder", "is a directory"), ("large", "cannot be read"), ("pipe", "empty|0 bytes")],
)
def test_a_file_that_cannot_be_read_is_named(read: object, lure: str, why: str, tmp_path: Path) -> None:
    """Both readers say the same of the same mistake, and neither waits for a pipe that nobody writes to."""
    path = tmp_path / lure
    if lure == "folder":
        path.mkdir()
    elif lure == "large":
        path.write_bytes(bytes(LARGEST_FILE + 1))
    elif lure == "pipe":
        os.mkfifo(path)
    assert callable(read)
    with pytest.raises(SettingsError, match=why) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_the_newline_of_an_editor_does_not_belong_to_a_secret(tmp_path: Path) -> None:
    """A key keeps every other byte, also blanks: both ends read the same file."""
    path = tmp_path / "k"
    path.write_text(f" {KEY} \r\n")
    assert read_key(path) == f" {KEY} ".encode()
    assert read_secret(path, "token") == f" {KEY} "


def test_a_secret_that_is_no_text_is_refused_and_not_shown(tmp_path: Path) -> None:
    """A bearer goes into a header, which is text; a caller that only looks for secrets finds none in it."""
    path = tmp_path / "k"
    path.write_bytes(b"\xff" + KEY.encode())
    with pytest.raises(SettingsError, match="cannot be read as UTF-8 text") as caught:
        read_secret(path, "token")
    assert KEY not in str(caught.value)
    assert secret_text(path) == ""


def test_a_variable_wins_over_a_file(tmp_path: Path) -> None:
    """The first that is set and not blank; then the file is not even opened."""
    path = tmp_path / "token"
    path.write_text("of-the-file\n")
    assert find_secret({"A": " ", "B": " of-b "}, ("A", "B"), tmp_path / "none", "token") == "of-b"
    assert find_secret({"A": " "}, ("A", "B"), path, "token") == "of-the-file"
    assert find_secret({}, ("A", "B"), None, "token") is None
