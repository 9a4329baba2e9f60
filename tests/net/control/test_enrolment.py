"""`enroll.cycle` against the bundled control plane over real sockets: what is spent, kept, joined and left."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from preflight_checks.enroll_cycle import enroll_cycle
from pydantic import SecretStr

from preflight.api import Result, Status
from preflight.settings.load import Enrolment, Secrets, Settings
from preflight.settings.schema import ControlSettings, NodeSettings
from tests.net.conftest import BOOTSTRAP, MESH, SUBMITTER, WORKER, Request, answer, context

if TYPE_CHECKING:
    from tests.net.conftest import ControlPlane, OpenTrap, StartControlPlane, Trap

STEPS = ["bootstrap", "join", "heartbeat", "listed", "lease", "leave"]
WHOLE = {**dict.fromkeys(STEPS, "pass"), "lease": "run.not-applicable"}
"""All went well for a row under the random id, which is in maintenance and gets no lease."""


def settings(
    url: str,
    *,
    token: str | None = None,
    boot: str | None = None,
    out: Path | None = None,
    scope: str | None = "lab",
    node_id: str | None = None,
) -> Settings:
    return Settings(
        node=NodeSettings(id=node_id, labels=("pool=infer",)),
        control=ControlSettings(url=url, scope_id=scope),
        secrets=Secrets(token=SecretStr(token) if token else None),
        enrolment=Enrolment(SecretStr(boot) if boot else None, out),
    )


def enrol(made: Settings) -> list[Result]:
    async def run() -> list[Result]:
        ctx = context(made)
        try:
            async with aclosing(enroll_cycle.function(ctx)) as results:
                return [result async for result in results]
        finally:
            await ctx.net.control.aclose()

    return asyncio.run(run())


def said(results: list[Result]) -> dict[str, str]:
    return {str(r.aspect): r.code.slug if r.code else r.status.value for r in results}


def leases(server: "ControlPlane") -> list[object]:
    headers = {"authorization": f"Bearer {MESH}"}
    found: list[object] = httpx.get(f"{server.url}/v1/populi/exec/leases", headers=headers).json()["leases"]
    return found


def rows(server: "ControlPlane", token: str = MESH) -> list[dict[str, object]]:
    listing = httpx.get(f"{server.url}/v1/populi/nodes", headers={"authorization": f"Bearer {token}"})
    nodes = listing.json()["nodes"]
    assert isinstance(nodes, list)
    return nodes


def test_a_whole_enrolment(start_control_plane: "StartControlPlane", tmp_path: Path) -> None:
    """The token buys a credential that works, five steps pass, and no row stays."""
    server, out = start_control_plane(), tmp_path / "cred"
    results = enrol(settings(server.url, boot=BOOTSTRAP, out=out, scope=None))
    assert said(results) == WHOLE
    assert out.read_text() == f"VOX_MESH_TOKEN={MESH}\nVOX_MESH_SCOPE_ID=lab\n"
    assert rows(server) == []
    assert all(result.evidence and result.attempts == 1 for result in results if result.status is not Status.SKIP)


def test_a_token_is_not_spent_for_nothing(start_control_plane: "StartControlPlane", tmp_path: Path) -> None:
    """The file exists, or its folder does not: nothing is exchanged, and the same token works afterwards."""
    server, out = start_control_plane(), tmp_path / "cred"
    out.write_text("the only copy of an older credential")
    for path in (out, tmp_path / "none" / "cred"):
        results = enrol(settings(server.url, boot=BOOTSTRAP, out=path))
        assert said(results) == {"bootstrap": "run.needs-credentials", **dict.fromkeys(STEPS[1:], "run.blocked")}
        assert results[0].status is Status.INCONCLUSIVE
    assert out.read_text() == "the only copy of an older credential"
    assert said(enrol(settings(server.url, boot=BOOTSTRAP, out=tmp_path / "new"))) == WHOLE


@pytest.mark.parametrize(
    ("variables", "boot", "code"),
    [
        ({"VOX_MESH_BOOTSTRAP_TOKEN": ""}, BOOTSTRAP, "enroll.bootstrap-disabled"),
        ({}, "another-token-of-the-tests", "enroll.bootstrap-invalid"),
        ({"VOX_MESH_BOOTSTRAP_EXPIRES_UNIX_MS": "1000"}, BOOTSTRAP, "enroll.bootstrap-spent"),
    ],
)
def test_bootstrap_findings(
    start_control_plane: "StartControlPlane", tmp_path: Path, variables: dict[str, str], boot: str, code: str
) -> None:
    """Not enabled, wrong, expired: each is named, nothing is joined, no file is left."""
    server = start_control_plane(**variables)
    results = enrol(settings(server.url, boot=boot, out=tmp_path / "cred"))
    assert said(results) == {"bootstrap": code, **dict.fromkeys(STEPS[1:], "run.blocked")}
    assert {result.blocked_by for result in results[1:]} == {replace(results[0], check="enroll.cycle").id}
    assert rows(server) == []
    assert list(tmp_path.glob("*cred*")) == []


def test_a_spent_token(start_control_plane: "StartControlPlane", tmp_path: Path) -> None:
    """The second node with the same token learns that it is spent."""
    server = start_control_plane()
    enrol(settings(server.url, boot=BOOTSTRAP, out=tmp_path / "first"))
    results = enrol(settings(server.url, boot=BOOTSTRAP, out=tmp_path / "second"))
    assert said(results)["bootstrap"] == "enroll.bootstrap-spent"
    assert "lost" not in results[0].message


@pytest.mark.parametrize(
    ("token", "scope", "code"),
    [
        ("unknown-token-of-the-tests", "lab", "enroll.unauthorized"),
        (None, "lab", "enroll.unauthorized"),
        (SUBMITTER, "lab", "enroll.forbidden"),
        (WORKER, "other", "enroll.scope-mismatch"),
        (WORKER, None, "enroll.scope-mismatch"),
    ],
)
def test_credential_findings(
    start_control_plane: "StartControlPlane", token: str | None, scope: str | None, code: str
) -> None:
    """A stranger's token, none, the wrong role, another scope: named apart, and nothing is joined."""
    server = start_control_plane()
    results = enrol(settings(server.url, token=token, scope=scope))
    assert said(results) == {
        "bootstrap": "run.not-applicable",
        "join": code,
        **dict.fromkeys(STEPS[2:], "run.blocked"),
    }
    assert rows(server) == []


