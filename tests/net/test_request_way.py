"""Where a request dies, by real servers that misbehave: one per kind, and the sentence names what decided."""

import asyncio
import itertools
import json
import os
import socket
import socketserver
import ssl
import struct
import threading
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from cryptography import x509
from preflight_checks.control_api import control_api as api
from preflight_checks.control_health import control_health as health
from preflight_checks.control_tls import control_tls as tls
from preflight_checks.control_url import control_url as url
from pydantic import SecretStr

from preflight.api import Check, Result
from preflight.model.control import ControlError
from preflight.net.control.client import ControlClient
from preflight.proto.control.answers import code_of
from preflight.proto.control.url import ControlUrl, parse_control_url
from preflight.settings.load import NamedUrl, Settings
from preflight.settings.schema import ControlSettings
from tests.net.conftest import Request, answer, context, healthy, server_context

if TYPE_CHECKING:
    from tests.net.conftest import OpenTrap, Respond

LIST = "GET /v1/populi/nodes"
SECRET = "bearer-of-the-tests-4711"


async def run(check: Check, place: str, *rivals: NamedUrl, source: str = "the test", **more: Any) -> Result:
    """The one result of a check about this URL."""
    control = ControlSettings(url=place, **more)
    ctx = context(Settings(control=control, control_url_source=source, control_url_rivals=rivals))
    try:
        async with aclosing(check.function(ctx)) as results:
            (result,) = [result async for result in results]
            return result
    finally:
        await ctx.net.control.aclose()


def said(result: Result) -> tuple[str, str]:
    """The code of a result and the station at which the request died."""
    assert result.code is not None
    assert result.station is not None
    return result.code.slug, result.station.id


def populi(status: str, body: bytes = b"", **headers: str) -> bytes:
    return answer(status, body, x_populi_feature="exec-lease-v1", **headers)


@pytest.mark.parametrize(
    ("listed", "code", "station", "decided"),
    [
        (populi("401 Unauthorized", b"unauthorized"), None, "server", {}),
        (
            answer("502 Bad Gateway", b"<center>nginx</center>", server="nginx"),
            "control.unhealthy",
            "server",
            {"http_status": 502, "server": "nginx"},
        ),
        (
            answer(body=b"<form>Sign in</form>", content_type="text/html", server="nginx/1.22.1"),
            "control.not-populi",
            "server",
            {"http_status": 200, "server": "nginx"},
        ),
        (answer("403 Forbidden", server="Caddy"), "control.not-populi", "server", {"server": "Caddy"}),
        (
            answer("307 Moved", location="https://mesh.example/v1/populi/nodes"),
            "control.redirected",
            "server",
            {"location": "https://mesh.example"},
        ),
        (
            answer("302 Found", location="https://login.example/?key=4711"),
            "control.redirected",
            "server",
            {"location": "https://login.example/"},
        ),
        (answer("429 Later", retry_after="60"), "control.throttled", "answer", {"http_status": 429}),
        (populi("503 Down", b"the database is locked"), "control.unhealthy", "server", {"http_status": 503}),
        (populi("500 Oops", b"oops"), "control.unhealthy", "server", {"http_status": 500}),
    ],
)
def test_who_answers_on_the_api(
    open_trap: "OpenTrap", listed: bytes, code: str | None, station: str, decided: dict[str, Any]
) -> None:
    """A living /health proves nothing about the API: who answers there is named before any bearer is sent."""

    async def talk() -> None:
        async with open_trap(lambda r: healthy(r) if "/health" in r.line else listed) as trap:
            result = await run(api, trap.url)
            assert (result.code.slug if result.code else None) == code
            assert result.station is not None
            assert result.station.id == station
            for field, value in decided.items():
                assert result.measurements[field] == value
                assert str(value) in result.message
            assert all("authorization" not in request.headers for request in trap.requests)

    asyncio.run(talk())


def test_an_api_that_recovers(open_trap: "OpenTrap") -> None:
    """A gateway whose backend restarts is asked again, and its first answer is forgotten."""

    async def talk() -> None:
        def respond(_: Request) -> bytes:
            return answer("502 Bad Gateway") if len(trap.requests) == 1 else populi("401 Unauthorized")

        async with open_trap(respond) as trap:
            assert (await run(api, trap.url)).code is None

    asyncio.run(talk())


async def listed_by(respond: "Respond", open_trap: "OpenTrap") -> ControlError:
    """The error of a list that a client with a bearer asks for."""
    async with open_trap(respond) as trap:
        place = parse_control_url(trap.url)
        assert isinstance(place, ControlUrl)
        client = ControlClient(place, token=SecretStr(SECRET))
        try:
            with pytest.raises(ControlError) as caught:
                await client.nodes()
            return caught.value
        finally:
            await client.aclose()


