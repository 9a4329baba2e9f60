"""The journal of joined rows: planted, spoilt and absurd files break nothing and get nothing removed."""

import json
import os
import resource
import socket
import stat
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from preflight_checks.enroll_cycle import enroll_cycle
from pydantic import SecretStr

from preflight.api import Result as CheckResult
from preflight.api import Status
from preflight.model.enrolment import JoinedRow
from preflight.net.control import journal
from preflight.net.control.journal import Entry, Note
from preflight.settings.load import Enrolment
from tests.attack import rows_left
from tests.attack.rows_left import joined_folder, killed_run, post, record, results_of, rows, run_clean, settings
from tests.net.conftest import BOOTSTRAP, MESH, WORKER, ControlPlane

plane = rows_left.plane
node = rows_left.node


NOBODY = 65534
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


# --- the journal itself -----------------------------------------------------------------------------------------------


def plant_link(path: Path) -> None:
    target = path.parents[2] / "victim"
    target.write_text("precious")
    path.symlink_to(target)


def plant_hard_link(path: Path) -> None:
    target = path.parents[2] / "victim"
    write_private(target, b"precious")
    path.hardlink_to(target)


def plant_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        folder = os.open(path.parent, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{folder}/{path.name}")
        os.close(folder)


def write_private(path: Path, content: bytes, mode: int = 0o600) -> None:
    path.write_bytes(content)
    path.chmod(mode)


def looks(path: Path) -> tuple[int, ...]:
    found = path.lstat()
    return found.st_mode, found.st_uid, found.st_ino, found.st_nlink, found.st_size, found.st_mtime_ns


def claim(url: str, **changes: object) -> bytes:
    row = {"url": url, "node_id": "preflight-x", "made_up": True, "mark": "m", "command": "c", "at_unix_ms": 1}
    return json.dumps(row | changes).encode()


def sparse(path: Path) -> None:
    write_private(path, b"{")
    os.truncate(path, 1 << 40)


def of_nobody(path: Path) -> None:
    write_private(path, b"{}")
    os.chown(path, NOBODY, NOBODY)


PLANTED = [
    pytest.param(plant_link, id="link"),
    pytest.param(plant_hard_link, id="hard link"),
    pytest.param(lambda path: os.mkfifo(path, 0o600), id="pipe"),
    pytest.param(plant_socket, id="socket"),
    pytest.param(lambda path: path.mkdir(), id="folder"),
    pytest.param(of_nobody, id="of another user", marks=root_only),
    pytest.param(lambda path: write_private(path, claim("http://127.0.0.1:9"), 0o666), id="mode 0666"),
    pytest.param(lambda path: write_private(path, b""), id="empty"),
    pytest.param(lambda path: write_private(path, b'{"url": "http://127.'), id="cut off"),
    pytest.param(lambda path: write_private(path, b"\xff\x00\x80"), id="no text"),
    pytest.param(lambda path: write_private(path, b"[" * 60000), id="deep"),
    pytest.param(sparse, id="a tebibyte"),
    pytest.param(lambda path: write_private(path, claim("u", node_id=7)), id="wrong type"),
    pytest.param(lambda path: write_private(path, claim("u", at_unix_ms=10**400)), id="400 digits"),
    pytest.param(lambda path: write_private(path, claim("u", node_id="x\x1b[2J\ny")), id="escape characters"),
]


@pytest.mark.parametrize("plant", PLANTED)
def test_a_file_that_no_run_wrote_is_named_and_left(plane: ControlPlane, plant: Callable[[Path], None]) -> None:
    """A file that no run wrote is neither followed nor waited for nor changed; the rest is cleaned anyway."""
    row = killed_run(plane.url, "preflight-beside", made_up=True)
    post(plane, "join", **record(row.node_id, row.mark))
    planted = joined_folder() / "0.json"
    plant(planted)
    before = looks(planted)
    done = run_clean(plane.url)
    assert done.exit_code == 1
    assert str(planted) in done.output
    assert "\x1b" not in done.output
    assert rows(plane, "preflight-beside") == []
    assert [path.name for path in joined_folder().iterdir()] == ["0.json"]
    assert looks(planted) == before


def elsewhere(folder: Path) -> None:
    real = folder.parents[1] / "elsewhere"
    real.mkdir(mode=0o700)
    folder.symlink_to(real)


def shared(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)


def given_away(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    os.chown(folder, NOBODY, NOBODY)


SPOILT = [
    pytest.param(elsewhere, id="a link"),
    pytest.param(shared, id="writable for everybody"),
    pytest.param(given_away, id="of another user", marks=root_only),
    pytest.param(lambda folder: folder.write_text(""), id="a file"),
    pytest.param(lambda folder: os.mkfifo(folder), id="a pipe"),
    pytest.param(lambda folder: folder.symlink_to("/sys"), id="read-only"),
    pytest.param(lambda folder: folder.symlink_to("nowhere"), id="a dangling link"),
]


@pytest.mark.parametrize("spoil", SPOILT)
def test_without_a_safe_folder_the_run_goes_on_and_says_so(plane: ControlPlane, spoil: Callable[[Path], None]) -> None:
    """If nothing can be written down safely, the enrolment runs and leaves, and says what a kill would leave behind."""
    joined_folder().parent.mkdir(parents=True)
    spoil(joined_folder())
    results = results_of(enroll_cycle, replace(settings(plane.url), enrolment=Enrolment()))
    messages = {result.aspect: result.message for result in results if result.status is Status.PASS}
    assert set(messages) == {"join", "heartbeat", "listed", "leave"}
    assert "not written down" in messages["join"]
    assert str(joined_folder()) in messages["join"]
    assert run_clean(plane.url).exit_code in (0, 1)


def test_a_full_disk_is_no_reason_to_leave_a_piece_of_a_row(plane: ControlPlane) -> None:
    """If there is no space to write the row down, no part of it stays, and that is reported."""
    note = Note(settings(plane.url), "enroll.cycle")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        note.before_join("preflight-full", "lab")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(joined_folder()) in note.trouble
    assert list(joined_folder().iterdir()) == []
    note.end(gone=True)


def test_a_run_that_was_killed_while_it_wrote(plane: ControlPlane) -> None:
    """Half an entry belongs to a run that had joined nothing yet: it is removed silently once it is old."""
    folder = joined_folder()
    folder.mkdir(mode=0o700, parents=True)
    for name, age_s in ((".young.new", 0), (".old.new", 3600)):
        write_private(folder / name, b'{"url"')
        os.utime(folder / name, (time.time() - age_s,) * 2)
    assert run_clean(plane.url).exit_code == 0
    assert [path.name for path in folder.iterdir()] == [".young.new"]


def test_what_is_written_down_holds_no_secret(plane: ControlPlane, tmp_path: Path) -> None:
    """The entry of an enrolment is readable to its user only, and has no token and nothing that one bought."""
    enrolment = Enrolment(SecretStr(BOOTSTRAP), tmp_path / "cred")
    seen: list[Path] = []

    def look(result: CheckResult) -> None:
        if result.aspect == "join":
            seen.extend(joined_folder().iterdir())
            assert [stat.S_IMODE(path.stat().st_mode) for path in (seen[0], seen[0].parent)] == [0o600, 0o700]
            assert not [secret for secret in (MESH, WORKER, BOOTSTRAP) if secret in seen[0].read_text()]

    results_of(enroll_cycle, replace(settings(plane.url), enrolment=enrolment), look)
    assert len(seen) == 1


@pytest.mark.parametrize(
    "seen", [0, -(10**30), 10**400, (1 << 63) - 1], ids=["zero", "negative", "400 digits", "int64"]
)
def test_absurd_times_of_a_control_plane_break_nothing(plane: ControlPlane, seen: int) -> None:
    """Whatever number a control plane gives for when it saw the row, the entry can be kept and read."""
    with journal.write_down(JoinedRow(plane.url, "preflight-absurd", True, "m", "c", 1)) as entry:
        entry.heard(seen)
        assert entry.heard_unix_ms >= 0
    found = list(journal.left_behind())
    assert [type(each) for each in found] == [Entry]
    for each in found:
        assert isinstance(each, Entry)
        with each:
            each.remove()
