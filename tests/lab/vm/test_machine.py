"""How a machine is started, followed and ended; a script is run instead of qemu, so that nothing boots."""

import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from preflight.lab.names import LabError
from preflight.lab.vm import machine
from preflight.lab.vm.kernel import Kernel

pytestmark = pytest.mark.lab

_RESULTS = 'for word; do case $word in file:*) cd "$(dirname "${word#file:}")" ;; esac; done\n'


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder with a short path: a machine's sockets are in it, and their paths have 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="vm-", dir="/tmp") as name:
        yield Path(name)


@pytest.fixture
def qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let a script be qemu; it runs in the folder where the machine leaves its results."""
    home = tmp_path / "lib" / "modules" / "9"
    home.mkdir(parents=True)
    names = ("virtio_pci", "virtiofs", "overlay", "tun")
    (home / "modules.dep").write_text("".join(f"{name}.ko:\n" for name in names))
    for name in names:
        (home / f"{name}.ko").touch()
    for name in ("bin", "programs"):
        (tmp_path / name).mkdir()
    (tmp_path / "bin" / "busybox").touch()
    monkeypatch.setattr(machine, "ready_kernel", lambda: Kernel(tmp_path, "9"))
    monkeypatch.setattr(machine, "_VIRTIOFSD", ("/bin/true",))
    monkeypatch.setenv("PATH", f"{tmp_path / 'programs'}:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "programs"))

    def write(script: str) -> None:
        program = tmp_path / "programs" / "qemu-system-x86_64"
        program.write_text(f"#!/bin/sh\n{_RESULTS}{script}\n")
        program.chmod(0o755)

    return write


def test_output_and_exit_code_come_back(qemu: Callable[[str], None], capfd: pytest.CaptureFixture[str]) -> None:
    """What the command prints stays apart: a JSON report on standard output is whole."""
    qemu("echo out >stdout; echo told >stderr; echo 7 >exit-code")
    assert machine.run(["true"]) == 7
    assert tuple(capfd.readouterr()) == ("out\n", "told\n")


def test_a_machine_that_ends_too_early_is_explained(qemu: Callable[[str], None]) -> None:
    """A kernel that panics leaves its reason on the console, and no exit code."""
    qemu("echo 'Kernel panic - not syncing' >console")
    with pytest.raises(LabError, match="ended before its command did: Kernel panic"):
        machine.run(["true"])


def test_a_qemu_that_refuses_is_explained(qemu: Callable[[str], None]) -> None:
    """No console then; what qemu said counts."""
    qemu("echo 'cannot set up guest memory' >&2; exit 1")
    with pytest.raises(LabError, match="cannot set up guest memory"):
        machine.run(["true"])


def test_a_machine_that_takes_too_long_is_ended(qemu: Callable[[str], None], tmp_path: Path) -> None:
    """And nothing of it is left: no process, no folder."""
    qemu(f"echo $$ >{tmp_path}/pid; touch started; exec sleep 1000")
    with pytest.raises(LabError, match="did not end within 1 s"):
        machine.run(["true"], limit_s=1.0)
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()
    assert [path.name for path in (tmp_path / "programs").iterdir()] == ["qemu-system-x86_64"]


def test_a_machine_that_does_not_boot_is_ended(qemu: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own limit, as a run may take hours and a boot does not."""
    monkeypatch.setattr(machine, "BOOT_LIMIT_S", 0.5)
    qemu("exec sleep 1000")
    with pytest.raises(LabError, match="did not start within"):
        machine.run(["true"])


def test_a_machine_ends_with_the_command_that_is_killed(qemu: Callable[[str], None], tmp_path: Path) -> None:
    """SIGKILL leaves no time to clean up: the kernel ends the machine with its parent."""
    fifo = tmp_path / "pid"
    os.mkfifo(fifo)
    qemu(f"echo $$ >{fifo}; exec sleep 1000")
    lines = [
        "from pathlib import Path",
        "from preflight.lab.vm import machine",
        "from preflight.lab.vm.kernel import Kernel",
        f"machine.ready_kernel = lambda: Kernel(Path({str(tmp_path)!r}), '9')",
        "machine._VIRTIOFSD = ('/bin/true',)",
        "machine.run(['true'])",
    ]
    with subprocess.Popen([sys.executable, "-c", "\n".join(lines)]) as command:
        handle = os.pidfd_open(int(fifo.read_text()))
        try:
            command.send_signal(signal.SIGKILL)
            command.wait()
            ended = select.poll()
            ended.register(handle, select.POLLIN)
            assert ended.poll(30_000)
        finally:
            os.close(handle)


def test_a_missing_qemu_is_said_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line to paste, before anything is downloaded."""
    monkeypatch.setattr(machine, "find", lambda name: None)
    with pytest.raises(LabError, match=r"apt-get install --no-install-recommends qemu-system-x86$"):
        machine.run(["true"])


def test_an_ordinary_user_is_told_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine sees the files that root sees."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="run this as root"):
        machine.run(["true"])