def test_an_answer_that_is_cut() -> None:
    """The server spoke HTTP and ended too soon: the bytes that came are counted."""
    half = populi("200 OK", json.dumps({"schema_version": 1, "nodes": []}).encode())[:-10]
    chunked = b'HTTP/1.1 200 OK\r\nx-populi-feature: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{"sch\r\nff\r\nema'

    for said_first in (half, chunked):

        async def talk(closing: bytes = said_first) -> ControlError:
            server = await asyncio.start_server(lambda r, w: _say_and_close(r, w, closing), "127.0.0.1", 0)
            place = ControlUrl("http", "127.0.0.1", server.sockets[0].getsockname()[1])
            client = ControlClient(place, token=SecretStr(SECRET))
            try:
                with pytest.raises(ControlError) as caught:
                    await client.nodes()
                return caught.value
            finally:
                await client.aclose()
                server.close()

        error = asyncio.run(talk())
        assert error.decided.problem == "cut short"
        assert "cut short after" in error.message
        assert code_of(error).slug == "control.bad-answer"


async def _say_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, said: bytes) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(said)
    await writer.drain()
    writer.close()


def test_half_a_document(open_trap: "OpenTrap") -> None:
    """A whole answer of a control plane that is not JSON breaks the contract, and is not a dead server."""
    error = asyncio.run(listed_by(lambda _: populi("200 OK", b'{"schema_version":'), open_trap))
    assert (error.decided.problem, code_of(error).slug) == ("JSON", "control.bad-answer")
    assert "JSON" in error.message


class ResetsAfter(socketserver.StreamRequestHandler):
    """Resets a connection at a request, after `served` good answers on it."""

    served = 0

    def handle(self) -> None:
        """Answer, until it is enough."""
        for count in itertools.count():
            lines = iter(self.rfile.readline, b"")
            if not any(line == b"\r\n" for line in lines):
                return
            if count == self.served:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                # Closed at once and whole: socketserver would send an end first, and not a reset.
                os.close(self.connection.detach())
                return
            self.wfile.write(healthy(Request("", {}, b"")))


class Server(socketserver.ThreadingTCPServer):
    """A thread for each connection; the handler may have closed it."""

    daemon_threads = True

    def shutdown_request(self, request: Any) -> None:
        """Close it: a shutdown of what the handler closed would fail."""
        request.close()


@pytest.mark.parametrize("first", [True, False])
def test_a_connection_that_is_reset(first: bool) -> None:
    """At its first byte: nobody wants the connection. At the second request: it must not be kept alive."""
    handler = type("Handler", (ResetsAfter,), {"served": 0 if first else 1})
    with Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            result = asyncio.run(run(health, f"http://127.0.0.1:{server.server_address[1]}"))
        finally:
            server.shutdown()
            thread.join()
    if first:
        assert said(result) == ("control.connection-reset", "connect")
        assert result.measurements["problem"] == "reset"
    else:
        assert said(result) == ("control.bad-answer", "answer")
        assert result.measurements["problem"] == "kept-alive"
    assert str(result.measurements["problem"]) in result.message


def test_tls_and_plain_http_taken_for_each_other(open_trap: "OpenTrap", authority: trustme.CA, tmp_path: Path) -> None:
    """The URL's scheme is the mistake, and the other scheme is offered only where a control plane answers by it."""
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))

    async def talk() -> tuple[Result, Result]:
        secure = server_context(authority.issue_cert("127.0.0.1"))
        async with open_trap(healthy, tls=secure) as trap, open_trap(healthy) as plain:
            return (
                await run(health, trap.url, ca_file=ca_file),
                await run(tls, f"https://127.0.0.1:{plain.port}", ca_file=ca_file),
            )

    asked_plainly, asked_by_tls = asyncio.run(talk())
    assert said(asked_plainly) == ("control.tls-failed", "tls")
    assert asked_plainly.measurements["problem"] == "speaks TLS"
    assert "https://127.0.0.1" in (asked_plainly.remedy or "")
    assert said(asked_by_tls) == ("control.tls-failed", "tls")
    assert asked_by_tls.measurements["problem"] == "plain HTTP"
    assert "http://127.0.0.1" in (asked_by_tls.remedy or "")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("demand", [ssl.CERT_REQUIRED, ssl.CERT_OPTIONAL])
