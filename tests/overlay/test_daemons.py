"""Processes of a program and their logs, from a tree like /proc."""

import asyncio
import os
from pathlib import Path

import pytest

from preflight.overlay import daemons
from preflight.overlay.daemons import as_it_sees, last_lines, of_file, processes, tun_devices


def process(proc: Path, name: str, program: str = "openvpn", namespace: str = "net:[1]") -> Path:
    """One process that runs a program."""
    folder = proc / name
    (folder / "ns").mkdir(parents=True)
    (folder / "fd").mkdir()
    (folder / "ns" / "net").symlink_to(namespace)
    (folder / "comm").write_text(f"{program}\n")
    return folder


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A process of this namespace."""
    process(tmp_path, "self", "python")
    return process(tmp_path, "12")


def test_which_processes(tmp_path: Path, here: Path) -> None:
    """Those of the program in this network namespace, not what one may not read."""
    process(tmp_path, "13", namespace="net:[2]")
    process(tmp_path, "14", "nebula")
    (tmp_path / "15").mkdir()
    assert list(processes("openvpn", tmp_path)) == [here]


def test_one_that_this_user_may_not_see(tmp_path: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its namespace is hidden, which is not the same as another one."""
    assert here.exists()
    assert not daemons.hidden("openvpn", tmp_path)

    def refused(process: Path) -> str:
        raise PermissionError(process)

    monkeypatch.setattr(daemons, "_namespace", refused)
    assert daemons.hidden("openvpn", tmp_path)
    assert not daemons.hidden("nebula", tmp_path)


def test_its_device(here: Path) -> None:
    """A TUN device shows its name in the list of open files."""
    (here / "fdinfo").mkdir()
    (here / "fdinfo" / "3").write_text("pos:\t0\nflags:\t0100002\niff:\ttun0\n")
    (here / "fdinfo" / "4").write_text("pos:\t0\n")
    assert tun_devices(here) == ("tun0",)
    assert tun_devices(here / "gone") == ()


def test_the_log_that_it_writes(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of its options, else its standard output, if that is a file; only the end of a long one is read."""
    monkeypatch.setattr(daemons, "SYSTEM_LOGS", ())
    output = tmp_path / "output"
    output.write_text("a line that is cut\n" + "x" * 200_000 + "\nlast\n")
    (here / "fd" / "1").symlink_to(output)
    assert asyncio.run(last_lines(here)) == ("last",)
    (here / "cwd").mkdir()
    (here / "cwd" / "vpn.log").write_text("one\ntwo\n")
    assert asyncio.run(last_lines(here, "vpn.log")) == ("one", "two")
    assert of_file(tmp_path / "missing") == ()


def test_no_log_that_is_a_file(here: Path, tmp_path: Path) -> None:
    """A pipe or a device is left alone; what all programs share has it, by its number."""
    os.mkfifo(here / "fd" / "1")
    (here / "fd" / "2").symlink_to("/dev/null")
    shared = tmp_path / "syslog"
    shared.write_text("Dec  1 00:00:00 h openvpn[12]: mine\nDec  1 00:00:00 h openvpn[13]: another's\n")
    assert daemons._system_log("12", (tmp_path / "missing", shared)) == ("mine",)
    assert daemons._system_log("14", (shared,)) == ()


def test_a_file_by_its_name(here: Path) -> None:
    """Below its root, or from its folder."""
    assert as_it_sees(here, "/etc/x") == here / "root" / "etc" / "x"
    assert as_it_sees(here, "x") == here / "cwd" / "x"
