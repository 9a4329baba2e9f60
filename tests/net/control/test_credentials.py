"""The credentials file: ready before a token is spent, complete or not there, never over another."""

import os
import stat
import subprocess
from pathlib import Path

import pytest
from pydantic import SecretStr

from preflight.model.control import Credential, CredentialsError
from preflight.net.control.credentials import CredentialsFile, environment

CREDENTIAL = Credential(SecretStr("s3cr3t-token-of-the-test"), "lab")


def test_written_as_a_workers_environment(tmp_path: Path) -> None:
    """Mode 0600, both variables, no other file left."""
    path = tmp_path / "cred"
    file = CredentialsFile(path)
    assert len(file.reserve()) == 32
    file.write(CREDENTIAL)
    file.release()
    assert path.read_text() == "VOX_MESH_TOKEN=s3cr3t-token-of-the-test\nVOX_MESH_SCOPE_ID=lab\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_the_umask_does_not_open_it(tmp_path: Path) -> None:
    """0600 whatever the caller's umask allows."""
    before = os.umask(0)
    try:
        file = CredentialsFile(tmp_path / "cred")
        file.reserve()
        file.write(CREDENTIAL)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "cred").stat().st_mode) == 0o600


@pytest.mark.parametrize("token", ["plain-token", "with 'quotes' and $x `y` #z \\ \"w\""])
def test_a_shell_reads_back_what_was_stored(token: str, tmp_path: Path) -> None:
    """Whatever characters the token has, `. FILE` sets exactly it."""
    path = tmp_path / "cred"
    path.write_text(environment(Credential(SecretStr(token), None)))
    shell = subprocess.run(
        ["sh", "-c", f'. "{path}"; printf %s "$VOX_MESH_TOKEN"'], capture_output=True, text=True, check=True
    )
    assert shell.stdout == token


@pytest.mark.parametrize("kind", ["file", "folder", "dangling link"])
def test_what_is_there_is_not_overwritten(kind: str, tmp_path: Path) -> None:
    """An older credential may be the only copy of itself."""
    path = tmp_path / "cred"
    if kind == "file":
        path.write_text("old")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("nowhere")
    with pytest.raises(CredentialsError, match="exists"):
        CredentialsFile(path).reserve()
    assert [entry.name for entry in tmp_path.iterdir()] == ["cred"]


def test_a_folder_that_cannot_hold_it(tmp_path: Path) -> None:
    """Reported before anything is spent."""
    for folder in (tmp_path / "none", Path("/proc")):
        with pytest.raises(CredentialsError, match="cannot be written"):
            CredentialsFile(folder / "cred").reserve()


def test_released_without_writing_leaves_nothing(tmp_path: Path) -> None:
    """A run that bought nothing leaves no trace; one whose answer was lost leaves its key."""
    file = CredentialsFile(tmp_path / "cred")
    file.reserve()
    file.release()
    assert list(tmp_path.iterdir()) == []


def test_the_key_outlives_a_run_that_was_killed(tmp_path: Path) -> None:
    """The next run asks with the same idempotency key, so it gets the answer that the first one never received."""
    path = tmp_path / "cred"
    first = CredentialsFile(path)
    key = first.reserve()
    first.release(keep=True)
    assert stat.S_IMODE(first.pending.stat().st_mode) == 0o600
    second = CredentialsFile(path)
    assert second.reserve() == key
    second.write(CREDENTIAL)
    assert list(tmp_path.iterdir()) == [path]


def test_two_runs_at_once(tmp_path: Path) -> None:
    """Only one may spend the token for this file."""
    first, second = CredentialsFile(tmp_path / "cred"), CredentialsFile(tmp_path / "cred")
    first.reserve()
    with pytest.raises(CredentialsError, match="another run"):
        second.reserve()
    first.write(CREDENTIAL)


def test_a_file_that_came_in_between_keeps_both(tmp_path: Path) -> None:
    """Nothing is overwritten and nothing is lost: the error names where the credential is, and does not show it."""
    path = tmp_path / "cred"
    file = CredentialsFile(path)
    file.reserve()
    path.write_text("somebody else's")
    with pytest.raises(CredentialsError) as caught:
        file.write(CREDENTIAL)
    file.release()
    assert path.read_text() == "somebody else's"
    assert str(file.pending) in str(caught.value)
    assert "s3cr3t" not in f"{caught.value!r}"
    assert "s3cr3t" in file.pending.read_text()
    path.unlink()
    with pytest.raises(CredentialsError, match="earlier run"):
        CredentialsFile(path).reserve()
    assert "s3cr3t" in file.pending.read_text()


@pytest.mark.parametrize("left", [b"", bytes(4096)], ids=["empty", "zeros"])
def test_a_run_that_was_killed_before_its_key_was_kept(left: bytes, tmp_path: Path) -> None:
    """It asked nothing with that key, so a new one is made in the same file, and lasts."""
    file = CredentialsFile(tmp_path / "cred")
    file.pending.write_bytes(left)
    file.pending.chmod(0o600)
    key = file.reserve()
    assert len(key) == 32
    file.release(keep=True)
    again = CredentialsFile(tmp_path / "cred")
    assert again.reserve() == key
    again.release()
