"""A file that grows while the program works. How whole files are written: tests/attack/test_outputs.py."""

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from preflight.files import Stream, WriteError


def test_a_file_is_replaced_when_it_is_opened_and_keeps_its_mode(tmp_path: Path) -> None:
    """Nobody takes an old timeline for that of the run that has just begun."""
    path = tmp_path / "t"
    path.write_text("old")
    path.chmod(0o640)
    stream = Stream(path)
    assert path.read_text() == ""
    stream.append("one\n")
    assert path.read_text() == "one\n"
    stream.close()
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_program_leaves_what_it_had_written(tmp_path: Path) -> None:
    """Nothing waits in a buffer of ours."""
    path = tmp_path / "t"
    program = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom preflight.files import Stream\n"
        "stream = Stream(Path(sys.argv[1]))\nstream.append('told\\n')\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, path], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "told\n"


def test_a_slow_reader_holds_nobody_up_and_gets_everything(tmp_path: Path) -> None:
    """A pipe takes 64 kB: what is more waits in memory until the end, and the run goes on."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    stream = Stream(path)
    lines = [f"{number:06} {'x' * 90}\n" for number in range(5000)]
    for line in lines:
        stream.append(line)  # would hang here for ever if it waited: nobody reads yet
    os.set_blocking(reader, True)
    closing = threading.Thread(target=stream.close)
    closing.start()
    with os.fdopen(reader) as pipe:
        assert pipe.read() == "".join(lines)
    closing.join()


def test_a_socket_is_spoken_to(tmp_path: Path) -> None:
    """As every other output."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        stream = Stream(path)
        stream.append("one\n")
        stream.close()
        with server.accept()[0] as link:
            assert link.recv(100) == b"one\n"


def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    """A user who keeps the timelines elsewhere by a link finds the new one there."""
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    stream = Stream(link)
    stream.append("one\n")
    stream.close()
    assert link.is_symlink()
    assert target.read_text() == "one\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root")
@pytest.mark.parametrize(("minor", "full"), [(3, False), (7, True)], ids=["like /dev/null", "like /dev/full"])
def test_a_device_is_written_never_replaced(minor: int, full: bool, tmp_path: Path) -> None:
    """A device stays the device that it is, and one that takes nothing is reported."""
    device = tmp_path / "device"
    os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, minor))
    stream = Stream(device)
    if full:
        with pytest.raises(WriteError, match="device cannot be written: No space left on device"):
            stream.append("x")
        with pytest.raises(WriteError, match="device cannot be written: No space left on device"):
            stream.close()
    else:
        stream.append("x")
        stream.close()
    assert stat.S_ISCHR(device.lstat().st_mode)
    assert list(tmp_path.iterdir()) == [device]


def test_what_another_user_planted_in_a_shared_folder_is_left_alone(tmp_path: Path) -> None:
    """As for every other output: the rule of fs.protected_symlinks."""
    if os.geteuid() != 0:
        pytest.skip("takes root")
    shared, precious = tmp_path / "shared", tmp_path / "precious"
    shared.mkdir()
    shared.chmod(0o1777)
    precious.write_text("precious")
    (shared / "t").symlink_to(precious)
    os.chown(shared / "t", 65534, 65534, follow_symlinks=False)
    with pytest.raises(WriteError, match="it belongs to another user"):
        Stream(shared / "t")
    assert precious.read_text() == "precious"


def test_a_descriptor_stays_open(tmp_path: Path) -> None:
    """`--debug /dev/fd/3`: it is the shell's, and others write there too."""
    with (tmp_path / "t").open("w") as sink:
        stream = Stream(Path(f"/dev/fd/{sink.fileno()}"))
        stream.append("one\n")
        stream.close()
        sink.write("two\n")
    assert (tmp_path / "t").read_text() == "one\ntwo\n"


def test_a_reader_that_left_is_reported(tmp_path: Path) -> None:
    """One sentence that names the file, for what is written now and for what was left."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    stream = Stream(path)
    os.close(reader)
    with pytest.raises(WriteError, match=f"{path} cannot be written: Broken pipe"):
        stream.append("x")
    with pytest.raises(WriteError, match=f"{path} cannot be written: Broken pipe"):
        stream.close()
