"""A bought credential goes into a new file of this user, or nowhere; and then its one-time token is not spent."""

import asyncio
import os
import resource
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from preflight_checks.enroll_cycle import enroll_cycle
from pydantic import SecretStr

from preflight.api import Result, Status
from preflight.model.control import Credential, CredentialsError
from preflight.net.control.credentials import CredentialsFile
from preflight.settings.load import Enrolment, Settings
from preflight.settings.schema import ControlSettings
from preflight.settings.secrets import known_secrets
from tests.net import conftest as net

if TYPE_CHECKING:
    from tests.net.conftest import OpenTrap

open_trap = net.open_trap

TOKEN = "s3cr3t-token-of-the-test"
CREDENTIAL = Credential(SecretStr(TOKEN), "lab")
KEY = "0123456789abcdef" * 2
IMITATION = f"# idempotency key of an exchange under way: {KEY}".ljust(4095) + "\n"
NOBODY = 65534

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away and makes devices")
Plant = Callable[[Path, Path], None]
"""Puts something at the first path; the second is a victim that must stay as it is."""


def imitate(path: Path, mode: int = 0o600) -> None:
    """A hidden file as a run makes it, with a key that the attacker knows."""
    path.write_text(IMITATION)
    path.chmod(mode)


def by_nobody(path: Path, _victim: Path) -> None:
    imitate(path)
    os.chown(path, NOBODY, NOBODY)


def hard_link(path: Path, victim: Path) -> None:
    imitate(victim)
    path.hardlink_to(victim)


def unix_socket(path: Path, _victim: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        folder = os.open(path.parent, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{folder}/{path.name}")  # the path itself may be too long for a socket
        os.close(folder)


def device(path: Path, _victim: Path) -> None:
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))


THINGS = [
    pytest.param(hard_link, id="hard link"),
    pytest.param(lambda path, victim: path.symlink_to(victim), id="link"),
    pytest.param(lambda path, victim: path.symlink_to(path.with_name("nowhere")), id="dangling link"),
    pytest.param(lambda path, victim: path.symlink_to("/dev/full"), id="link to dev-full"),
    pytest.param(lambda path, victim: os.mkfifo(path, 0o600), id="pipe"),
    pytest.param(lambda path, victim: path.mkdir(), id="folder"),
    pytest.param(unix_socket, id="socket"),
    pytest.param(device, id="device", marks=root_only),
]
HIDDEN = [
    *THINGS,
    pytest.param(by_nobody, id="key of another user", marks=root_only),
    pytest.param(lambda path, victim: imitate(path, 0o666), id="mode 0666"),
    pytest.param(lambda path, victim: imitate(path, 0o640), id="mode 0640"),
    pytest.param(lambda path, victim: (path.write_text("rubbish"), path.chmod(0o600)), id="something else"),
]


def looks(folder: Path) -> dict[str, tuple[int, ...]]:
    """What is in a folder: its kinds, owners, inodes and times."""
    found = {path.name: path.lstat() for path in folder.iterdir()}
    return {name: (s.st_mode, s.st_uid, s.st_ino, s.st_size, s.st_mtime_ns) for name, s in found.items()}


@pytest.mark.parametrize("plant", HIDDEN)
def test_a_planted_hidden_file_is_neither_used_nor_changed(plant: Plant, tmp_path: Path) -> None:
    """What another user may have put in the hidden file's place is named, and not opened, filled or replaced."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    file = CredentialsFile(tmp_path / "cred")
    plant(file.pending, victim)
    before, held = looks(tmp_path), victim.read_bytes()
    with pytest.raises(CredentialsError) as caught:
        file.reserve()
    assert str(file.pending) in str(caught.value)
    assert KEY not in str(caught.value)
    assert (looks(tmp_path), victim.read_bytes()) == (before, held)


@pytest.mark.parametrize("plant", THINGS)
def test_a_target_that_exists_is_never_written(plant: Plant, tmp_path: Path) -> None:
    """A target that is there, whatever it is, stays as it is; and looking for secrets in it ends."""
    victim, target = tmp_path / "victim", tmp_path / "cred"
    victim.write_text("precious")
    plant(target, victim)
    before = looks(tmp_path)
    with pytest.raises(CredentialsError, match="exists"):
        CredentialsFile(target).reserve()
    known_secrets(Settings(enrolment=Enrolment(None, target)), {})
    assert looks(tmp_path) == before


def world_writable(folder: Path) -> None:
    folder.chmod(0o777)


def of_nobody(folder: Path) -> None:
    os.chown(folder, NOBODY, NOBODY)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(world_writable, id="writable for everybody"),
        pytest.param(of_nobody, id="of another user", marks=root_only),
        pytest.param(lambda folder: folder.rmdir(), id="missing"),
        pytest.param(lambda folder: (folder.rmdir(), folder.write_text("")), id="a file"),
        pytest.param(lambda folder: (folder.rmdir(), folder.symlink_to("/dev/full")), id="a device"),
    ],
)
def test_a_folder_where_others_could_replace_it_gets_none(spoil: Callable[[Path], None], tmp_path: Path) -> None:
    """In a folder where another user could put a different file in its place, nothing is written."""
    folder = tmp_path / "folder"
    folder.mkdir()
    spoil(folder)
    with pytest.raises(CredentialsError) as caught:
        CredentialsFile(folder / "cred").reserve()
    assert str(folder) in str(caught.value)
    assert not folder.is_dir() or not list(folder.iterdir())


def test_a_key_is_not_gone_on_with_where_a_group_may_write(tmp_path: Path) -> None:
    """In a folder that a group writes to, a key that seems to be ours is not trusted; a new file can still be made."""
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(0o775)
    file = CredentialsFile(folder / "cred")
    imitate(file.pending)
    with pytest.raises(CredentialsError, match="others may write"):
        file.reserve()
    file.pending.unlink()
    assert file.reserve() != KEY
    file.write(CREDENTIAL)
    assert TOKEN in (folder / "cred").read_text()


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o1777], ids=["private", "readable", "sticky"])
def test_a_key_of_our_own_is_gone_on_with(mode: int, tmp_path: Path) -> None:
    """Where only this user can have left it, the key of a killed run is used again: its token is not lost."""
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(mode)
    file = CredentialsFile(folder / "cred")
    imitate(file.pending)
    assert file.reserve() == KEY
    file.release()


@pytest.mark.parametrize("umask", [0, 0o22, 0o777], ids=oct)
def test_it_is_private_from_the_first_byte(umask: int, tmp_path: Path) -> None:
    """Hidden file and target have mode 0600 under any umask, before anything is in them."""
    before = os.umask(umask)
    try:
        file = CredentialsFile(tmp_path / "cred")
        file.reserve()
        assert stat.S_IMODE(file.pending.stat().st_mode) == 0o600
        file.write(CREDENTIAL)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600


@pytest.mark.parametrize("plant", THINGS)
def test_a_target_that_appears_in_between_is_not_filled(plant: Plant, tmp_path: Path) -> None:
    """What is put in the target's place during the exchange is left alone; the credential waits in the hidden file."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    file = CredentialsFile(tmp_path / "cred")
    file.reserve()
    plant(file.path, victim)
    held = victim.read_bytes()
    with pytest.raises(CredentialsError) as caught:
        file.write(CREDENTIAL)
    assert str(file.pending) in str(caught.value)
    assert TOKEN not in str(caught.value)
    assert victim.read_bytes() == held
    assert TOKEN in file.pending.read_text()
    assert stat.S_IMODE(file.pending.stat().st_mode) == 0o600