def test_another_scope_than_the_exchange_tells(start_control_plane: "StartControlPlane", tmp_path: Path) -> None:
    """The credential is kept, the difference is named, and no join is tried."""
    server = start_control_plane()
    results = enrol(settings(server.url, boot=BOOTSTRAP, out=tmp_path / "cred", scope="mine"))
    assert said(results)["bootstrap"] == "pass"
    assert said(results)["join"] == "enroll.scope-mismatch"
    assert "lab" in results[1].message
    assert "mine" in results[1].message
    assert (tmp_path / "cred").exists()
    assert rows(server) == []


def test_lost_heartbeats(start_control_plane: "StartControlPlane") -> None:
    """500 to heartbeats is not repeated; the row that was joined is left."""
    server = start_control_plane("--fault", "heartbeat-500")
    results = enrol(settings(server.url, token=WORKER))
    assert said(results) == {
        "bootstrap": "run.not-applicable",
        "join": "pass",
        "heartbeat": "enroll.heartbeat-failed",
        "listed": "run.blocked",
        "lease": "run.blocked",
        "leave": "pass",
    }
    assert rows(server) == []


def test_throttling_is_waited_out(start_control_plane: "StartControlPlane") -> None:
    """429 and then well: a pass that reports the attempts."""
    server = start_control_plane("--fault", "throttle")
    results = enrol(settings(server.url, token=WORKER))
    assert set(said(results).values()) == {"run.not-applicable", "pass"}
    assert max(result.attempts for result in results) > 1


def test_a_living_node_of_the_same_id_is_left_alone(start_control_plane: "StartControlPlane") -> None:
    """The row of a worker that runs here is as it was: neither replaced nor removed."""
    server = start_control_plane()
    living = {"id": "node-a", "capabilities": {"gpu": True}, "version": "9", "last_seen_unix_ms": 1, "scope_id": "lab"}
    headers = {"authorization": f"Bearer {WORKER}"}
    httpx.post(f"{server.url}/v1/populi/join", json=living, headers=headers).raise_for_status()
    before = rows(server)
    results = enrol(settings(server.url, token=WORKER, node_id="node-a"))
    assert said(results)["leave"] == "pass"
    assert "so another id was used" in results[1].message
    assert rows(server) == before


