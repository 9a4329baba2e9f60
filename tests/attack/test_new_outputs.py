"""New files: nothing is overwritten, and no two documents share one file."""

import os
import threading
from pathlib import Path

import click
import pytest

from preflight import files
from preflight.cli.outputs import STDOUT, captures_parent, parse_outputs, timeline_path
from preflight.control import bootstrap
from preflight.files import WriteError
from tests.attack.writers import alone, command

# Nothing is overwritten that was not to be.


def test_of_many_that_create_one_file_one_wins(tmp_path: Path) -> None:
    """A file that must be new is created once, even if many try at the same time."""
    path, won = tmp_path / "new", []

    def attempt(number: int) -> None:
        try:
            files.create(path, f"{number}")
            won.append(f"{number}")
        except WriteError:
            pass

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [path.read_text()]
    assert alone(path)


@pytest.mark.parametrize("plant", ["file", "dangling link", "fifo"])
@pytest.mark.parametrize("name", ["preflight.yaml", "preflight.schema.json"])
def test_init_overwrites_nothing(name: str, plant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --force `init` writes both of its files as new ones, or none."""
    monkeypatch.chdir(tmp_path)
    there = tmp_path / name
    if plant == "file":
        there.write_text("precious")
    elif plant == "fifo":
        os.mkfifo(there)
    else:
        there.symlink_to("elsewhere")
    before = there.lstat()
    with pytest.raises((WriteError, click.UsageError)):
        command("init")
    assert there.lstat().st_ino == before.st_ino
    assert list(tmp_path.iterdir()) == [there]


@pytest.mark.parametrize("plant", ["file", "dangling link", "fifo"])
def test_a_token_goes_into_a_new_file_or_nowhere(plant: str, tmp_path: Path) -> None:
    """A one-time token goes into no file, link or pipe that another user made earlier."""
    out = tmp_path / "token"
    if plant == "file":
        out.write_text("")
    elif plant == "fifo":
        os.mkfifo(out)
    else:
        out.symlink_to("elsewhere")
    with pytest.raises(bootstrap.BootstrapError, match="token cannot be written: it already exists"):
        bootstrap.write(bootstrap.new_token("1h"), out, None)
    assert alone(out)


def test_token_and_environment_are_two_files(tmp_path: Path) -> None:
    """One name for two secrets is refused, and neither is left."""
    with pytest.raises(bootstrap.BootstrapError):
        bootstrap.write(bootstrap.new_token("1h"), tmp_path / "one", tmp_path / "one")
    assert list(tmp_path.iterdir()) == []


def _same(folder: Path) -> dict[str, tuple[str, str]]:
    (folder / "x").write_text("")
    (folder / "link").symlink_to("x")
    (folder / "hard").hardlink_to(folder / "x")
    (folder / "new-link").symlink_to("new")
    (folder / "sub").mkdir()
    os.mkfifo(folder / "pipe")
    return {
        "link": ("x", "link"),
        "hard link": ("x", "hard"),
        "dangling link": ("new", "new-link"),
        "dot": ("new", "./new"),
        "around": ("new", "sub/../new"),
        "pipe": ("pipe", "./pipe"),
    }


@pytest.mark.parametrize("how", ["link", "hard link", "dangling link", "dot", "around", "pipe"])
def test_two_documents_never_share_a_file(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two outputs that name one file, by whatever names, are refused before anything runs."""
    monkeypatch.chdir(tmp_path)
    first, second = _same(tmp_path)[how]
    with pytest.raises(click.UsageError, match="two outputs name one file"):
        parse_outputs((f"json={first}", f"html={second}"))


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_takes_one_document_by_any_name(name: str) -> None:
    """Standard output under another name is standard output still."""
    with pytest.raises(click.UsageError, match="standard output takes one document"):
        parse_outputs(("text", f"json={name}"))


@pytest.mark.parametrize("how", ["link", "hard link", "dangling link", "dot", "around", "pipe"])
def test_a_timeline_never_shares_the_file_of_a_report(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would destroy the other."""
    monkeypatch.chdir(tmp_path)
    first, second = _same(tmp_path)[how]
    with pytest.raises(click.UsageError, match="two outputs name one file"):
        timeline_path(Path(second), parse_outputs((f"json={first}",)))


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_a_timeline_takes_standard_output_only_where_no_report_does(name: str, tmp_path: Path) -> None:
    """A program that reads standard output gets one kind of document."""
    with pytest.raises(click.UsageError, match="standard output takes one document, not text and timeline"):
        timeline_path(Path(name), parse_outputs(()))
    assert timeline_path(Path(name), parse_outputs((f"json={tmp_path / 'r.json'}",))) == STDOUT


def test_many_documents_may_vanish() -> None:
    """/dev/null takes any number of documents."""
    assert len(parse_outputs(("text=/dev/null", "json=/dev/null"))) == 2


def test_captures_do_not_go_next_to_a_device(tmp_path: Path) -> None:
    """What goes next to the first output goes next to the first that is a file: no folder is made in /dev."""
    assert captures_parent(parse_outputs(("text=/dev/null", f"json={tmp_path}/r.json"))) == tmp_path
    assert captures_parent(parse_outputs(("text=/dev/null",))) == Path()
