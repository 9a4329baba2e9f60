"""Outputs that fail: nothing half-written is left, and one sentence says why."""

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from preflight import files
from preflight.evidence.capture import keep, pcap
from preflight.files import WriteError
from preflight.net.recorder import Packet
from preflight.report.redact import Redactor
from tests.attack import writers
from tests.attack.writers import NOBODY, PROGRAM, REPORT, RESULTS, alone, needs_root, report_of, run

shared = writers.shared


PACKET = Packet(received_ns=0, length=28, head=bytes([0x45, *bytes(27)]), peer="10.66.0.2")


# Nothing half is left.


WRITING = """
import sys
from pathlib import Path
from preflight.files import write
for letter in "ab" * 100000:
    write(Path(sys.argv[1]), letter * 3_000_000)
    print(flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_leaves_a_whole_file_and_nothing_else(number: signal.Signals, tmp_path: Path) -> None:
    """However and whenever the program ends while it writes, a reader sees the old document or the new one, whole."""
    path = tmp_path / "file"
    command = [sys.executable, "-P", "-c", WRITING, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdout
        for _ in range(10):
            child.stdout.readline()
            text = path.read_text()
            assert text in ("a" * 3_000_000, "b" * 3_000_000)
        child.send_signal(number)
        child.stdout.read()
    assert child.returncode
    assert alone(path)
    assert len(path.read_text()) == 3_000_000


@needs_root
def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    """On a full disk the old report stays as it was, no draft is left, the others are written, the verdict is shown."""
    script = """
    mount -t tmpfs -o size=64k none "$1" && echo old > "$1/r.json"
    dd if=/dev/zero of="$1/filler" bs=4k status=none 2>/dev/null
    shift_to="$1"; shift
    "$@" --output json="$shift_to/r.json" --output html="$shift_to/new.html" --output junit=j.xml
    echo "exit $?"; ls -A "$shift_to"; cat "$shift_to/r.json"
    """
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["unshare", "-m", "sh", "-c", script, "sh", str(disk), *PROGRAM, "run", "host.clock", "-q"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == ["exit 2", "filler", "r.json", "old"]
    verdict, sentence = done.stderr.splitlines()
    assert verdict.startswith("preflight: verdict ")
    assert "(exit would have been " in verdict
    full = "cannot be written: No space left on device"
    assert sentence == f"preflight: {disk}/r.json {full}; {disk}/new.html {full}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "j.xml"]


@needs_root
def test_a_disk_that_is_read_only_is_reported_before_anything_runs(tmp_path: Path) -> None:
    """What cannot be written is refused before the run, if this can be known by then."""
    script = 'mount -t tmpfs -o ro none "$1" && cd "$1" && shift && exec "$@" --output json=r.json'
    command = ["unshare", "-m", "sh", "-c", script, "sh", str(tmp_path), *PROGRAM, "run", "host.clock"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert f"no permission to write in {tmp_path}" in done.stderr
    assert "host.clock (" not in done.stderr


def test_captures_are_kept_all_or_none(tmp_path: Path) -> None:
    """If one of the captures cannot be written, no folder is left."""
    small, large = (replace(RESULTS[0], aspect=aspect) for aspect in ("small", "large"))
    contents = {small.id: pcap([]), large.id: pcap([PACKET] * 100)}
    with limited_to(len(contents[small.id])), pytest.raises(WriteError, match="File too large"):
        keep(report_of(small, large), contents, tmp_path, Redactor(()))
    assert list(tmp_path.iterdir()) == []


@contextmanager
def limited_to(size: int) -> Iterator[None]:
    """No file may become larger than this many bytes (RLIMIT_FSIZE)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _hopeless(folder: Path) -> dict[str, tuple[Path, str]]:
    (folder / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(folder / "left"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(str(folder / "datagrams"))
    os.mkfifo(folder / "pipe")
    return {
        "directory": (folder / "folder", "it is a directory"),
        "no folder": (folder / "none" / "x", f"{folder}/none is not a directory"),
        "name too long": (folder / ("x" * 300), "File name too long"),
        "closed descriptor": (Path("/dev/fd/987"), "No such file or directory"),
        "absurd descriptor": (Path(f"/dev/fd/{'9' * 30}"), "No such file or directory"),
        "above descriptors": (Path("/proc/self/fd/.."), "it is a directory"),
        "no descriptor": (Path("/proc/self/fd/x"), "No such file or directory"),
        "read-only descriptor": (Path("/dev/stdin"), "Bad file descriptor"),
        "dead socket": (folder / "left", "Connection refused"),
        "datagram socket": (folder / "datagrams", "Connection refused"),
        "no reader": (folder / "pipe", "nothing reads from it"),
    }


HOPELESS = (
    "directory",
    "no folder",
    "name too long",
    "closed descriptor",
    "absurd descriptor",
    "above descriptors",
    "no descriptor",
    "read-only descriptor",
    "dead socket",
    "datagram socket",
    "no reader",
)


@pytest.mark.parametrize("what", HOPELESS)
def test_what_cannot_be_written_is_one_sentence(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a path leads to, a write that fails is one sentence that names the path, and leaves nothing."""
    monkeypatch.setattr(files, "READER_WAIT_S", 0.1)
    path, reason = _hopeless(tmp_path)[what]
    before = sorted(tmp_path.iterdir())
    with open(os.devnull) as nothing:  # noqa: PTH123 - a number that is open for reading alone
        kept = os.dup(0)
        os.dup2(nothing.fileno(), 0)
        try:
            with pytest.raises(WriteError, match=f"{path} cannot be written: {reason}$"):
                files.write(path, "x")
        finally:
            os.dup2(kept, 0)
            os.close(kept)
    assert sorted(tmp_path.iterdir()) == before


def test_a_bundle_that_is_not_written_says_nothing_untrue(tmp_path: Path) -> None:
    """An existing report is not lost with its bundle, and the exit code is always this command's."""
    (tmp_path / "r.json").write_text(REPORT.model_dump_json())
    done = run("bundle", "r.json", "-q", "-o", "/dev/full", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, "preflight: /dev/full cannot be written: No space left on device\n")


def test_a_fifo_whose_reader_sleeps_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that takes nothing does not hold the program."""
    monkeypatch.setattr(files, "STALL_S", 0.1)
    os.mkfifo(tmp_path / "pipe")
    sleeper = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(WriteError, match="pipe cannot be written: nothing reads what is written"):
            files.write(tmp_path / "pipe", b"x" * 1_000_000)
    finally:
        os.close(sleeper)


def test_a_fifo_whose_reader_leaves_is_reported(tmp_path: Path) -> None:
    """A reader that goes away in the middle is reported."""
    os.mkfifo(tmp_path / "pipe")

    def leave() -> None:
        with (tmp_path / "pipe").open("rb", buffering=0) as pipe:
            pipe.read(1)

    reader = threading.Thread(target=leave)
    reader.start()
    with pytest.raises(WriteError, match="Broken pipe"):
        files.write(tmp_path / "pipe", b"x" * 1_000_000)
    reader.join()


@needs_root
def test_no_permission_is_reported(shared: Path) -> None:
    """A folder of another user is reported, and so is a file that this user may not write."""
    (shared / "closed").mkdir(mode=0o755)
    (shared / "file").write_text("old")
    (shared / "file").chmod(0o644)

    def attempt() -> bool:
        for name, reason in (("closed/r.json", "no permission to write in"), ("file", "Permission denied")):
            with pytest.raises(WriteError, match=reason):
                files.check(shared / name)
            with pytest.raises(WriteError, match=reason):
                files.write(shared / name, "new")
        return True

    assert _as_nobody(attempt)
    assert (shared / "file").read_text() == "old"


def _as_nobody(job: Callable[[], bool]) -> bool:
    """Do it in a child without any rights."""
    child = os.fork()
    if child == 0:
        done = False
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            done = job()
        finally:
            os._exit(0 if done else 1)
    return os.waitpid(child, 0)[1] == 0
