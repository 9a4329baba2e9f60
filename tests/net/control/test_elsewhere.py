"""Where else a control plane answers: behind a gateway's own `/health`, and behind a prefix that keeps its slash."""

import asyncio
from typing import TYPE_CHECKING

import pytest

from preflight.net import Net
from preflight.settings.load import Options, load
from tests.net.conftest import Request, answer

if TYPE_CHECKING:
    from tests.net.conftest import OpenTrap, Respond

FEATURES = {"x_populi_feature": "exec-lease-v1"}


def behind(status: str) -> "Respond":
    """A gateway that answers `/health` itself, and hands the API on."""

    def respond(request: Request) -> bytes:
        if "/health" in request.line:
            return answer(status, b"fine", server="nginx")
        return answer("401 Unauthorized", b"unauthorized", **FEATURES)

    return respond


def slashed(request: Request) -> bytes:
    """nginx with `location /mesh { proxy_pass http://control/; }`."""
    if request.line.startswith("GET /meshhealth "):
        return answer(body=b"ok\n", **FEATURES)
    return answer("401 Unauthorized", b"unauthorized", **FEATURES)


def kept(request: Request) -> bytes:
    """Nobody takes the prefix away."""
    return answer("401 Unauthorized", b"unauthorized", **FEATURES)


@pytest.mark.parametrize(
    ("respond", "count"),
    [
        (behind("200 OK"), 2),
        (behind("404 Not Found"), 2),
        (behind("502 Bad Gateway"), 2),
        (behind("500 Internal Server Error"), 0),
        (lambda request: answer(body=b"<html>"), 0),
        (kept, 0),
    ],
)
def test_only_health_may_be_another_servers(open_trap: "OpenTrap", respond: "Respond", count: int) -> None:
    """Protects working nodes: workers join by the API, no matter who answers `/health`. No bearer is sent for it."""

    async def talk() -> None:
        async with open_trap(respond) as trap:
            net = Net(load(Options(control_url=trap.url), {"VOX_MESH_TOKEN": "mesh-token-of-the-tests"}))
            try:
                assert len(await net.past_health(await net.control.health())) == count
            finally:
                await net.control.aclose()
            assert not any("authorization" in request.headers for request in trap.requests)

    asyncio.run(talk())


@pytest.mark.parametrize(("respond", "keeps"), [(slashed, True), (kept, False)])
def test_a_prefix_that_keeps_its_slash(open_trap: "OpenTrap", respond: "Respond", keeps: bool) -> None:
    """Protects the truth: `nothing takes the prefix away` is false where a gateway takes it, and no slash with it."""

    async def talk() -> None:
        async with open_trap(respond) as trap:
            net = Net(load(Options(control_url=f"{trap.url}/mesh"), {}))
            try:
                assert await net.keeps_a_slash() is keeps
            finally:
                await net.control.aclose()

    asyncio.run(talk())
