"""The next run or `preflight clean` removes what a killed run joined, and never another node's row."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from preflight_checks.run_left_behind import run_left_behind

from preflight.api import Status, codes
from preflight.model.enrolment import JoinedRow, LeftBehind
from preflight.net import Net
from preflight.net.control.journal import Note
from preflight.net.control.left_behind import take_back
from preflight.net.control.membership import Member
from preflight.proto.control.left_behind import SLACK_MS
from preflight.proto.control.membership import News
from tests.net import conftest as net
from tests.net.conftest import SUBMITTER, ControlPlane, Request, answer

if TYPE_CHECKING:
    from tests.net.conftest import OpenTrap, Trap
from tests.attack import rows_left
from tests.attack.rows_left import joined_folder, killed_run, post, record, results_of, rows, run_clean, settings

plane = rows_left.plane
node = rows_left.node


open_trap = net.open_trap


# --- what is killed, and who comes after ------------------------------------------------------------------------------


class Stalled:
    """A relay before the control plane that lets a run get to one route, and holds that answer back."""

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
    """After `kill -9` of any command that joins, the row is written down; `preflight clean` removes it and says so."""

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
    """The next run that writes to the cluster removes the row first, and its report says so."""
    row = killed_run(plane.url, f"preflight-before-{check}", made_up=True)
    post(plane, "join", **record(row.node_id, row.mark))

    async def run() -> dict[str, Any]:
        process = await program("run", check, option, "--control-url", plane.url, "--output", "json")
        out, _ = await process.communicate()
        found: dict[str, Any] = json.loads(out)
        return found

    results = {result["check"]: result for result in asyncio.run(run())["results"]}
    reported = results["run.left-behind"]
    assert (reported["status"], f"the row {row.node_id} is removed" in reported["message"]) == ("pass", True)
    assert results[check]["code"] != "run.blocked"
    assert rows(plane, row.node_id) == []
    assert list(joined_folder().iterdir()) == []


def test_a_run_that_only_reads_tells_of_it(plane: ControlPlane) -> None:
    """A run that was not asked to write leaves the row, warns, and names the line that removes it."""
    row = killed_run(plane.url, "preflight-read-only", made_up=True)
    post(plane, "join", **record(row.node_id, row.mark))
    (reported,) = results_of(run_left_behind, settings(plane.url))
    assert (reported.status, reported.code) == (Status.WARN, codes.RUN_LEFT_BEHIND)
    assert reported.remedy == f"preflight clean --control-url {plane.url}"
    assert rows(plane, row.node_id)
    assert run_clean(plane.url).exit_code == 0


def test_the_next_member_has_its_id_back(plane: ControlPlane) -> None:
    """A member that was killed and starts again removes its old row, says so, and joins under its id as before."""
    row = killed_run(plane.url, "node-again")
    post(plane, "join", **record(row.node_id, row.mark))

    async def run() -> list[str]:
        reported: list[str] = []
        stop, joined = asyncio.Event(), asyncio.Event()

        def tell(news: News) -> None:
            reported.append(news.text)
            if "joined" in news.text:
                joined.set()

        client = Net(settings(plane.url, "node-again")).new_control()
        staying = asyncio.create_task(Member(settings(plane.url, "node-again"), client, 1, tell).stay(stop))
        await joined.wait()
        stop.set()
        await staying
        await client.aclose()
        return reported

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
    """A row that may be a real worker's by now stays listed as it is; the run drops its claim and reports that."""
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
    """A row that a running run has joined is not seen by others, so they cannot remove it."""
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
        client = Net(settings(plane.url)).new_control()
        both = await asyncio.gather(take_back(plane.url, client), take_back(plane.url, client))
        await client.aclose()
        return list(both)

    reported = [left for each in asyncio.run(run()) for left in each]
    assert sorted(left.row.node_id for left in reported if left.row) == [f"preflight-twice-{n}" for n in range(4)]
    assert {left.fate for left in reported} == {"removed"}
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
    """Only a control plane's own list and its answer to the leave prove a row gone; until then it is remembered."""

    async def run() -> None:
        async with open_trap(lambda request: body) as trap:
            killed_run(trap.url, "preflight-unproved", made_up=True)
            done = await asyncio.to_thread(run_clean, trap.url)
            assert (done.exit_code, "could not be removed" in done.output) == (1, True)
            assert len(list(joined_folder().iterdir())) == 1
            assert [request.line for request in trap.requests if "/leave" in request.line] == []

    asyncio.run(run())


def test_a_token_that_may_not_leave(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a token of the wrong role nothing is removed, and the reason is reported."""
    row = killed_run(plane.url, "preflight-role", made_up=True)
    post(plane, "join", **record(row.node_id, row.mark))
    monkeypatch.setenv("VOX_MESH_TOKEN", SUBMITTER)
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
