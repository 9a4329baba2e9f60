"""The control plane's client on real sockets: every failure is typed, and no bearer ever shows."""

import asyncio
import json
import logging
import socket
import traceback
from base64 import b64encode
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from pydantic import SecretStr

from preflight.model.control import ControlError, NotHttpError
from preflight.net.control.client import ControlClient
from preflight.proto.control.url import parse_control_url
from tests.net.conftest import MESH, SUBMITTER, WORKER, Request, answer, healthy, server_context

if TYPE_CHECKING:
    from tests.net.conftest import OpenTrap, StartControlPlane

TOKEN = SecretStr("s3cr3t-bearer-of-the-test")
RECORD = {"id": "n", "capabilities": {}, "version": "1", "last_seen_unix_ms": 1, "scope_id": "lab"}


def client(url: str | None, **more: Any) -> ControlClient:
    return ControlClient(
        parse_control_url(url) if url else None, **{"token": TOKEN, "timeout_s": 5.0, "environment": {}, **more}
    )


async def failure(made: ControlClient, call: Callable[[ControlClient], Awaitable[object]]) -> ControlError:
    """The error of a call that must fail."""
    try:
        with pytest.raises(ControlError) as caught:
            await call(made)
        return caught.value
    finally:
        await made.aclose()


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_every_route_against_a_real_control_plane(start_control_plane: "StartControlPlane") -> None:
    """Health, join, heartbeat, list, mail, acknowledgement and leave, each with the bearer that its role takes."""
    server = start_control_plane()

    async def talk() -> None:
        made = client(server.url, token=SecretStr(WORKER), submitter_token=SecretStr(SUBMITTER))
        try:
            health = await made.health()
            assert (health.status, health.body) == (200, b"ok\n")
            assert "x-populi-feature" in health.headers
            assert (await made.join(RECORD)).id == "n"
            assert (await made.heartbeat(RECORD)).scope_id == "lab"
            assert [node.id for node in (await made.nodes()).nodes] == ["n"]
            sent = await made.deliver(sender="1", receiver="2", message_type="t", payload="p", idempotency_key="k")
            again = await made.deliver(sender="1", receiver="2", message_type="t", payload="p", idempotency_key="k")
            assert again == sent
            assert [(row.id, row.sender, row.payload) for row in await made.inbox("2")] == [(sent, "1", "p")]
            assert await made.ack("2", sent)
            assert not await made.ack("2", sent + 1000)
            assert await made.inbox("2") == []
            await made.leave("n")
            assert (await failure(made, lambda made: made.leave("n"))).status == 404
        finally:
            await made.aclose()

    asyncio.run(talk())


def test_one_connection_serves_many_requests(open_trap: "OpenTrap") -> None:
    """Round-trip times are those of a worker's kept connection; only the first answer bears its opening."""

    async def talk() -> None:
        async with open_trap(healthy) as trap:
            made = client(trap.url)
            answers = [await made.health() for _ in range(3)]
            await made.aclose()
            assert trap.connections == 1
            assert [one.connected for one in answers] == [True, False, False]
            assert all(one.rtt_ms > 0 and one.received_unix_s >= one.sent_unix_s for one in answers)

    asyncio.run(talk())


def test_health_sends_no_bearer(open_trap: "OpenTrap") -> None:
    """What answers may be a stranger: until it proved to be a control plane it gets no credential."""

    async def talk() -> None:
        async with open_trap(healthy) as trap:
            made = client(trap.url)
            await made.health()
            await made.aclose()
            assert "authorization" not in trap.requests[0].headers

    asyncio.run(talk())


@pytest.mark.parametrize(
    ("said", "kind", "status"),
    [
        (answer("401 Unauthorized", b"unauthorized", x_populi_feature="a"), "status", 401),
        (answer("401 Unauthorized", b"<html>log in"), "foreign", None),
        (answer("301 Moved", location="http://elsewhere/"), "redirected", None),
        (answer("503 Later", b"<html>"), "status", 503),
        (answer("200 OK", b"<html>"), "foreign", None),
        (answer("200 OK", b"<html>", x_populi_feature="a"), "protocol", 200),
        (answer("200 OK", b"[" * 100_000, x_populi_feature="a"), "protocol", 200),
        (answer("200 OK", b'{"nodes": 5}', x_populi_feature="a"), "protocol", 200),
        (b"SSH-2.0-OpenSSH_9.2\r\nInvalid SSH identification string.\r\n\r\n", "protocol", None),
        (b"", "protocol", None),
    ],
)
def test_answers_that_are_none(open_trap: "OpenTrap", said: bytes, kind: str, status: int | None) -> None:
    """Redirects are not followed, foreign bodies are not believed, broken connections are not crashes."""

    async def talk() -> None:
        async with open_trap(lambda request: said) as trap:
            error = await failure(client(trap.url), lambda made: made.nodes())
            assert (error.kind, error.status) == (kind, status)
            assert isinstance(error, NotHttpError) == said.startswith(b"SSH")
            assert len(trap.requests) == 1

    asyncio.run(talk())


