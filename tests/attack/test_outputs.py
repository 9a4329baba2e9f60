"""Outputs: whatever exists where a document must go is written, and never replaced or destroyed."""

import os
import socket
import stat
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest

from preflight import files
from preflight.cli.lab import write_scores
from preflight.cli.outputs import Output
from preflight.cli.request import Request
from preflight.cli.session import Session
from preflight.cli.timeline import recording
from preflight.files import Attempts, WriteError
from preflight.model.event import Event
from preflight.report.model import Report
from tests.attack import writers
from tests.attack.writers import NOBODY, REPORT, alone, command, needs_root, render

shared = writers.shared


Writer = Callable[[Path], object]


def _merge(path: Path) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as source:
        source.write(REPORT.model_dump_json())
        source.flush()
        with pytest.raises(SystemExit):  # its exit code tells what the matrix shows
            command("report", "merge", source.name, "--output", f"json={path}")


def _bundle(path: Path) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as source:
        source.write(REPORT.model_dump_json())
        source.flush()
        command("bundle", source.name, "-q", "--output", str(path))


def _init(path: Path) -> None:
    command("init", "--force", "--file", str(path))


def _scores(path: Path) -> None:
    write_scores([], (Output("json", path),), single=False)


def _timeline(path: Path) -> None:
    attempts = Attempts()
    session = Session.prepare(Request(named=("host.clock",)))
    with recording(path, session, attempts) as listener:
        assert listener is not None
        listener(Event(1.0, "pmtu.fast", "b forward", "probe-sent", {}))
    attempts.settle()


WRITERS: dict[str, Writer] = {
    "report render": render,
    "report merge": _merge,
    "bundle": _bundle,
    "init": _init,
    "lab run": _scores,
    "--debug": _timeline,
}


each_writer = pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)


@contextmanager
def reading(path: Path) -> Iterator[list[bytes]]:
    """A program reads a pipe, or listens at a socket, and keeps what comes."""
    got: list[bytes] = []

    def pipe() -> None:
        got.append(path.read_bytes())

    def listener(server: socket.socket) -> None:
        link, _ = server.accept()
        with link, link.makefile("rb") as lines:
            got.append(lines.read())

    if path.is_fifo():
        reader = threading.Thread(target=pipe, daemon=True)
        reader.start()
        yield got
        reader.join(30)
    else:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
            server.listen()
            reader = threading.Thread(target=listener, args=(server,), daemon=True)
            reader.start()
            yield got
            reader.join(30)


def _device(folder: Path, minor: int) -> Path:
    """A node like /dev/null (3) or /dev/full (7) that a test may destroy."""
    path = folder / "device"
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, minor))
    return path


# Nothing is destroyed.


@needs_root
@each_writer
def test_a_device_is_written_never_replaced(writer: Writer, tmp_path: Path) -> None:
    """A device stays the device that it is."""
    device = _device(tmp_path, 3)
    writer(device)
    assert stat.S_ISCHR(device.lstat().st_mode)
    assert alone(device)


@needs_root
@each_writer
def test_a_device_that_is_full_is_reported(writer: Writer, tmp_path: Path) -> None:
    """A device that takes nothing is reported in one sentence, and stays."""
    device = _device(tmp_path, 7)
    with pytest.raises(WriteError, match=r"device cannot be written: No space left on device$"):
        writer(device)
    assert stat.S_ISCHR(device.lstat().st_mode)
    assert alone(device)


