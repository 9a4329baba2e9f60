"""Signatures in the place of a bearer: ignored by the bundled server, the real one's trap with --like-upstream."""

import asyncio
import time
from contextlib import aclosing

import httpx
import pytest
from preflight_checks.posture_routes import posture_routes

from preflight.api import Result, Status
from preflight.proto.control.signed import Signer
from preflight.settings.load import Options, load
from tests.control.conftest import StartServer
from tests.net.conftest import context

PATH = "/v1/populi/nodes"
TOKEN = {"VOX_MESH_TOKEN": "mesh-token-of-the-tests"}
NODE = {"VOX_MESH_NODE_ID": "control"}


@pytest.mark.parametrize(
    ("variables", "options", "status"),
    [
        (TOKEN, (), 401),
        (TOKEN, ("--like-upstream",), 200),
        (TOKEN | NODE, ("--like-upstream",), 403),
        (NODE, ("--like-upstream",), 200),
    ],
)
def test_who_may_sign(
    start_server: StartServer, variables: dict[str, str], options: tuple[str, ...], status: int
) -> None:
    """Ours does not read signatures; the real one trusts every key as long as it has no list of them."""
    headers = Signer().headers(PATH, time.time(), "0f")
    server = start_server(variables, *options)
    assert httpx.get(f"{server.url}{PATH}", headers=headers, timeout=10).status_code == status


@pytest.mark.parametrize(
    ("late_s", "path", "change"),
    [
        (310, PATH, {}),
        (-310, PATH, {}),
        (0, "/v1/populi/join", {}),
        (0, PATH, {"x-vox-node-nonce": "10"}),
        (0, PATH, {"x-vox-node-pubkey": "00"}),
        (0, PATH, {"x-vox-node-signature": "zz"}),
        (0, PATH, {"x-vox-node-timestamp": "\u0661"}),
        (0, PATH, {"authorization": "Bearer unknown"}),
    ],
)
def test_a_bad_signature_is_none(start_server: StartServer, late_s: int, path: str, change: dict[str, str]) -> None:
    """Protects rehearsals: too old, for another path, changed, or with a bearer, which is judged first."""
    server = start_server(TOKEN, "--like-upstream")
    headers = Signer().headers(path, time.time() - late_s, "0f") | change
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    assert httpx.get(f"{server.url}{PATH}", headers=raw, timeout=10).status_code == 401


def _posture(url: str) -> Result:
    async def ask() -> Result:
        ctx = context(load(Options(control_url=url), {}))
        try:
            await ctx.net.control.health()  # as in each run: it tells the server's time
            async with aclosing(posture_routes.function(ctx)) as results:
                return await anext(results)
        finally:
            await ctx.net.control.aclose()

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("variables", "options", "status", "word"),
    [
        (TOKEN, (), Status.PASS, "a key that it does not know"),
        (TOKEN | NODE, ("--like-upstream",), Status.PASS, "a key that it does not know"),
        (TOKEN, ("--like-upstream",), Status.FAIL, "any key"),
        (TOKEN, ("--like-upstream", "--fault", "clock-skew=900"), Status.FAIL, "any key"),
        ({}, ("--like-upstream",), Status.FAIL, "none was refused"),
    ],
)
def test_the_check_tells_them_apart(
    start_server: StartServer, variables: dict[str, str], options: tuple[str, ...], status: Status, word: str
) -> None:
    """Protects real clusters: with a token set they look closed, and are open to anyone who makes a key."""
    result = _posture(start_server(variables, *options).url)
    assert (result.status, word in result.message) == (status, True), result.message