def test_throttling_tells_how_long(open_trap: "OpenTrap") -> None:
    """`Retry-After` reaches the caller that repeats; the client itself never does."""

    async def talk() -> None:
        async with open_trap(lambda request: answer("429 Too Many", b"later", retry_after="7")) as trap:
            error = await failure(client(trap.url), lambda made: made.nodes())
            assert (error.status, error.retry_after_s) == (429, 7.0)
            assert len(trap.requests) == 1

    asyncio.run(talk())


def test_silence_is_a_time_out(open_trap: "OpenTrap") -> None:
    """A server that takes the request and never answers costs the time-out, no more."""

    async def talk() -> None:
        async with open_trap(lambda request: None) as trap:
            error = await failure(client(trap.url, timeout_s=0.3), lambda made: made.health())
            assert error.kind == "timeout"
            assert f"no answer from 127.0.0.1:{trap.port} within 0.3 s" in error.message

    asyncio.run(talk())


def test_an_answer_that_drips_is_a_time_out() -> None:
    """The time-out bounds the whole request, not each byte of its answer."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
            while not writer.transport.is_closing():
                writer.write(b"x")
                await asyncio.sleep(0.02)
        finally:
            writer.transport.abort()

    async def talk() -> None:
        server = await asyncio.start_server(drip, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            error = await failure(client(f"127.0.0.1:{port}", timeout_s=0.3), lambda made: made.health())
            assert error.kind == "timeout"

    asyncio.run(talk())


@pytest.mark.parametrize(
    ("url", "kind"),
    [(None, "no-url"), ("  ", "no-url"), ("http://0.0.0.0:1", "no-url"), ("ftp://h", "no-url"), ("closed", "refused")],
)
def test_failures_before_any_request(url: str | None, kind: str) -> None:
    """A URL that cannot be used and a port that nobody listens on are typed, and name the place."""
    error = asyncio.run(
        failure(client(f"http://127.0.0.1:{closed_port()}" if url == "closed" else url), lambda made: made.health())
    )
    assert error.kind == kind
    assert url != "closed" or "127.0.0.1" in error.message


def test_a_name_that_does_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure of names is distinguished from one of connections."""

    def nobody(*_args: object, **_more: object) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    error = asyncio.run(failure(client("http://control.overlay.test:9847"), lambda made: made.health()))
    assert error.kind == "dns"
    assert "control.overlay.test" in error.message


def test_tls_is_verified_against_the_ca_file(open_trap: "OpenTrap", authority: trustme.CA, tmp_path: Path) -> None:
    """With the right CA file it works; without it, or for another name, it does not."""
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))

    async def talk() -> None:
        good, other = (server_context(authority.issue_cert(name)) for name in ("127.0.0.1", "other.example"))
        async with open_trap(healthy, tls=good) as trap, open_trap(healthy, tls=other) as wrong:
            made = client(f"https://127.0.0.1:{trap.port}", ca_file=ca_file)
            assert (await made.health()).status == 200
            await made.aclose()
            for url, file in ((trap, None), (wrong, ca_file)):
                error = await failure(client(f"https://127.0.0.1:{url.port}", ca_file=file), lambda made: made.health())
                assert error.kind == "tls"
            missing = client(f"https://127.0.0.1:{trap.port}", ca_file=tmp_path / "none.pem")
            assert "none.pem" in (await failure(missing, lambda made: made.health())).message

    asyncio.run(talk())


