"""Fifty enrolments over a network that loses and garbles at random, against a server with the real one's traps."""

import asyncio
import random
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from preflight_checks.enroll_cycle import enroll_cycle
from pydantic import SecretStr

from preflight.api import Result
from preflight.settings.load import Enrolment, Secrets, Settings
from preflight.settings.schema import ControlSettings
from tests.control.conftest import Server, servers
from tests.net.conftest import Request, answer, context

if TYPE_CHECKING:
    from tests.net.conftest import OpenTrap

MESH = "mesh-token-of-the-tests"
COUNT = 50
FAULTS = ("refused", "lost", "garbled", "busy")
TOGETHER = 12
MOST_IN_A_ROW = 2
"""More would be an outage, in which nobody could leave."""
EXCHANGE = "/v1/populi/bootstrap/exchange"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with servers(tmp_path_factory.mktemp("faults")) as start:
        yield start({"VOX_MESH_TOKEN": MESH, "VOX_MESH_SCOPE_ID": "lab"}, "--like-upstream")


@dataclass
class BadNetwork:
    """What one enrolment goes through. spent: its token was exchanged; heard: the credential reached the node."""

    seed: int
    server: Server
    http: httpx.Client
    spent: bool = False
    heard: bool = False
    in_a_row: int = 0
    happened: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)

    def relay(self, request: Request) -> bytes:
        """The answer, or what is left of it."""
        fault = self._chance.choice(FAULTS) if self._chance.random() < 0.35 else ""
        fault = "" if self.in_a_row == MOST_IN_A_ROW else fault
        self.in_a_row = self.in_a_row + 1 if fault else 0
        path = request.line.split()[1]
        self.happened.append(f"{path.rpartition('/')[2]} {fault}")
        if fault == "refused":
            return b""
        if fault == "busy":
            return answer("503 Busy", b"busy", retry_after="0")
        exchanged = path == EXCHANGE and bool(request.body)  # without one, it only asks whether the exchange is reached
        said = self._exchange() if exchanged else self._forwarded(request)
        if not fault:
            self.heard |= exchanged and said.startswith(b"HTTP/1.1 200")
        garbled = said.replace(b"content-length: ", b"content-length: x", 1)
        return {"lost": b"", "garbled": garbled}.get(fault, said)

    def _exchange(self) -> bytes:
        """As upstream: each exchange spends the token, whatever happens to its answer."""
        before, self.spent = self.spent, True
        features = {"x_populi_feature": "exec-lease-v1"}
        if before:
            return answer("410 Gone", b'{"error": "consumed"}', **features)
        return answer("200 OK", f'{{"mesh_token": "{MESH}", "scope_id": "lab"}}'.encode(), **features)

    def _forwarded(self, request: Request) -> bytes:
        method, path, _ = request.line.split()
        kept = ("authorization", "content-type")
        headers = {name: value for name, value in request.headers.items() if name in kept}
        said = self.http.request(method, f"{self.server.url}{path}", content=request.body, headers=headers)
        return answer(f"{said.status_code} X", said.content, x_populi_feature=said.headers["x-populi-feature"])


async def enrol(open_trap: "OpenTrap", network: BadNetwork, out: Path) -> list[Result]:
    """A whole enrolment with a one-time token."""
    async with open_trap(network.relay) as trap:
        made = Settings(
            control=ControlSettings(url=trap.url, scope_id="lab"),
            secrets=Secrets(),
            enrolment=Enrolment(SecretStr(f"one-time-token-{network.seed}"), out),
        )
        ctx = context(made)
        try:
            async with aclosing(enroll_cycle.function(ctx)) as results:
                return [result async for result in results]
        finally:
            await ctx.net.control.aclose()


def test_fifty_random_faults_lose_nothing(open_trap: "OpenTrap", server: Server, tmp_path: Path) -> None:
    """No row stays, a credential that arrived is kept, and the report says it where the answer with one was lost."""
    with httpx.Client() as http:
        networks = [BadNetwork(seed, server, http) for seed in range(COUNT)]

        async def run() -> list[list[Result]]:
            few = asyncio.Semaphore(TOGETHER)

            async def one(network: BadNetwork) -> list[Result]:
                async with few:
                    return await enrol(open_trap, network, tmp_path / f"c{network.seed}")

            return await asyncio.gather(*map(one, networks))

        reports = asyncio.run(run())
        listing = http.get(f"{server.url}/v1/populi/nodes", headers={"authorization": f"Bearer {MESH}"})
        assert listing.json()["nodes"] == []
    for network, results in zip(networks, reports, strict=True):
        out = tmp_path / f"c{network.seed}"
        bootstrap = next(result for result in results if result.aspect == "bootstrap")
        assert (MESH in out.read_text() if out.exists() else False) is network.heard, network.happened
        assert (bootstrap.code is None) is network.heard, bootstrap.message
        if not network.heard:
            assert network.spent
            assert "spent" in bootstrap.message
    assert sum(network.heard for network in networks) > COUNT // 2
    left = [any(result.code is None and result.aspect == "leave" for result in each) for each in reports]
    assert sum(left) > COUNT // 3
