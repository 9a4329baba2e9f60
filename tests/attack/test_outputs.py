"""Outputs: nothing is destroyed, nothing half is left, and no result is lost, wherever a document is to go."""

import fcntl
import os
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest

from preflight import codes, files
from preflight.api import Direction, Result, failed
from preflight.cli.lab import write_scores
from preflight.cli.main import build
from preflight.cli.outputs import Output, folder_beside, parse_outputs
from preflight.control import bootstrap
from preflight.engine.diagnosis import diagnose
from preflight.evidence.capture import keep, pcap
from preflight.files import WriteError
from preflight.net.recorder import Packet
from preflight.report.model import Gate, NodeInfo, Report, build_report
from preflight.report.redact import Redactor

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="takes root")
PROGRAM = (sys.executable, "-P", "-m", "preflight")
NOBODY = 65534
VANISHED = failed(codes.MTU_BLACK_HOLE, "b", Direction.FORWARD, "large packets vanish")
RESULTS = (replace(VANISHED, check="mtu.path", category="mtu"),)
PACKET = Packet(received_ns=0, length=28, head=bytes([0x45, *bytes(27)]), peer="10.66.0.2")


def report_of(*results: Result) -> Report:
    """A report of these results."""
    return build_report(
        results,
        diagnose(results),
        node=NodeInfo(hostname="node-a", os="Debian", kernel="6.1", python="3.11"),
        overlay=None,
        started_at=datetime(2026, 11, 23, 12, 0, tzinfo=UTC),
        duration_ms=1,
        gate=Gate(),
    )


REPORT = report_of(*RESULTS)

Writer = Callable[[Path], object]


def render(path: Path) -> None:
    """`report render` in this process. Raises what the program would tell."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as source:
        source.write(REPORT.model_dump_json())
        source.flush()
        _command("report", "render", source.name, "--output", f"json={path}")


def _merge(path: Path) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as source:
        source.write(REPORT.model_dump_json())
        source.flush()
        with pytest.raises(SystemExit):  # its exit code tells what the matrix shows
            _command("report", "merge", source.name, "--output", f"json={path}")


def _bundle(path: Path) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as source:
        source.write(REPORT.model_dump_json())
        source.flush()
        _command("bundle", source.name, "-q", "--output", str(path))


def _init(path: Path) -> None:
    _command("init", "--force", "--file", str(path))


def _scores(path: Path) -> None:
    write_scores([], (Output("json", path),), single=False)


def _command(*words: str) -> None:
    build().main([*words], prog_name="preflight", standalone_mode=False)


WRITERS: dict[str, Writer] = {
    "report render": render,
    "report merge": _merge,
    "bundle": _bundle,
    "init": _init,
    "lab run": _scores,
}
each_writer = pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)


def run(*words: str, **options: object) -> "subprocess.CompletedProcess[str]":
    """The program as a process of its own."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.run([*PROGRAM, *words], text=True, timeout=60, check=False, **streams)  # type: ignore[call-overload, no-any-return]


@contextmanager
def reading(path: Path) -> Iterator[list[bytes]]:
    """Somebody reads a pipe, or listens at a socket, and keeps what comes."""
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


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder as /tmp: everybody may write there, and only owners may remove."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o1777)
    yield folder
    shutil.rmtree(folder)


def _device(folder: Path, minor: int) -> Path:
    """A node like /dev/null (3) or /dev/full (7) that may be lost."""
    path = folder / "device"
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, minor))
    return path


def _alone(path: Path) -> bool:
    """Nothing else is in its folder: no draft, no document of another name."""
    return list(path.parent.iterdir()) == [path]


# Nothing is destroyed.


@needs_root
@each_writer
def test_a_device_is_written_never_replaced(writer: Writer, tmp_path: Path) -> None:
    """A device stays the device that it is."""
    device = _device(tmp_path, 3)
    writer(device)
    assert stat.S_ISCHR(device.lstat().st_mode)
    assert _alone(device)


@needs_root
@each_writer
def test_a_device_that_is_full_is_told(writer: Writer, tmp_path: Path) -> None:
    """A device that takes nothing is told in one sentence, and stays."""
    device = _device(tmp_path, 7)
    with pytest.raises(WriteError, match=r"device cannot be written: No space left on device$"):
        writer(device)
    assert stat.S_ISCHR(device.lstat().st_mode)
    assert _alone(device)


