"""mtu.tcp on loopback: what it sends to whom, and to whom it sends nothing. Black holes: tests/lab/test_tcp_view.py."""

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest
from preflight_checks.mtu_tcp import mtu_tcp
from pydantic import SecretStr

from preflight.api import Result, Status
from preflight.settings.load import Secrets, Settings
from preflight.settings.schema import ControlSettings
from tests.net.conftest import MESH, Request, answer, context, server_context

if TYPE_CHECKING:
    import trustme

    from tests.net.conftest import OpenTrap, StartControlPlane, Trap


async def run(url: str | None) -> list[Result]:
    settings = Settings(control=ControlSettings(url=url), secrets=Secrets(token=SecretStr(MESH)))
    ctx = context(settings)
    try:
        async with aclosing(mtu_tcp.function(ctx)) as results:
            return [result async for result in results]
    finally:
        await ctx.net.control.aclose()


def served(request: Request) -> bytes:
    return answer(body=bytes(20_000))


def test_the_bundled_control_plane_passes(start_control_plane: "StartControlPlane") -> None:
    """Protects a healthy control plane from a finding; its long answers are read no further than needed."""
    assert {result.status for result in asyncio.run(run(start_control_plane().url))} == {Status.PASS}


def test_what_is_sent_is_harmless(open_trap: "OpenTrap") -> None:
    """Protects the server: two reads on one connection, with header lines that servers take (below 8 KiB)."""

    async def talk() -> "Trap":
        async with open_trap(served) as trap:
            await run(trap.url)
            return trap

    trap = asyncio.run(talk())
    assert trap.connections == 1
    assert [request.line for request in trap.requests][:1] == ["GET /v1/populi/nodes HTTP/1.1"]
    assert all(request.line.startswith("GET ") and not request.body for request in trap.requests)
    assert 5000 < sum(len(name) + len(value) + 4 for name, value in trap.requests[0].headers.items()) < 8192
    assert trap.requests[0].headers["authorization"] == f"Bearer {MESH}"


def test_no_bearer_where_no_certificate_was_verified(open_trap: "OpenTrap", authority: "trustme.CA") -> None:
    """Protects the bearer: over TLS to an unknown server, nothing secret is sent."""

    async def talk() -> "Trap":
        async with open_trap(served, tls=server_context(authority.issue_cert("control.example"))) as trap:
            results = await run(trap.url.replace("http:", "https:"))
            assert {result.status for result in results} == {Status.PASS}
            return trap

    for request in asyncio.run(talk()).requests:
        assert "authorization" not in request.headers


def test_past_a_proxy_nothing_is_sent(open_trap: "OpenTrap", monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the contract: where clients go through a proxy, no connection is made that they would not make."""

    async def talk() -> None:
        async with open_trap(served) as server, open_trap(served) as proxy:
            monkeypatch.setenv("HTTP_PROXY", proxy.url)
            (result,) = await run(server.url)
            assert (result.status, result.code and result.code.slug) == (Status.SKIP, "run.not-applicable")
            assert server.connections == proxy.connections == 0

    asyncio.run(talk())


@pytest.mark.parametrize("url", [None, "http://0.0.0.0:9847"])
def test_without_a_usable_url_it_does_not_apply(url: str | None) -> None:
    """Protects nodes without control plane: control.url reports that, not this check."""
    (result,) = asyncio.run(run(url))
    assert result.status is Status.SKIP
