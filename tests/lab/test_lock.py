"""Names, records and the lock: what keeps two commands off one lab, and lets clean-up work without a memory."""

import os
from pathlib import Path

import pytest

from preflight.lab import build, processes, state
from preflight.lab.blueprint import Places
from preflight.lab.names import LabError, LabNames, private_directory, state_root
from preflight.lab.state import Parts, State

STATE = State("pair", "wireguard", Places(("10.66.0.2",), 862, "10.66.0.3", 9847, "10.201.3.2"), Parts((), (), ()))


def test_names_are_distinct_and_fit(tmp_path: Path) -> None:
    """Protects parallel labs: wireguard-go's sockets are shared, and an interface name has 15 bytes."""
    labs = ["pair", "pair-a", "a", "a" * 48, "a" * 47]
    names = [LabNames.of(lab, tmp_path) for lab in labs]
    tunnels = {each.tunnel(node) for each in names for node in "abc"}
    namespaces = {each.namespace(node) for each in names for node in "abcr"}
    assert len(tunnels) == 15
    assert len(namespaces) == 20
    assert all(len(tunnel) <= 15 for tunnel in tunnels)


@pytest.mark.parametrize("name", ["", "..", "a/b", "A", "-x", "a" * 49, "x y", "."])
def test_names_that_are_none(name: str) -> None:
    """Protects the file system: a lab's name becomes a directory's."""
    with pytest.raises(LabError, match="is not a valid name for a lab"):
        LabNames.of(name)


def test_state_root(tmp_path: Path) -> None:
    """Protects users from one another: each has a separate root."""
    assert state_root({}, uid=0) == Path("/run/preflight-lab")
    assert state_root({"XDG_RUNTIME_DIR": str(tmp_path)}, uid=1000) == tmp_path / "preflight-lab"
    assert state_root({}, uid=1000).name == "preflight-lab-1000"


def test_directory_of_somebody_else(tmp_path: Path) -> None:
    """Protects the secrets in a lab: in a shared temporary directory somebody may have been first."""
    (tmp_path / "lab").symlink_to(tmp_path)
    with pytest.raises(LabError, match="belongs to another user"):
        private_directory(tmp_path / "lab")


def test_record_survives(tmp_path: Path) -> None:
    """Protects later commands: what was saved comes back, and half a record does not count."""
    names = LabNames.of("x", tmp_path)
    names.directory.mkdir()
    assert state.load(names) is None
    state.save(names, STATE)
    assert state.load(names) == STATE
    (names.directory / state.RECORD).write_text('{"kind": "wire')
    assert state.load(names) is None


def test_record_of_a_newer_version_is_a_lab_and_no_wreck(tmp_path: Path) -> None:
    """Protects a running lab from an older version on the same machine, which would take it down as left behind."""
    names = LabNames.of("pair", tmp_path)
    names.directory.mkdir()
    state.save(names, STATE)
    record = names.directory / state.RECORD
    record.write_text(record.read_text().replace('"ephemeral"', '"not_known_yet": 1, "ephemeral"'))
    assert state.load(names) == STATE


def test_one_at_a_time(tmp_path: Path) -> None:
    """Protects a lab in use: a second command waits, and gives up with a sentence."""
    names = LabNames.of("x", tmp_path)
    with state.locked(names):
        (names.directory / "file").touch()
        with pytest.raises(LabError, match="in use by another"), state.locked(names, wait_s=0.1):
            pass
    with state.locked(names, wait_s=0):
        assert (names.directory / "file").exists()


def test_lock_leaves_no_directory(tmp_path: Path) -> None:
    """Protects `nothing behind`: taking the lock of a lab that does not exist makes none."""
    names = LabNames.of("x", tmp_path)
    with state.locked(names):
        assert names.directory.is_dir()
    assert not names.directory.exists()


def test_down_without_a_record(tmp_path: Path) -> None:
    """Protects clean-up after a crash: a daemon is found by its mark, files without a record are removed."""
    names = LabNames.of("x", tmp_path)
    names.files("a").mkdir(parents=True)
    argv = [processes.program("sleep"), "60"]
    ours = processes.start("sleeper", argv, mark=names.mark("sleeper"), log=names.directory / "log")
    other = processes.start("other", argv, mark=f"{tmp_path}/xy/sleeper", log=tmp_path / "log")
    try:
        assert build.down(names)
        assert list(names.directory.iterdir()) == []
        assert processes.mark_of(ours.pid) is None
        assert processes.mark_of(other.pid) == f"{tmp_path}/xy/sleeper"
        assert not build.down(names)
    finally:
        processes.end(lambda pid: pid == other.pid)


def test_a_daemon_that_fails_says_why(tmp_path: Path) -> None:
    """Protects the user of a lab that does not come up: the daemon's last line is in the message."""
    argv = [processes.program("sh"), "-c", "echo address in use >&2; exit 3"]
    daemon = processes.start("responder", argv, mark="none", log=tmp_path / "log")
    with pytest.raises(LabError, match="responder stopped while starting: address in use"):
        processes.wait_for_words(daemon, "listening on", 1, deadline=float("inf"))
    os.waitpid(daemon.pid, 0)


def test_environment_of_a_lab_is_clean() -> None:
    """Protects labs from the cluster that the caller is enrolled in, and from the caller's proxy."""
    caller = {"VOX_MESH_TOKEN": "x", "PREFLIGHT_CONFIG": "x", "http_proxy": "x", "HTTPS_PROXY": "x", "LANG": "C"}
    assert set(processes.clean_environment(caller)) == {"LANG", "PATH"}


def test_a_missing_program_names_its_package() -> None:
    """Protects the first user on a bare machine: the message says what to install."""
    with pytest.raises(LabError, match="apt-get install no-such-program"):
        processes.program("no-such-program")