@pytest.mark.parametrize("plant", [*THINGS, pytest.param(lambda path, victim: None, id="nothing")])
def test_a_hidden_file_that_is_swapped_is_not_the_credential(plant: Plant, tmp_path: Path) -> None:
    """An attacker who swaps the hidden file during the exchange gets nothing, and cannot choose the content."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    file = CredentialsFile(tmp_path / "cred")
    file.reserve()
    file.pending.unlink()
    plant(file.pending, victim)
    before, held = looks(tmp_path), victim.read_bytes()
    file.write(CREDENTIAL)
    assert file.path.read_text() == f"VOX_MESH_TOKEN={TOKEN}\nVOX_MESH_SCOPE_ID=lab\n"
    assert stat.S_IMODE(file.path.lstat().st_mode) == 0o600
    assert stat.S_ISREG(file.path.lstat().st_mode)
    after = looks(tmp_path)
    del after["cred"]
    assert (after, victim.read_bytes()) == (before, held)


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """If there is no space for the credential, the user learns that before the token is spent, and no file stays."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(CredentialsError, match="cannot be written"):
            CredentialsFile(tmp_path / "cred").reserve()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda out: os.mkfifo(out), id="target is a pipe"),
        pytest.param(lambda out: out.symlink_to("/dev/full"), id="target leads to dev-full"),
        pytest.param(lambda out: os.mkfifo(out.with_name(".cred.pending")), id="hidden pipe"),
        pytest.param(lambda out: imitate(out.with_name(".cred.pending"), 0o644), id="planted key"),
        pytest.param(lambda out: world_writable(out.parent), id="folder for everybody"),
    ],
)
def test_the_token_is_not_spent(spoil: Callable[[Path], None], open_trap: "OpenTrap", tmp_path: Path) -> None:
    """Where the credential could not be kept safely, no exchange is sent, and the report says why."""

    async def enrol() -> tuple[list[Result], list[str]]:
        async with open_trap(lambda request: net.answer("500 No")) as trap:
            made = Settings(
                control=ControlSettings(url=trap.url), enrolment=Enrolment(SecretStr("boot-token"), tmp_path / "cred")
            )
            context = net.context(made)
            async with aclosing(enroll_cycle.function(context)) as results:
                reported = [result async for result in results]
            await context.net.aclose()
            return reported, [request.line for request in trap.requests]

    spoil(tmp_path / "cred")
    reported, asked = asyncio.run(enrol())
    assert asked == []
    assert (reported[0].status, reported[0].aspect) == (Status.INCONCLUSIVE, "bootstrap")
    assert "not spent" in reported[0].message


@pytest.mark.parametrize("target", ["pipe", "/dev/full"])
def test_the_program_does_not_hang_on_its_target(target: str, tmp_path: Path) -> None:
    """The whole program ends where --credentials-out names a pipe or an endless device, and leaves it as it is."""
    (tmp_path / "token").write_text("boot-token")
    if target == "pipe":
        os.mkfifo(tmp_path / target)
    words = ["run", "enroll.cycle", "--enroll", "--bootstrap-token-file", "token", "--credentials-out", target]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "preflight", *words, "--control-url", "http://127.0.0.1:9", "--output", "json"],
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in (1, 3), done.stderr
    assert b"boot-token" not in done.stdout + done.stderr
    assert not stat.S_ISREG((tmp_path / target).stat().st_mode)