def test_a_proxy_is_asked_for_an_ipv6_address_in_brackets(open_trap: "OpenTrap") -> None:
    """Without them the proxy answers 400, and a proxy that works would be blamed."""

    async def talk() -> None:
        async with open_trap(healthy) as proxy:
            environment = {"HTTP_PROXY": f"http://user:hunter2%40-hunter2@127.0.0.1:{proxy.port}"}
            through = client("http://[fd66::3]:9847", environment=environment)
            await through.health()
            (asked,) = proxy.requests
            assert asked.line == "GET http://[fd66::3]:9847/health HTTP/1.1"
            assert asked.headers["host"] == "[fd66::3]:9847"
            assert asked.headers["proxy-authorization"] == f"Basic {b64encode(b'user:hunter2@-hunter2').decode()}"
            await through.aclose()

    asyncio.run(talk())


def test_a_proxy_is_used_exactly_as_the_environment_says(open_trap: "OpenTrap") -> None:
    """HTTP_PROXY leads through it, NO_PROXY past it, and `direct` past it, too."""

    async def talk() -> None:
        async with open_trap(healthy) as server, open_trap(healthy) as proxy:
            environment = {"HTTP_PROXY": f"http://user:hunter2-hunter2@127.0.0.1:{proxy.port}"}
            through = client(server.url, environment=environment)
            await through.health()
            assert proxy.requests[0].line == f"GET {server.url}/health HTTP/1.1"
            assert server.requests == []
            assert through.proxy is not None
            assert through.proxy.place == f"127.0.0.1:{proxy.port}"
            for past in (through.direct(), client(server.url, environment={**environment, "NO_PROXY": "127.0.0.0/8"})):
                await past.health()
                await past.aclose()
            assert (len(proxy.requests), len(server.requests)) == (1, 2)
            await through.aclose()
            dead = client(server.url, environment={"HTTP_PROXY": f"http://u:hunter2-hunter2@127.0.0.1:{closed_port()}"})
            error = await failure(dead, lambda made: made.health())
            assert error.kind == "refused"
            assert "through the proxy 127.0.0.1:" in error.message
            assert "hunter2" not in error.message

    asyncio.run(talk())


def _echo(request: Request) -> bytes:
    """The worst server: it sends back whatever secret it was sent."""
    said = json.dumps([request.headers.get("authorization"), request.body.decode()]).encode()
    return answer("422 Unprocessable", said)


def test_no_secret_shows_anywhere(open_trap: "OpenTrap", caplog: pytest.LogCaptureFixture) -> None:
    """Errors, their tracebacks, reprs and debug logs hold no bearer and no bootstrap token, even echoed ones."""
    caplog.set_level(logging.DEBUG)
    boot, submit = SecretStr("s3cr3t-boot-of-the-test"), SecretStr("s3cr3t-submit-of-the-test")
    calls: list[Callable[[ControlClient], Awaitable[object]]] = [
        lambda made: made.nodes(),
        lambda made: made.join(RECORD),
        lambda made: made.exchange(boot, "key"),
        lambda made: made.deliver(sender="1", receiver="2", message_type="t", payload="p"),
    ]

    async def talk() -> None:
        async with open_trap(_echo) as trap:
            for call in calls:
                made = client(trap.url, submitter_token=submit)
                error = await failure(made, call)
                shown = f"{made!r}{error!r}{error}{error.message}{''.join(traceback.format_exception(error))}"
                assert "s3cr3t" not in shown
                assert "[secret]" in shown
        assert "s3cr3t" not in caplog.text

    asyncio.run(talk())


@pytest.mark.parametrize("bearer", ["s3cr3t\r\nx-evil: 1", "s3cr3t-é", "s3cr3t\x00"])
def test_a_bearer_that_no_header_carries(open_trap: "OpenTrap", bearer: str) -> None:
    """It is refused before a library can quote it in its complaint, and nothing is sent."""

    async def talk() -> None:
        async with open_trap(healthy) as trap:
            error = await failure(client(trap.url, token=SecretStr(bearer)), lambda made: made.nodes())
            assert error.kind == "protocol"
            assert "s3cr3t" not in f"{error!r}{''.join(traceback.format_exception(error))}"
            assert trap.requests == []

    asyncio.run(talk())


def test_roles_are_recognised_by_status(start_control_plane: "StartControlPlane") -> None:
    """401 for a stranger's token, 403 for a submitter that would list nodes, 200 for the mesh token."""
    server = start_control_plane()

    async def talk() -> None:
        for token, status in (("unknown-token-of-the-test", 401), (SUBMITTER, 403)):
            assert (
                await failure(client(server.url, token=SecretStr(token)), lambda made: made.nodes())
            ).status == status
        made = client(server.url, token=SecretStr(MESH))
        assert (await made.nodes()).nodes == ()
        await made.aclose()

    asyncio.run(talk())