def test_a_free_id_of_the_settings_is_used(start_control_plane: "StartControlPlane") -> None:
    """A node id that nobody has is the one to enrol; it gets a lease, which it gives back."""
    server = start_control_plane()
    results = enrol(settings(server.url, token=WORKER, node_id="node-a"))
    assert "joined as node-a" in results[1].message
    assert said(results)["lease"] == "pass"
    assert leases(server) == []
    assert rows(server) == []


Meddle = Callable[[str, bytes], bytes | None]


@asynccontextmanager
async def relayed(open_trap: "OpenTrap", server: "ControlPlane", meddle: Meddle) -> "AsyncIterator[Trap]":
    """A relay before the control plane: each request is carried out, and `meddle` says what is heard of the answer."""
    with httpx.Client() as http:

        def relay(request: Request) -> bytes | None:
            method, path, _ = request.line.split()
            kept = ("authorization", "content-type")
            headers = {name: value for name, value in request.headers.items() if name in kept}
            said = http.request(method, f"{server.url}{path}", content=request.body, headers=headers)
            features = said.headers["x-populi-feature"]
            return meddle(path, answer(f"{said.status_code} X", said.content, x_populi_feature=features))

        async with open_trap(relay) as trap:
            yield trap


async def collect(made: Settings, *, vanish: bool = False) -> list[Result]:
    ctx = context(made)
    if vanish:
        ctx.net.segments_vanish.set()
    try:
        async with aclosing(enroll_cycle.function(ctx)) as results:
            return [result async for result in results]
    finally:
        await ctx.net.control.aclose()


@pytest.mark.parametrize("route", ["bootstrap/exchange", "join", "heartbeat", "nodes", "leave"])
def test_one_lost_answer_loses_nothing(
    open_trap: "OpenTrap", start_control_plane: "StartControlPlane", tmp_path: Path, route: str
) -> None:
    """Whichever answer is lost first, the repeat succeeds: with the same key the token buys the same credential."""
    server = start_control_plane()
    lost: list[str] = []

    def lose_first(path: str, heard: bytes) -> bytes:
        asked_before = heard.startswith(b"HTTP/1.1 415")  # whether the exchange is reached, without a token
        if path.endswith(route) and not lost and not asked_before:
            lost.append(path)
            return b""
        return heard

    async def run() -> list[Result]:
        async with relayed(open_trap, server, lose_first) as trap:
            return await collect(settings(trap.url, boot=BOOTSTRAP, out=tmp_path / "cred"))

    results = asyncio.run(run())
    assert said(results) == WHOLE
    assert sum(result.attempts for result in results) == len(STEPS) + 1  # a skip counts as one
    assert rows(server) == []
    assert MESH in (tmp_path / "cred").read_text()


@pytest.mark.parametrize("route", ["bootstrap/exchange", "nodes", "join", "heartbeat"])
def test_interrupted_anywhere_leaves_no_row(
    open_trap: "OpenTrap", start_control_plane: "StartControlPlane", tmp_path: Path, route: str
) -> None:
    """Ctrl-C, and again, while an answer is awaited: no row stays, and a token spent unheard is not lost."""
    server, out = start_control_plane(), tmp_path / "cred"

    async def run() -> None:
        reached, leaving = asyncio.Event(), asyncio.Event()

        def hang(path: str, heard: bytes) -> bytes | None:
            if path.endswith("leave"):
                leaving.set()
            if path.endswith(route):
                reached.set()
                return None
            return heard

        async with relayed(open_trap, server, hang) as trap:
            task = asyncio.create_task(collect(settings(trap.url, boot=BOOTSTRAP, out=out)))
            await reached.wait()
            task.cancel()
            if route in ("join", "heartbeat"):
                await leaving.wait()
                task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(run())
    assert rows(server) == []
    unheard = route == "bootstrap/exchange"
    again = enrol(settings(server.url, boot=BOOTSTRAP, out=out if unheard else tmp_path / "other"))
    assert said(again)["bootstrap"] == ("pass" if unheard else "enroll.bootstrap-spent")
    assert MESH in out.read_text()