def test_a_client_certificate_is_demanded(
    open_trap: "OpenTrap",
    authority: trustme.CA,
    tmp_path: Path,
    version: ssl.TLSVersion,
    demand: ssl.VerifyMode,
) -> None:
    """By an alert, which comes after the handshake in TLS 1.3, or by nginx' 400: never a crash, never another cause."""
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    asking = server_context(authority.issue_cert("127.0.0.1"))
    asking.minimum_version = asking.maximum_version = version
    asking.verify_mode = demand
    authority.configure_trust(asking)
    page = b"<html><head><title>400 No required SSL certificate was sent</title></head></html>"

    async def talk() -> Result:
        async with open_trap(lambda _: answer("400 Bad Request", page), tls=asking) as trap:
            return await run(tls, f"https://127.0.0.1:{trap.port}", ca_file=ca_file)

    result = asyncio.run(talk())
    assert said(result) == ("control.client-certificate", "tls")
    assert result.measurements["problem"] == "client certificate"
    assert "client certificate" in result.message


def test_a_certificate_that_is_only_asked_for(open_trap: "OpenTrap", authority: trustme.CA, tmp_path: Path) -> None:
    """A server that asks and serves without one demands nothing."""
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    asking = server_context(authority.issue_cert("127.0.0.1"))
    asking.verify_mode = ssl.CERT_OPTIONAL
    authority.configure_trust(asking)

    async def talk() -> Result:
        async with open_trap(healthy, tls=asking) as trap:
            return await run(tls, f"https://127.0.0.1:{trap.port}", ca_file=ca_file)

    assert asyncio.run(talk()).code is None


def test_an_intermediate_that_the_server_does_not_send(open_trap: "OpenTrap", tmp_path: Path) -> None:
    """The link that lacks is named, and not the root that this node trusts."""
    root = trustme.CA(organization_name="Root of the tests")
    middle = root.create_child_ca()
    leaf = middle.issue_cert("127.0.0.1")
    ca_file = tmp_path / "ca.pem"
    root.cert_pem.write_to_path(str(ca_file))
    own = tmp_path / "own.pem"
    own.write_bytes(leaf.private_key_pem.bytes() + leaf.cert_chain_pems[0].bytes())
    alone = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    alone.load_cert_chain(own)

    async def talk() -> Result:
        async with open_trap(healthy, tls=alone) as trap:
            return await run(tls, f"https://127.0.0.1:{trap.port}", ca_file=ca_file)

    result = asyncio.run(talk())
    assert said(result) == ("control.tls-untrusted", "tls")
    missing = str(result.measurements["certificate"])
    assert missing in x509.load_pem_x509_certificate(middle.cert_pem.bytes()).subject.rfc4514_string()
    assert missing in result.message
    assert "does not send" in result.message


def test_a_prefix_that_nobody_takes_away(open_trap: "OpenTrap") -> None:
    """A control plane that answers 404 is one: its path is wrong, and the URL without the prefix is offered."""

    async def talk() -> Result:
        def respond(request: Request) -> bytes:
            return healthy(request) if request.line.startswith("GET /health") else populi("404 Not Found", b"nothing")

        async with open_trap(respond) as trap:
            result = await run(health, f"{trap.url}/mesh")
            assert trap.url in (result.remedy or "")
            return result

    result = asyncio.run(talk())
    assert said(result) == ("control.bad-answer", "server")
    assert result.measurements["problem"] == "prefix /mesh"
    assert "prefix /mesh" in result.message


def test_places_that_disagree(open_trap: "OpenTrap") -> None:
    """Only where the winning URL is dead and a hidden one lives: otherwise nothing proves which is meant."""

    async def talk() -> tuple[Result, Result]:
        async with open_trap(healthy) as living, open_trap(lambda _: answer("404 Not Found")) as dead:
            other = NamedUrl("preflight.yaml", ControlUrl("http", "127.0.0.1", living.port))
            variable = "VOX_ORCHESTRATOR_MESH_CONTROL_URL"
            wrong = await run(url, dead.url, other, source=variable)
            right = await run(url, living.url, NamedUrl("x", ControlUrl("http", "127.0.0.1", dead.port)))
            assert f"export {variable}={living.url}" in (wrong.remedy or "")
            assert not any("authorization" in request.headers for request in (*living.requests, *dead.requests))
            return wrong, right

    wrong, right = asyncio.run(talk())
    assert said(wrong) == ("control.url-conflict", "source")
    assert wrong.measurements["variable"] == "VOX_ORCHESTRATOR_MESH_CONTROL_URL"
    assert right.code is None


def test_a_url_whose_mistake_is_plain(open_trap: "OpenTrap") -> None:
    """What was meant is set only where a control plane answers at it."""

    async def talk() -> tuple[Result, Result]:
        async with open_trap(healthy) as trap, open_trap(lambda _: answer("404 Not Found")) as other:
            return await run(url, f'"{trap.url}"'), await run(url, f'"{other.url}"')

    found, unsure = asyncio.run(talk())
    assert said(found) == said(unsure) == ("control.url-invalid", "parse")
    assert found.measurements["problem"] == "quotes"
    assert "a control plane answers" in found.message
    assert "a control plane answers" not in unsure.message
    assert {remedy.kind for remedy in unsure.remedies} == {"next"}