@each_writer
def test_a_fifo_is_written_never_replaced(writer: Writer, tmp_path: Path) -> None:
    """A pipe's reader gets the document, and the pipe stays."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with reading(pipe) as got:
        writer(pipe)
    assert len(got[0]) > 2
    assert pipe.is_fifo()
    assert _alone(pipe)


def test_a_socket_is_spoken_to_never_replaced(tmp_path: Path) -> None:
    """Whoever listens at a UNIX socket gets the document, and the socket stays."""
    place = tmp_path / "socket"
    with reading(place) as got:
        render(place)
    assert Report.model_validate_json(got[0]) == REPORT
    assert place.is_socket()
    assert _alone(place)


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


def test_links_in_a_circle_are_told(tmp_path: Path) -> None:
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
    assert _alone(trap)


@needs_root
def test_reports_do_not_go_into_a_strangers_folder(shared: Path) -> None:
    """A folder of reports that somebody else made in a folder as /tmp is not used: its links could lead anywhere."""
    (shared / "s-reports").mkdir()
    os.chown(shared / "s-reports", NOBODY, NOBODY)
    with pytest.raises(WriteError, match="it belongs to another user"):
        files.folder_at(shared / "s-reports")


@needs_root
def test_mode_and_owner_stay(tmp_path: Path) -> None:
    """A file that root writes again stays its owner's, and nobody may read it who might not before."""
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


# Nothing is overwritten that was not to be.


def test_of_many_that_create_one_file_one_wins(tmp_path: Path) -> None:
    """A file that is to be new is created once, however many try at the same time."""
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
    assert _alone(path)


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
        _command("init")
    assert there.lstat().st_ino == before.st_ino
    assert list(tmp_path.iterdir()) == [there]


@pytest.mark.parametrize("plant", ["file", "dangling link", "fifo"])
def test_a_token_goes_into_a_new_file_or_nowhere(plant: str, tmp_path: Path) -> None:
    """A one-time token lands in no file, link or pipe that somebody made beforehand."""
    out = tmp_path / "token"
    if plant == "file":
        out.write_text("")
    elif plant == "fifo":
        os.mkfifo(out)
    else:
        out.symlink_to("elsewhere")
    with pytest.raises(bootstrap.BootstrapError, match="token cannot be written: it exists and is not overwritten"):
        bootstrap.write(bootstrap.new_token("1h"), out, None)
    assert _alone(out)


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
    with pytest.raises(click.UsageError, match="two outputs name the same file"):
        parse_outputs((f"json={first}", f"html={second}"))


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_takes_one_document_by_any_name(name: str) -> None:
    """Standard output under another name is standard output still."""
    with pytest.raises(click.UsageError, match="standard output takes one document"):
        parse_outputs(("text", f"json={name}"))


def test_many_documents_may_vanish() -> None:
    """/dev/null takes as many documents as one likes."""
    assert len(parse_outputs(("text=/dev/null", "json=/dev/null"))) == 2


def test_captures_do_not_go_beside_a_device(tmp_path: Path) -> None:
    """What goes beside the first output goes beside the first that is a file: no folder is made in /dev."""
    assert folder_beside(parse_outputs(("text=/dev/null", f"json={tmp_path}/r.json"))) == tmp_path
    assert folder_beside(parse_outputs(("text=/dev/null",))) == Path()


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
    """Whatever ends the program while it writes, and whenever one reads: the old document or the new one, whole."""
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
    assert _alone(path)
    assert len(path.read_text()) == 3_000_000