def test_a_restart_in_the_middle(start_control_plane: "StartControlPlane") -> None:
    """The server is killed while a node enrols and comes back: the enrolment waits, repeats and passes."""
    server = start_control_plane()

    async def run() -> list[Result]:
        ctx = context(settings(server.url, token=WORKER))
        results: list[Result] = []
        try:
            async with aclosing(enroll_cycle.function(ctx)) as produced:
                async for result in produced:
                    results.append(result)
                    if result.aspect == "join":
                        server.kill()
                        starting = asyncio.get_running_loop().run_in_executor(None, server.start)
            await starting
        finally:
            await ctx.net.control.aclose()
        return results

    results = asyncio.run(run())
    assert set(said(results).values()) == {"run.not-applicable", "pass"}
    assert next(r for r in results if r.aspect == "heartbeat").attempts > 1
    assert rows(server) == []


def test_no_secret_is_in_what_is_reported(
    start_control_plane: "StartControlPlane", tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Results, their evidence and the debug log of good and of bad enrolments hold no token."""
    caplog.set_level(logging.DEBUG)
    server = start_control_plane()
    reported = enrol(settings(server.url, boot=BOOTSTRAP, out=tmp_path / "cred"))
    reported += enrol(settings(server.url, boot=BOOTSTRAP, out=tmp_path / "cred2"))
    reported += enrol(settings(server.url, token=SUBMITTER))
    reported += enrol(settings(server.url, token="unknown-secret-of-the-tests"))
    text = json.dumps([asdict(result) for result in reported], default=str) + repr(reported) + caplog.text
    assert "secret-of-the-tests" not in text


def test_without_being_asked_nothing_is_written(start_control_plane: "StartControlPlane") -> None:
    """No --enroll: five skips that say how to ask, and not one request."""
    server = start_control_plane()
    results = enrol(replace(settings(server.url, token=WORKER), enrolment=None))
    assert said(results) == dict.fromkeys(STEPS, "run.not-enrolling")
    assert all("--enroll" in (result.remedy or "") for result in results)
    assert rows(server) == []


def test_a_token_is_not_sent_where_the_path_is_changed(open_trap: "OpenTrap", tmp_path: Path) -> None:
    """A control plane that demands a bearer for an exchange got another path, and some servers keep what they got."""
    bodies: list[bytes] = []

    def elsewhere(request: Request) -> bytes:
        bodies.append(request.body)
        return answer("401 Unauthorized", b"unauthorized", x_populi_feature="a")

    async def run() -> list[Result]:
        async with open_trap(elsewhere) as trap:
            return await collect(settings(trap.url, boot=BOOTSTRAP, out=tmp_path / "cred"))

    first, *_ = asyncio.run(run())
    assert first.code is not None
    assert (first.code.slug, first.measurements["problem"]) == ("control.bad-answer", "path changed")
    assert bodies == [b""]
    assert not (tmp_path / "cred").exists()


@pytest.mark.parametrize("faults", [(), ("--fault", "heartbeat-500")])
def test_a_far_control_plane_grants_the_lease_while_it_answers_heartbeats(
    start_control_plane: "StartControlPlane", faults: tuple[str, ...]
) -> None:
    """Three answers less are waited for, and no lease stays, whether or not the heartbeats are accepted."""
    server = start_control_plane("--fault", "slow=450", *faults)
    results = enrol(settings(server.url, token=WORKER, node_id="node-a"))
    took_ms = next(result for result in results if result.aspect == "lease").measurements.get("elapsed_ms")
    if faults:
        assert said(results)["heartbeat"] == "enroll.heartbeat-failed"
    else:
        assert said(results) == dict.fromkeys(STEPS, "pass") | {"bootstrap": "run.not-applicable"}
        assert isinstance(took_ms, float)
        assert took_ms < 2 * 450, "granted and renewed ahead, and released"
    assert leases(server) == []
    assert rows(server) == []


def test_a_far_lease_has_a_connection_to_itself(start_control_plane: "StartControlPlane", tmp_path: Path) -> None:
    """Other checks hold theirs meanwhile, and a new one takes as long as an answer. Nothing of it stays."""
    server = start_control_plane("--fault", "slow=450")
    results = enrol(settings(server.url, boot=BOOTSTRAP, out=tmp_path / "cred", node_id="node-a"))
    assert said(results) == dict.fromkeys(STEPS, "pass")
    assert leases(server) == []
    assert rows(server) == []
