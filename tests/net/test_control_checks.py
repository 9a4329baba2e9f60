"""The control.* checks from socket to result: one trap per finding, the bundled control plane for the good ones."""

import asyncio
import socket
from collections.abc import Iterable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trustme
from preflight_checks import control_clock, control_connect, control_health, control_tls, control_url
from preflight_checks.control_clock import control_clock as clock
from preflight_checks.control_connect import control_connect as connect
from preflight_checks.control_health import control_health as health
from preflight_checks.control_tls import control_tls as tls
from preflight_checks.control_url import control_url as url
from preflight_checks.nodes_state import nodes_state
from pydantic import SecretStr

from preflight.api import Check, Result, Status
from preflight.settings.load import Secrets, Settings
from preflight.settings.schema import ControlSettings, NodeSettings
from tests.net.conftest import MESH, SUBMITTER, WORKER, Request, answer, context, healthy, server_context

if TYPE_CHECKING:
    from tests.net.conftest import OpenTrap, Respond, StartControlPlane

CHECKS = (url, connect, tls, health, clock)
NOW = datetime.now(UTC)


async def run(check: Check, place: str | None, **more: Any) -> list[Result]:
    ctx = context(Settings(control=ControlSettings(url=place, **more), control_url_source="the test"))
    try:
        async with aclosing(check.function(ctx)) as results:
            return [result async for result in results]
    finally:
        await ctx.net.control.aclose()


def smtp(request: object) -> bytes:
    """A mail server."""
    return b"220 mail.example ESMTP\r\n\r\n"


def welcome(request: object) -> bytes:
    """A web server that answers everything."""
    return answer(body=b"<html>Welcome</html>")


SECOND_LOOKS: dict[object, list[str]] = {smtp: ["GET /health HTTP/1.1"], welcome: ["GET /v1/populi/nodes HTTP/1.1"]}
"""What else is asked: the same for the first bytes of the answer, or the API where only `/health` may be another's."""


def codes_of(results: Iterable[Result]) -> list[str]:
    return [result.code.slug if result.code else result.status.value for result in results]


def test_a_healthy_control_plane_passes_everything(start_control_plane: "StartControlPlane") -> None:
    """No false alarm: url, connect, tls, health and clock pass on the bundled control plane."""
    server = start_control_plane()
    for check in CHECKS:
        assert codes_of(asyncio.run(run(check, server.url))) == ["pass"]


@pytest.mark.parametrize(
    ("respond", "code"),
    [
        (welcome, "control.not-populi"),
        (lambda r: answer("301 Moved", location="https://portal.example/login"), "control.redirected"),
        (lambda r: answer("500 Oops", b"oops"), "control.unhealthy"),
        (smtp, "control.not-populi"),
        (lambda r: answer("429 Later", retry_after="3600"), "control.throttled"),
    ],
)
def test_what_answers_in_its_place(open_trap: "OpenTrap", respond: "Respond", code: str) -> None:
    """Each impostor is named after one request; one more is sent where that can show something else."""

    async def talk() -> None:
        async with open_trap(respond) as trap:
            assert codes_of(await run(health, trap.url)) == [code]
            asked = [request.line for request in trap.requests]
            assert asked == ["GET /health HTTP/1.1", *SECOND_LOOKS.get(respond, ())]

    asyncio.run(talk())


