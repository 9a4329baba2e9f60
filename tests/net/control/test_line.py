"""What is shared on one way to the control plane: connections, and answers that were asked for ahead."""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from preflight_checks import control_health
from preflight_checks.control_api import control_api
from preflight_checks.control_clock import control_clock
from pydantic import SecretStr

from preflight.api import Check, Context
from preflight.model.control import HttpAnswer
from preflight.model.facts import ControlConnectFacts
from preflight.net.control.client import ControlClient
from preflight.proto.control.health_probe import Probe, is_the_way
from preflight.proto.control.populi import LIST_ROUTE
from preflight.proto.control.url import parse_control_url
from preflight.settings.load import Settings
from preflight.settings.schema import ControlSettings
from tests.net.conftest import Request, answer, context, healthy

if TYPE_CHECKING:
    from tests.net.conftest import OpenTrap, Trap

EMPTY = answer(body=b'{"schema_version": 1, "nodes": []}', x_populi_feature="exec-lease-v1")


def asked(trap: "Trap") -> list[str]:
    return sorted(request.line.split()[1] for request in trap.requests)


def client_of(trap: "Trap") -> ControlClient:
    return ControlClient(parse_control_url(trap.url), token=SecretStr("a-token-of-the-tests"), environment={})


def test_another_bearer_goes_over_the_same_connection(open_trap: "OpenTrap") -> None:
    """On a long way a new one costs a round trip; closing the copy closes nothing of the client's."""

    async def talk() -> None:
        async with open_trap(healthy) as trap:
            client = client_of(trap)
            copy = client.with_token(SecretStr("another-token-of-the-tests"))
            for each in (client, copy):
                await each.health()
            await copy.aclose()
            await client.health()
            assert (len(trap.requests), trap.connections) == (3, 1)
            await client.aclose()

    asyncio.run(talk())


@pytest.mark.parametrize("lost", [False, True])
def test_what_was_asked_ahead_is_not_asked_again_unless_it_was_lost(open_trap: "OpenTrap", lost: bool) -> None:
    """Who recalls it waits for it. A connection that ended without an answer decides nothing."""

    async def talk() -> None:
        def respond(request: Request) -> bytes:
            return b"" if lost and len(trap.requests) == 1 else EMPTY

        async with open_trap(respond) as trap:
            client = client_of(trap)
            client.ahead(client.nodes(recall="unchanged"))
            await asyncio.sleep(0)
            assert (await client.nodes(recall="unchanged")).nodes == ()
            assert len(trap.requests) == 1 + lost
            await client.aclose()

    asyncio.run(talk())


def test_nothing_is_asked_ahead_any_more_once_a_client_is_closed(open_trap: "OpenTrap") -> None:
    """Protects from a request that outlives its run."""

    async def talk() -> None:
        async with open_trap(lambda request: None) as trap:
            client = client_of(trap)
            client.ahead(client.nodes())
            await asyncio.sleep(0)
            await client.aclose()
            assert len(asyncio.all_tasks()) == 1 + trap.connections

    asyncio.run(talk())


@pytest.mark.parametrize(("connect_ms", "expected"), [(600.0, True), (401.0, True), (202.0, False), (0.0, False)])
def test_a_way_that_is_long_without_load(connect_ms: float, expected: bool) -> None:
    """A second look alone costs seconds, and shows nothing new where the handshake took as long as the answers."""
    answers = tuple(HttpAnswer(200, {}, b"ok", 600.0, 0.0, 0.6, connected=False) for _ in range(2))
    assert is_the_way(Probe(answers), connect_ms) is expected


async def run(check: Check, ctx: Context) -> list[str]:
    return [result.status.value async for result in check.function(ctx)]


def test_a_long_way_is_waited_for_once(open_trap: "OpenTrap", monkeypatch: pytest.MonkeyPatch) -> None:
    """Where connections take long, all that is certainly wanted is asked at once, and no check asks it again."""
    monkeypatch.setattr(control_health, "FAR_MS", 0.0)

    def respond(request: Request) -> bytes:
        return healthy(request) if "/health" in request.line else answer("401 No", x_populi_feature="exec-lease-v1")

    async def talk() -> None:
        async with open_trap(respond) as trap:
            near = context(Settings(control=ControlSettings(url=trap.url)))
            reached = ControlConnectFacts(addresses=1, addresses_open=1, connect_ms=600.0)
            ctx = replace(near, handed_over={"control": (reached,)})
            assert await run(control_health.control_health, ctx) == ["pass"]
            assert await run(control_api, ctx) == ["pass"]
            assert asked(trap) == ["/health", "/health", LIST_ROUTE]
            assert trap.connections == 3
            await run(control_clock, ctx)
            assert asked(trap) == ["/health", "/health", "/health", LIST_ROUTE]
            assert trap.connections == 3
            await ctx.net.control.aclose()

    asyncio.run(talk())
