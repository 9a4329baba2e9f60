"""What a killed run joined is removed by the next one or by `preflight clean`, and nobody else's row ever is."""

import asyncio
import json
import os
import resource
import signal
import socket
import stat
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from click.testing import CliRunner, Result
from preflight_checks.enroll_cycle import enroll_cycle
from preflight_checks.run_left_behind import run_left_behind
from pydantic import SecretStr

from preflight.api import Check, Status, codes
from preflight.api import Result as CheckResult
from preflight.cli.clean import clean
from preflight.model.enrolment import JoinedRow, LeftBehind
from preflight.net.control import journal
from preflight.net.control.client import ControlClient
from preflight.net.control.journal import Entry, Note
from preflight.net.control.left_behind import take_back
from preflight.net.control.membership import Member
from preflight.proto.control.left_behind import SLACK_MS
from preflight.proto.control.membership import News
from preflight.settings.load import Enrolment, Secrets, Settings
from preflight.settings.schema import ControlSettings, NodeSettings
from tests.net import conftest as net
from tests.net.conftest import BOOTSTRAP, MESH, SUBMITTER, WORKER, ControlPlane, Request, answer

if TYPE_CHECKING:
    from tests.net.conftest import OpenTrap, Trap

open_trap = net.open_trap

NOBODY = 65534
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane for the whole file, of an open scope, so that every join is taken; each test has its own ids."""
    secrets = {
        "VOX_MESH_TOKEN": MESH,
        "VOX_MESH_WORKER_TOKEN": WORKER,
        "VOX_MESH_SUBMITTER_TOKEN": SUBMITTER,
        "VOX_MESH_BOOTSTRAP_TOKEN": BOOTSTRAP,
    }
    served = ControlPlane(tmp_path_factory.mktemp("plane"), secrets).start()
    yield served
    served.kill()


@pytest.fixture(autouse=True)
def _node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """This node has a worker's token and nothing else; its state folder is that of the test."""
    for name in list(os.environ):
        if name.startswith(("VOX_", "PREFLIGHT_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("VOX_MESH_WORKER_TOKEN", WORKER)
    monkeypatch.setenv("VOX_MESH_SCOPE_ID", "lab")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


def joined_folder() -> Path:
    return journal.state_folder() / "joined"


def post(plane: ControlPlane, route: str, **body: Any) -> None:
    headers = {"authorization": f"Bearer {MESH}"}
    httpx.post(f"{plane.url}/v1/populi/{route}", json=body, headers=headers, verify=False).raise_for_status()


def record(node_id: str, *labels: str, **more: Any) -> dict[str, Any]:
    row = {"id": node_id, "capabilities": {"labels": labels}, "version": "9", "last_seen_unix_ms": 0, "scope_id": "lab"}
    return row | more


def rows(plane: ControlPlane, prefix: str = "") -> list[dict[str, Any]]:
    headers = {"authorization": f"Bearer {MESH}"}
    said = httpx.get(f"{plane.url}/v1/populi/nodes", headers=headers, verify=False)
    return [row for row in said.json()["nodes"] if row["id"].startswith(prefix)]


def settings(url: str, node_id: str | None = None) -> Settings:
    return Settings(
        node=NodeSettings(id=node_id),
        control=ControlSettings(url=url, scope_id="lab"),
        secrets=Secrets(token=SecretStr(WORKER)),
    )


def killed_run(url: str, node_id: str, *, made_up: bool = False) -> JoinedRow:
    """What a run that was killed has written down: its file is there, and nobody holds it."""
    note = Note(settings(url, None if made_up else node_id), "enroll.cycle")
    note.before_join(node_id, "lab")
    row = note.row
    assert row is not None
    note.end(gone=False)
    return row


def run_clean(url: str, *words: str) -> Result:
    return CliRunner().invoke(clean, ["--control-url", url, *words], catch_exceptions=False)


# --- what is killed, and who comes after ------------------------------------------------------------------------------


class Stalled:
    """A relay before the control plane that lets a run come as far as one route, whose answer it keeps back."""

    def __init__(self, plane: ControlPlane, route: str) -> None:
        self._plane = plane
        self._route = route
        self.reached = asyncio.Event()
        self.kept_back = True

    def respond(self, request: Request) -> bytes | None:
        """Carried out; what is heard of it."""
        method, path, _ = request.line.split()
        if self.kept_back and path.endswith(self._route):
            self.reached.set()
            return None
        kept = ("authorization", "content-type")
        headers = {name: value for name, value in request.headers.items() if name in kept}
        said = httpx.request(method, f"{self._plane.url}{path}", content=request.body, headers=headers, verify=False)
        return answer(f"{said.status_code} X", said.content, x_populi_feature="exec-lease-v1")


async def program(*words: str, **variables: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-P", "-m", "preflight", *words),
        env={**os.environ, **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


def results_of(
    check: Check, made: Settings, each: Callable[[CheckResult], None] = lambda result: None
) -> list[CheckResult]:
    """Run a check by itself; `each` sees a result as soon as it is there."""

    async def run() -> list[CheckResult]:
        context, told = net.context(made), []
        async with aclosing(check.function(context)) as results:
            async for result in results:
                told.append(result)
                each(result)
        await context.net.aclose()
        return told

    return asyncio.run(run())


@asynccontextmanager
async def killed(open_trap: "OpenTrap", plane: ControlPlane, kind: str) -> AsyncIterator[tuple["Trap", str]]:
    """A real process that wrote to the cluster and was killed there; the relay, and the id that it left listed."""
    words, route = {
        "enroll": (["run", "enroll.cycle", "--enroll"], "heartbeat"),
        "scope": (["run", "posture.scope", "--intrusive"], "leave"),
        "watch": (["watch", "control.url", "--heartbeat"], "heartbeat"),
    }[kind]
    stalled = Stalled(plane, route)
    async with open_trap(stalled.respond) as trap:
        process = await program(*words, "--control-url", trap.url, VOX_MESH_HTTP_HEARTBEAT_SECS="1")
        async with asyncio.timeout(60):
            await stalled.reached.wait()
        process.send_signal(signal.SIGKILL)
        await process.communicate()
        stalled.kept_back = False
        (file,) = joined_folder().iterdir()
        yield trap, json.loads(file.read_text())["node_id"]


@pytest.mark.parametrize("kind", ["enroll", "scope", "watch"])
def test_clean_removes_what_a_killed_run_joined(open_trap: "OpenTrap", plane: ControlPlane, kind: str) -> None:
    """After `kill -9` of whatever joins, the row is written down, and `preflight clean` takes it back and says so."""

    async def run() -> None:
        async with killed(open_trap, plane, kind) as (trap, node_id):
            assert rows(plane, node_id)
            done = await asyncio.to_thread(run_clean, trap.url)
            assert (done.exit_code, f"the row {node_id} is removed" in done.output) == (0, True)
            assert rows(plane, node_id) == []
            assert list(joined_folder().iterdir()) == []

    asyncio.run(run())


@pytest.mark.parametrize(("check", "option"), [("enroll.cycle", "--enroll"), ("posture.scope", "--intrusive")])
def test_the_next_run_that_writes_removes_it(plane: ControlPlane, check: str, option: str) -> None:
    """The next run that writes to the cluster takes the row back first, and its report says so."""
    row = killed_run(plane.url, f"preflight-before-{check}", made_up=True)
    post(plane, "join", **record(row.node_id, row.mark))

    async def run() -> dict[str, Any]:
        process = await program("run", check, option, "--control-url", plane.url, "--output", "json")
        out, _ = await process.communicate()
        found: dict[str, Any] = json.loads(out)
        return found

    results = {result["check"]: result for result in asyncio.run(run())["results"]}
    told = results["run.left-behind"]
    assert (told["status"], f"the row {row.node_id} is removed" in told["message"]) == ("pass", True)
    assert results[check]["code"] != "run.blocked"
    assert rows(plane, row.node_id) == []
    assert list(joined_folder().iterdir()) == []


def test_a_run_that_only_reads_tells_of_it(plane: ControlPlane) -> None:
    """A run that was not asked to write leaves the row, warns, and names the line that removes it."""
    row = killed_run(plane.url, "preflight-read-only", made_up=True)
    post(plane, "join", **record(row.node_id, row.mark))
    (told,) = results_of(run_left_behind, settings(plane.url))
    assert (told.status, told.code) == (Status.WARN, codes.RUN_LEFT_BEHIND)
    assert told.remedy == f"preflight clean --control-url {plane.url}"
    assert rows(plane, row.node_id)
    assert run_clean(plane.url).exit_code == 0


def test_the_next_member_has_its_id_back(plane: ControlPlane) -> None:
    """A member that was killed and starts again takes its own row back, says so, and joins under its id as before."""
    row = killed_run(plane.url, "node-again")
    post(plane, "join", **record(row.node_id, row.mark))

    async def run() -> list[str]:
        told: list[str] = []
        stop, joined = asyncio.Event(), asyncio.Event()

        def tell(news: News) -> None:
            told.append(news.text)
            if "joined" in news.text:
                joined.set()

        client = ControlClient.from_settings(settings(plane.url, "node-again"))
        staying = asyncio.create_task(Member(settings(plane.url, "node-again"), client, 1, tell).stay(stop))
        await joined.wait()
        stop.set()
        await staying
        await client.aclose()
        return told

    removed, *rest = asyncio.run(run())
    assert "the row node-again is removed" in removed
    assert rest == ["joined as node-again", "node-again left again"]
    assert list(joined_folder().iterdir()) == []


@pytest.mark.parametrize("dry", [True, False], ids=["dry-run", "for real"])
def test_clean_does_what_it_says(plane: ControlPlane, dry: bool) -> None:
    """--dry-run names the row and leaves it, exit 1; without it the row goes, exit 0, and a second run finds none."""
    row = killed_run(plane.url, "preflight-dry", made_up=True)
    post(plane, "join", **record(row.node_id, row.mark, maintenance=True))
    done = run_clean(plane.url, *["--dry-run"] * dry)
    assert done.exit_code == int(dry)
    assert "preflight-dry" in done.output
    assert bool(rows(plane, "preflight-dry")) == dry
    if not dry:
        assert "nothing is left" in run_clean(plane.url).output


# --- nobody else's row ------------------------------------------------------------------------------------------------


def rejoined(plane: ControlPlane, row: JoinedRow) -> None:
    post(plane, "join", **record(row.node_id, row.mark))
    post(plane, "join", **record(row.node_id, "pool=infer"))


def came_back(plane: ControlPlane, row: JoinedRow) -> None:
    """A worker that the list hid when the run joined sends heartbeats: they keep the labels of the row."""
    post(plane, "join", **record(row.node_id, row.mark))
    (file,) = joined_folder().iterdir()
    long_ago = time.time() - 2 * SLACK_MS / 1000
    os.utime(file, (long_ago, long_ago))
    post(plane, "heartbeat", **record(row.node_id, "pool=infer"))


def quarantined(plane: ControlPlane, row: JoinedRow) -> None:
    post(plane, "join", **record(row.node_id, row.mark))
    post(plane, "admin/quarantine", node_id=row.node_id, quarantined=True)


def drained(plane: ControlPlane, row: JoinedRow) -> None:
    post(plane, "join", **record(row.node_id, row.mark))
    post(plane, "admin/maintenance", node_id=row.node_id, maintenance=True)


@pytest.mark.parametrize("happen", [rejoined, came_back, quarantined, drained], ids=lambda f: f.__name__)
def test_a_workers_row_is_never_taken(plane: ControlPlane, happen: Callable[[ControlPlane, JoinedRow], None]) -> None:
    """A row that may be a real worker's by now stays listed as it is; the run's claim is dropped, and that told."""
    row = killed_run(plane.url, f"worker-{happen.__name__}")
    happen(plane, row)
    before = rows(plane, row.node_id)
    done = run_clean(plane.url)
    assert rows(plane, row.node_id) == before
    assert len(before) == 1
    assert (done.exit_code, "is left alone" in done.output) == (0, True)
    assert list(joined_folder().iterdir()) == []


def test_a_row_that_is_still_the_runs_is_taken(plane: ControlPlane) -> None:
    """A row under the node's real id goes if it carries the run's label and was not seen since the run."""
    row = killed_run(plane.url, "worker-of-the-run")
    post(plane, "join", **record(row.node_id, row.mark))
    assert run_clean(plane.url).exit_code == 0
    assert rows(plane, row.node_id) == []


def test_the_row_of_a_living_run_is_not_touched(plane: ControlPlane) -> None:
    """What a run that still lives has joined is not seen, let alone removed, by anyone else."""
    note = Note(settings(plane.url), "enroll.cycle")
    note.before_join("preflight-living", "lab")
    post(plane, "join", **record("preflight-living", note.mark))
    assert "nothing is left" in run_clean(plane.url).output
    assert rows(plane, "preflight-living")
    note.end(gone=False)
    assert run_clean(plane.url).exit_code == 0
    assert rows(plane, "preflight-living") == []


def test_two_that_clean_at_once(plane: ControlPlane) -> None:
    """Two that clean at the same time remove each row once, and neither fails."""
    for number in range(4):
        row = killed_run(plane.url, f"preflight-twice-{number}", made_up=True)
        post(plane, "join", **record(row.node_id, row.mark))

    async def run() -> list[list[LeftBehind]]:
        client = ControlClient.from_settings(settings(plane.url))
        both = await asyncio.gather(take_back(plane.url, client), take_back(plane.url, client))
        await client.aclose()
        return list(both)

    told = [left for each in asyncio.run(run()) for left in each]
    assert sorted(left.row.node_id for left in told if left.row) == [f"preflight-twice-{n}" for n in range(4)]
    assert {left.fate for left in told} == {"removed"}
    assert run_clean(plane.url).exit_code == 0
    assert rows(plane, "preflight-twice") == []


# --- control planes that do not help ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(answer("404 Not Found", b"no"), id="a web server"),
        pytest.param(answer("200 OK", b"<html>sign in</html>"), id="a sign-in page"),
        pytest.param(answer("503 Unavailable", b"later", retry_after="0"), id="always later"),
        pytest.param(answer("401 Unauthorized", b"unauthorized"), id="a stranger"),
        pytest.param(answer("200 OK", b'{"schema_version": 1, "nodes": 7}'), id="no list"),
        pytest.param(b"", id="closed"),
    ],
)
def test_what_cannot_be_proved_gone_stays_written_down(open_trap: "OpenTrap", body: bytes) -> None:
    """Only a control plane's own list and its word on the leave prove a row gone; until then it is kept in mind."""

    async def run() -> None:
        async with open_trap(lambda request: body) as trap:
            killed_run(trap.url, "preflight-unproved", made_up=True)
            done = await asyncio.to_thread(run_clean, trap.url)
            assert (done.exit_code, "could not be removed" in done.output) == (1, True)
            assert len(list(joined_folder().iterdir())) == 1
            assert [request.line for request in trap.requests if "/leave" in request.line] == []

    asyncio.run(run())


def test_a_token_that_may_not_leave(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a token of the wrong role nothing is removed, and the reason is told."""
    row = killed_run(plane.url, "preflight-role", made_up=True)
    post(plane, "join", **record(row.node_id, row.mark))
    monkeypatch.setenv("VOX_MESH_WORKER_TOKEN", SUBMITTER)
    done = run_clean(plane.url)
    assert (done.exit_code, "403" in done.output) == (1, True)
    assert rows(plane, "preflight-role")
    assert len(list(joined_folder().iterdir())) == 1
    post(plane, "leave", id=row.node_id)


def test_no_token_is_sent_to_another_control_plane(open_trap: "OpenTrap", plane: ControlPlane) -> None:
    """A URL that was written down gets no request: its row is named, with the line that asks for its own token."""

    async def run() -> None:
        async with open_trap(lambda request: answer("200 OK")) as trap:
            killed_run(trap.url, "preflight-elsewhere", made_up=True)
            done = await asyncio.to_thread(run_clean, plane.url)
            assert (done.exit_code, trap.connections) == (1, 0)
            assert f"preflight clean --control-url {trap.url}" in done.output

    asyncio.run(run())


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
    """What is no run's file is neither followed nor waited for nor changed; the rest is cleaned all the same."""
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
    """Where nothing can be written down safely, the enrolment runs and leaves, and tells what a kill would cost."""
    joined_folder().parent.mkdir(parents=True)
    spoil(joined_folder())
    results = results_of(enroll_cycle, replace(settings(plane.url), enrolment=Enrolment()))
    told = {result.aspect: result.message for result in results if result.status is Status.PASS}
    assert set(told) == {"join", "heartbeat", "listed", "leave"}
    assert "not written down" in told["join"]
    assert str(joined_folder()) in told["join"]
    assert run_clean(plane.url).exit_code in (0, 1)


def test_a_full_disk_is_no_reason_to_leave_a_piece_of_a_row(plane: ControlPlane) -> None:
    """Where there is no space to write the row down, no part of it stays, and that is told."""
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
    """Half of an entry is of a run that had joined nothing yet: it is removed in silence once it is old."""
    folder = joined_folder()
    folder.mkdir(mode=0o700, parents=True)
    for name, age_s in ((".young.new", 0), (".old.new", 3600)):
        write_private(folder / name, b'{"url"')
        os.utime(folder / name, (time.time() - age_s,) * 2)
    assert run_clean(plane.url).exit_code == 0
    assert [path.name for path in folder.iterdir()] == [".young.new"]


def test_what_is_written_down_holds_no_secret(plane: ControlPlane, tmp_path: Path) -> None:
    """The entry of an enrolment is readable to its user only, and has no token and nothing that one bought."""
    wish = Enrolment(SecretStr(BOOTSTRAP), tmp_path / "cred")
    seen: list[Path] = []

    def look(result: CheckResult) -> None:
        if result.aspect == "join":
            seen.extend(joined_folder().iterdir())
            assert [stat.S_IMODE(path.stat().st_mode) for path in (seen[0], seen[0].parent)] == [0o600, 0o700]
            assert not [secret for secret in (MESH, WORKER, BOOTSTRAP) if secret in seen[0].read_text()]

    results_of(enroll_cycle, replace(settings(plane.url), enrolment=wish), look)
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
            each.strike_out()