def test_a_service_that_speaks_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """SSH, SMTP and databases greet without a blank line, and end at the first request."""
    monkeypatch.setattr(control_health, "MAX_ATTEMPTS", 1)

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")
        await writer.drain()
        await reader.read(64)
        writer.close()

    async def talk() -> None:
        server = await asyncio.start_server(greet, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            results = await run(health, f"http://127.0.0.1:{port}")
        assert codes_of(results) == ["control.not-populi"]
        assert "'SSH-2.0-OpenSSH_9.2p1 Debian-2', which no HTTP server does" in results[0].message
        assert f"sport = :{port}" in (results[0].remedy or "")

    asyncio.run(talk())


def test_one_that_hangs(open_trap: "OpenTrap", monkeypatch: pytest.MonkeyPatch) -> None:
    """It accepts and never answers: a time-out that says how long was waited, and no repeat."""
    monkeypatch.setattr(control_health, "ANSWER_TIMEOUT_S", 1.5)

    async def talk() -> None:
        async with open_trap(lambda request: None) as trap:
            results = await run(health, trap.url)
            assert codes_of(results) == ["control.timeout"]
            assert "within 1.5 s" in results[0].message
            assert len(trap.requests) == 1

    asyncio.run(talk())


@pytest.mark.parametrize(
    "first", [answer("429 Later", retry_after="1"), answer("503 Starting"), b""], ids=["429", "503", "closed"]
)
def test_one_that_recovers(open_trap: "OpenTrap", first: bytes) -> None:
    """`Later`, or a broken connection, and then well: a pass that reports its attempts."""

    async def talk() -> None:
        def respond(request: Request) -> bytes:
            return first if len(trap.requests) == 1 else healthy(request)

        async with open_trap(respond) as trap:
            results = await run(health, trap.url)
            assert codes_of(results) == ["pass"]
            assert results[0].attempts == 2

    asyncio.run(talk())


def test_one_that_never_recovers_is_not_hammered(open_trap: "OpenTrap") -> None:
    """A bounded number of attempts, then the finding with their number."""

    async def talk() -> None:
        async with open_trap(lambda request: answer("503 Starting", b"starting")) as trap:
            results = await run(health, trap.url)
            assert codes_of(results) == ["control.unhealthy"]
            assert (
                results[0].attempts
                == sum("/health" in request.line for request in trap.requests)
                <= control_health.MAX_ATTEMPTS
            )

    asyncio.run(talk())


def test_a_slow_one(start_control_plane: "StartControlPlane") -> None:
    """Late answers are a warning with time-outs to use, not a failure."""
    results = asyncio.run(run(health, start_control_plane("--fault", "slow=400").url))
    assert codes_of(results) == ["control.slow"]
    assert results[0].status is Status.WARN
    assert "VOX_ORCHESTRATOR_MESH_HTTP_TIMEOUT_MS" in (results[0].remedy or "")


@pytest.mark.parametrize(("skew", "status"), [("600", "fail"), ("-600", "fail"), ("20", "warn"), ("0", "pass")])
def test_a_clock_that_is_off(start_control_plane: "StartControlPlane", skew: str, status: str) -> None:
    """Ten minutes off is a failure with the right sign; nothing off is nothing."""
    results = asyncio.run(run(clock, start_control_plane("--fault", f"clock-skew={skew}").url))
    assert [result.status.value for result in results] == [status]
    offset = results[0].measurements["clock_offset_ms"]
    assert isinstance(offset, int)
    assert abs(offset - int(skew) * 1000) < 3000


def test_a_proxy_in_the_way(open_trap: "OpenTrap", monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy refuses what works past it: the proxy is the finding, and its password is not shown."""

    async def talk() -> None:
        async with open_trap(healthy) as server, open_trap(lambda r: answer("403 Forbidden", b"squid")) as proxy:
            monkeypatch.setenv("HTTP_PROXY", f"http://user:s3cr3t@127.0.0.1:{proxy.port}")
            results = await run(health, server.url)
            assert codes_of(results) == ["host.proxy-env"]
            assert results[0].status is Status.FAIL
            assert f"127.0.0.1:{proxy.port}" in results[0].message
            assert "s3cr3t" not in f"{results}"
            for check in (connect, tls):
                assert codes_of(await run(check, server.url)) == ["run.not-applicable"]

    asyncio.run(talk())


def test_a_proxy_that_works(open_trap: "OpenTrap", monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass, and a warning that it is there."""

    async def talk() -> None:
        async with open_trap(healthy) as proxy:
            monkeypatch.setenv("http_proxy", f"127.0.0.1:{proxy.port}")
            assert codes_of(await run(health, "http://10.66.0.3:9847")) == ["pass", "host.proxy-env"]

    asyncio.run(talk())


@pytest.mark.parametrize(
    ("names", "starts_d", "ends_d", "dated", "code"),
    [
        (("127.0.0.1",), -1, 30, None, "pass"),
        (("127.0.0.1",), -30, -10, None, "control.tls-expired"),
        (("127.0.0.1",), -30, -10, -20, "control.clock-skew"),
        (("127.0.0.1",), 10, 30, None, "control.tls-not-yet-valid"),
        (("other.example",), -1, 30, None, "control.tls-name"),
    ],
)
def test_certificates(
    open_trap: "OpenTrap",
    authority: trustme.CA,
    tmp_path: Path,
    names: tuple[str, ...],
    starts_d: int,
    ends_d: int,
    dated: int | None,
    code: str,
) -> None:
    """Expired, not valid yet, another name: distinguished from each other, and from a clock that is wrong."""
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    leaf = authority.issue_cert(
        *names, not_before=NOW + timedelta(days=starts_d), not_after=NOW + timedelta(days=ends_d)
    )
    date = (NOW + timedelta(days=dated or 0)).strftime("%a, %d %b %Y %H:%M:%S GMT")

    async def talk() -> None:
        async with open_trap(lambda r: answer(date=date), tls=server_context(leaf)) as trap:
            place = f"https://127.0.0.1:{trap.port}"
            assert codes_of(await run(tls, place, ca_file=ca_file)) == [code]
            assert all("authorization" not in request.headers for request in trap.requests)

    asyncio.run(talk())


def test_an_untrusted_certificate(open_trap: "OpenTrap", authority: trustme.CA) -> None:
    """The system's store does not know our CA: the advice is where to name it."""

    async def talk() -> None:
        async with open_trap(healthy, tls=server_context(authority.issue_cert("127.0.0.1"))) as trap:
            results = await run(tls, f"https://127.0.0.1:{trap.port}")
            assert codes_of(results) == ["control.tls-untrusted"]
            assert "ca_file" in (results[0].remedy or "")

    asyncio.run(talk())


def test_nobody_listens() -> None:
    """Refused, with address, port and family in the message."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    results = asyncio.run(run(connect, f"http://127.0.0.1:{port}"))
    assert codes_of(results) == ["control.refused"]
    assert f"127.0.0.1:{port} (IPv4)" in results[0].message


def test_a_dropped_syn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that swallows connections is a time-out, and the message says how long was waited."""
    monkeypatch.setattr(control_connect, "CONNECT_TIMEOUT_S", 0.4)
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        results = asyncio.run(run(connect, f"http://127.0.0.1:{listener.getsockname()[1]}"))
    assert codes_of(results) == ["control.timeout"]
    assert "within 0.4 s" in results[0].message


@pytest.mark.parametrize("place", [None, "http://0.0.0.0:1", "no url at all"])
def test_an_unusable_url_stops_at_its_check(place: str | None) -> None:
    """Run by themselves, the later checks do not crash on a URL that control.url has to complain about."""
    assert codes_of(asyncio.run(run(url, place)))[0].startswith("control.url-")
    for check in (connect, tls):
        assert codes_of(asyncio.run(run(check, place))) == ["run.not-applicable"]
    assert codes_of(asyncio.run(run(health, place))) == ["control.url-invalid"]
    assert codes_of(asyncio.run(run(clock, place))) == ["run.no-answer"]


def test_file_name_id_and_subject_go_together() -> None:
    """A check is found by its id, and everything here is about the control plane."""
    for module in (control_url, control_connect, control_tls, control_health, control_clock):
        check = getattr(module, module.__name__.rpartition(".")[2])
        assert check.id == module.__name__.rpartition(".")[2].replace("_", ".", 1)
        assert check.subject == "control"


def test_the_clusters_state(start_control_plane: "StartControlPlane") -> None:
    """A node quarantined on a real server is reported by its own id; the clock used for ages is the server's."""
    server = start_control_plane("--fault", "clock-skew=600")
    row = {"id": "node-a", "capabilities": {}, "version": "1", "last_seen_unix_ms": 1, "scope_id": "lab"}
    with httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {MESH}"}) as http:
        http.post("/v1/populi/join", json=row).raise_for_status()
        http.post("/v1/populi/admin/quarantine", json={"node_id": "node-a", "quarantined": True}).raise_for_status()

    async def look(node_id: str | None, token: str) -> list[str]:
        settings = Settings(
            node=NodeSettings(id=node_id),
            control=ControlSettings(url=server.url),
            secrets=Secrets(token=SecretStr(token)),
        )
        ctx = context(settings)
        try:
            return codes_of([result async for result in nodes_state.function(ctx)])
        finally:
            await ctx.net.control.aclose()

    assert asyncio.run(look("node-a", WORKER)) == ["nodes.quarantined"]
    assert asyncio.run(look(None, WORKER)) == ["pass"]
    assert asyncio.run(look(None, SUBMITTER)) == ["enroll.forbidden"]
    assert asyncio.run(look(None, "unknown-token-of-the-tests")) == ["enroll.unauthorized"]