@each_writer
def test_a_fifo_is_written_never_replaced(writer: Writer, tmp_path: Path) -> None:
    """A pipe's reader gets the document, and the pipe stays."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with reading(pipe) as got:
        writer(pipe)
    assert len(got[0]) > 2
    assert pipe.is_fifo()
    assert alone(pipe)


def test_a_socket_is_spoken_to_never_replaced(tmp_path: Path) -> None:
    """A program that listens at a UNIX socket gets the document, and the socket stays."""
    place = tmp_path / "socket"
    with reading(place) as got:
        render(place)
    assert Report.model_validate_json(got[0]) == REPORT
    assert place.is_socket()
    assert alone(place)


@pytest.mark.parametrize("there", [True, False], ids=["there", "dangling"])
@each_writer
def test_a_link_stays_and_its_target_is_written(writer: Writer, there: bool, tmp_path: Path) -> None:
    """A symbolic link leads the document into its target, whether that is there or not, and stays a link."""
    (tmp_path / "else").mkdir()
    target, link = tmp_path / "else" / "target", tmp_path / "link"
    if there:
        target.write_text("old")
    link.symlink_to("else/target")
    writer(link)
    assert link.is_symlink()
    assert not target.is_symlink()
    assert target.read_bytes() not in (b"", b"old")


def test_a_chain_of_links_is_followed(tmp_path: Path) -> None:
    """Links to links, relative and absolute, stay what they are."""
    chain = {"a": "else/b", "else/b": f"{tmp_path}/c", "c": "./else/../target"}
    (tmp_path / "else").mkdir()
    for name, to in chain.items():
        (tmp_path / name).symlink_to(to)
    files.write(tmp_path / "a", "new")
    assert (tmp_path / "target").read_text() == "new"
    assert {name: str((tmp_path / name).readlink()) for name in chain} == {**chain, "c": "else/../target"}


@needs_root
def test_a_link_to_a_device_is_followed(tmp_path: Path) -> None:
    """A link to a device: both stay."""
    device, link = _device(tmp_path, 3), tmp_path / "link"
    link.symlink_to("device")
    render(link)
    assert link.is_symlink()
    assert stat.S_ISCHR(link.stat().st_mode)
    assert sorted(tmp_path.iterdir()) == [device, link]


def test_links_in_a_circle_are_reported(tmp_path: Path) -> None:
    """Links that lead nowhere end in a sentence."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(WriteError, match="a cannot be written: Too many levels of symbolic links"):
        files.write(tmp_path / "a", "x")


def test_other_hard_links_keep_the_old_content(tmp_path: Path) -> None:
    """A file of two names gets a new content under the name that was given, and keeps the old one under the other."""
    (tmp_path / "a").write_text("old")
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    files.write(tmp_path / "a", "new")
    assert [(tmp_path / name).read_text() for name in "ab"] == ["new", "old"]


@needs_root
@pytest.mark.parametrize("plant", ["link", "file", "fifo"])
def test_what_a_stranger_put_into_tmp_is_left_alone(plant: str, shared: Path, tmp_path: Path) -> None:
    """In a folder as /tmp another user's link is not followed, and nothing is written into what is theirs."""
    precious, trap = tmp_path / "precious", shared / "r.json"
    precious.write_text("old")
    if plant == "link":
        trap.symlink_to(precious)
    elif plant == "file":
        trap.write_text("old")
    else:
        os.mkfifo(trap)
    os.lchown(trap, NOBODY, NOBODY)
    with pytest.raises(click.UsageError, match="it belongs to another user"):
        render(trap)
    assert precious.read_text() == "old"
    assert trap.lstat().st_uid == NOBODY
    assert alone(trap)


@needs_root
def test_reports_do_not_go_into_a_strangers_folder(shared: Path) -> None:
    """A folder of reports that another user made in a place such as /tmp is not used: its links may lead anywhere."""
    (shared / "s-reports").mkdir()
    os.chown(shared / "s-reports", NOBODY, NOBODY)
    with pytest.raises(WriteError, match="it belongs to another user"):
        files.folder_at(shared / "s-reports")


@needs_root
def test_mode_and_owner_stay(tmp_path: Path) -> None:
    """A file that root writes again keeps its owner, and gets no new readers."""
    path = tmp_path / "r.json"
    path.write_text("old")
    path.chmod(0o640)
    os.chown(path, NOBODY, NOBODY)
    render(path)
    found = path.stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o640, NOBODY, NOBODY)


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_a_new_file_obeys_the_umask(umask: int, mode: int, tmp_path: Path) -> None:
    """A new file is as open as the umask allows, and not more."""
    before = os.umask(umask)
    try:
        files.write(tmp_path / "new", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == mode


def test_what_another_process_has_open_is_written_not_replaced(tmp_path: Path) -> None:
    """/proc/PID/fd/N is what is open there, even if its name is gone."""
    gone = tmp_path / "gone"
    with gone.open("w+") as file:
        os.set_inheritable(file.fileno(), True)
        with subprocess.Popen(["sleep", "60"], close_fds=False) as holder:
            gone.unlink()
            files.write(Path(f"/proc/{holder.pid}/fd/{file.fileno()}"), "new")
            holder.kill()
        assert file.read() == "new"
    assert list(tmp_path.iterdir()) == []