@needs_root
def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    """On a full disk the old report stays as it was, no draft is left, the others are written, the verdict is told."""
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
def test_a_disk_that_is_read_only_is_told_before_anything_runs(tmp_path: Path) -> None:
    """What cannot be written is refused before the run, as far as it can be seen."""
    script = 'mount -t tmpfs -o ro none "$1" && cd "$1" && shift && exec "$@" --output json=r.json'
    command = ["unshare", "-m", "sh", "-c", script, "sh", str(tmp_path), *PROGRAM, "run", "host.clock"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert f"no permission to write in {tmp_path}" in done.stderr
    assert "host.clock (" not in done.stderr


def test_captures_are_kept_all_or_none(tmp_path: Path) -> None:
    """Captures of which one cannot be written leave no folder."""
    small, large = (replace(RESULTS[0], aspect=aspect) for aspect in ("small", "large"))
    contents = {small.id: pcap([]), large.id: pcap([PACKET] * 100)}
    with limited_to(len(contents[small.id])), pytest.raises(WriteError, match="File too large"):
        keep(report_of(small, large), contents, tmp_path, Redactor(()))
    assert list(tmp_path.iterdir()) == []


@contextmanager
def limited_to(size: int) -> Iterator[None]:
    """No file may become larger than so many bytes (RLIMIT_FSIZE)."""
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
        "no folder": (folder / "none" / "x", f"{folder}/none is no directory"),
        "name too long": (folder / ("x" * 300), "File name too long"),
        "closed descriptor": (Path("/dev/fd/987"), "No such file or directory"),
        "absurd descriptor": (Path(f"/dev/fd/{'9' * 30}"), "No such file or directory"),
        "above descriptors": (Path("/proc/self/fd/.."), "it is a directory"),
        "no descriptor": (Path("/proc/self/fd/x"), "No such file or directory"),
        "read-only descriptor": (Path("/dev/stdin"), "Bad file descriptor"),
        "dead socket": (folder / "left", "Connection refused"),
        "datagram socket": (folder / "datagrams", "Connection refused"),
        "no reader": (folder / "pipe", "nobody reads from it"),
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
    """Whatever a path leads to, a write that fails is told by one sentence that names it, and leaves nothing."""
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
    """A report that is there is not lost with its bundle, and no other exit code than this command's is told."""
    (tmp_path / "r.json").write_text(REPORT.model_dump_json())
    done = run("bundle", "r.json", "-q", "-o", "/dev/full", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, "preflight: /dev/full cannot be written: No space left on device\n")


def test_a_fifo_whose_reader_sleeps_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that takes nothing does not hold the program."""
    monkeypatch.setattr(files, "STALL_S", 0.1)
    os.mkfifo(tmp_path / "pipe")
    sleeper = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(WriteError, match="pipe cannot be written: nobody reads what is written"):
            files.write(tmp_path / "pipe", b"x" * 1_000_000)
    finally:
        os.close(sleeper)


def test_a_fifo_whose_reader_leaves_is_told(tmp_path: Path) -> None:
    """A reader that goes away in the middle is told."""
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
def test_no_permission_is_told(shared: Path) -> None:
    """A folder of somebody else is told, and so is a file that one may not write."""
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


# Descriptors by name.


def test_a_redirected_standard_output_is_written_on(tmp_path: Path) -> None:
    """/dev/stdout is what the shell opened: a file behind `>>` keeps what it holds, and its inode."""
    log, source = tmp_path / "log", tmp_path / "r.json"
    source.write_text(REPORT.model_dump_json())
    log.write_text("before\n")
    (tmp_path / "link").symlink_to("/dev/stdout")
    inode = log.stat().st_ino
    with log.open("a") as sink:
        done = run("report", "render", "r.json", "--output", "json=link", stdout=sink, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    before, _, document = log.read_text().partition("\n")
    assert (before, Report.model_validate_json(document)) == ("before", REPORT)
    assert log.stat().st_ino == inode


def test_a_descriptor_of_the_shell_is_written() -> None:
    """A descriptor that the shell opened, as for `>(program)`, is written, and is not closed."""
    end, beginning = os.pipe()
    render(Path(f"/dev/fd/{beginning}"))
    os.write(beginning, b"\n")
    os.close(beginning)
    with open(end, "rb") as pipe:  # noqa: PTH123 - a descriptor
        assert Report.model_validate_json(pipe.read()) == REPORT


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


# The result of a run is not lost.


STREAMS = ("full", "closed", "broken pipe")
REASONS = {"full": "No space left on device", "closed": "it is closed", "broken pipe": "Broken pipe"}


def run_into(stream: str, *words: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """The program with a standard output that takes nothing."""
    if stream == "closed":
        command = ["sh", "-c", 'exec "$@" >&-', "sh", *PROGRAM, *words]
        return subprocess.run(command, cwd=folder, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    if stream == "full":
        with Path("/dev/full").open("w") as full:
            return run(*words, stdout=full, cwd=folder)
    end, beginning = os.pipe()
    os.close(end)
    try:
        return run(*words, stdout=beginning, cwd=folder)
    finally:
        os.close(beginning)


@pytest.mark.parametrize(
    ("command", "stream"),
    [
        *(("--version", stream) for stream in STREAMS),
        ("explain mtu.black-hole", "closed"),
        ("list --json", "full"),
        ("schema config", "broken pipe"),
        ("report render r.json", "closed"),
        ("report diff r.json r.json", "full"),
        ("control-plane bootstrap-token", "closed"),
    ],
)
def test_a_document_that_nobody_takes_is_told(command: str, stream: str, tmp_path: Path) -> None:
    """A command whose standard output takes nothing says so in one sentence and exits 2, without a traceback."""
    (tmp_path / "r.json").write_text(REPORT.model_dump_json())
    done = run_into(stream, *command.split(), folder=tmp_path)
    assert done.stderr == f"preflight: standard output cannot be written: {REASONS[stream]}\n"
    assert done.returncode == 2


@pytest.mark.parametrize("stream", ["closed", "broken pipe"])
def test_the_verdict_is_told_where_the_report_cannot_be(stream: str, tmp_path: Path) -> None:
    """A run whose report nobody takes tells its verdict on standard error, and its files are written."""
    done = run_into(stream, "run", "host.clock", "-q", "--output", "text", "--output", "json=r.json", folder=tmp_path)
    verdict, sentence = done.stderr.splitlines()
    report = Report.model_validate_json((tmp_path / "r.json").read_text())
    assert verdict.startswith(f"preflight: verdict {report.verdict} (exit would have been {report.run.exit_code}): ")
    assert sentence == f"preflight: standard output cannot be written: {REASONS[stream]}"
    assert done.returncode == 2


def test_one_output_that_fails_costs_no_other(tmp_path: Path) -> None:
    """A full device and a pipe without a reader are told together; the other documents are written."""
    os.mkfifo(tmp_path / "pipe")
    outputs = ("json=/dev/full", "junit=pipe", "html=h.html", "markdown=m.md")
    done = run("run", "host.clock", "-q", *(f"--output={output}" for output in outputs), cwd=tmp_path)
    full, pipe = "/dev/full cannot be written: No space left on device", "pipe cannot be written: nobody reads from it"
    assert done.stderr.splitlines()[-1] == f"preflight: {full}; {pipe}"
    assert (done.returncode, done.stdout) == (2, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["h.html", "m.md", "pipe"]
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize(
    ("words", "how", "code"),
    [("run host.clock --allow-inconclusive", "2>/dev/full", 0), ("explain nothing", "2>&-", 2)],
    ids=["progress into a full device", "a usage error into nothing"],
)
def test_messages_that_nobody_takes_cost_nothing(words: str, how: str, code: int, tmp_path: Path) -> None:
    """Without a standard error the program ends as with one, and standard output holds no message."""
    command = ["sh", "-c", f'exec "$@" {how}', "sh", *PROGRAM, *words.split()]
    done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == code
    assert "Traceback" not in done.stdout
    assert "host.clock (" not in done.stdout


def test_a_pipe_that_does_not_block_gets_the_whole_document() -> None:
    """A standard output that is full for a moment gets the rest later."""
    end, beginning = os.pipe()
    fcntl.fcntl(beginning, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(beginning, False)
    with subprocess.Popen([*PROGRAM, "list", "--json"], stdout=beginning, stderr=subprocess.PIPE) as child:
        os.close(beginning)
        with open(end, "rb") as pipe:  # noqa: PTH123 - a descriptor
            document = pipe.read()
        assert child.stderr
        assert child.stderr.read() == b""
    assert child.returncode == 0
    assert len(document) > 3 * 4096
    assert document.endswith(b"]\n")


def test_a_terminal_without_our_signs_gets_escapes(tmp_path: Path) -> None:
    """A character set that lacks a sign of the report does not cost the report."""
    (tmp_path / "r.json").write_text(REPORT.model_dump_json())
    latin = os.environ | {"PYTHONIOENCODING": "latin-1"}
    done = run("report", "render", "r.json", cwd=tmp_path, env=latin, encoding="latin-1")
    assert (done.returncode, done.stderr) == (0, "")
    assert r"\u2717 mtu.black-hole" in done.stdout
