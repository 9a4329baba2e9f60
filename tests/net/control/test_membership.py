"""A member against the bundled control plane over real sockets: there while it is wanted, gone afterwards."""

import asyncio
from typing import TYPE_CHECKING

import httpx
from pydantic import SecretStr

from preflight.net import Net
from preflight.net.control.membership import Member
from preflight.settings.load import Secrets, Settings
from preflight.settings.schema import ControlSettings, NodeSettings
from tests.net.conftest import MESH, WORKER

if TYPE_CHECKING:
    from tests.net.conftest import ControlPlane, StartControlPlane

BEAT_S = 0.05


class Stay:
    """A member that stays within `async with`, and what it reports."""

    def __init__(self, server: "ControlPlane", node_id: str | None = None) -> None:
        made = Settings(
            node=NodeSettings(id=node_id),
            control=ControlSettings(url=server.url, scope_id="lab"),
            secrets=Secrets(token=SecretStr(WORKER)),
        )
        self.reported: list[str] = []
        self._client = Net(made).new_control()
        self._member = Member(made, self._client, BEAT_S, lambda news: self.reported.append(news.text))
        self._stop = asyncio.Event()

    async def __aenter__(self) -> "Stay":
        self.task = asyncio.create_task(self._member.stay(self._stop))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await self.task
        await self._client.aclose()


async def rows(server: "ControlPlane") -> dict[str, int]:
    """When each node was seen last."""
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {MESH}"}) as client:
        nodes = (await client.get(f"{server.url}/v1/populi/nodes")).json()["nodes"]
    return {node["id"]: node["last_seen_unix_ms"] for node in nodes}


async def beats(server: "ControlPlane", count: int) -> None:
    """Return once the only listed node has been seen again this many times."""
    seen: set[int] = set()
    async with asyncio.timeout(60):
        while len(seen) <= count:
            seen |= set((await rows(server)).values())
            await asyncio.sleep(BEAT_S / 5)


def test_it_is_there_while_it_is_wanted(start_control_plane: "StartControlPlane") -> None:
    """Heartbeat after heartbeat refreshes its row; afterwards there is none."""
    server = start_control_plane()

    async def run() -> list[str]:
        async with Stay(server, "a") as stay:
            await beats(server, 5)
            assert set(await rows(server)) == {"a"}
        assert await rows(server) == {}
        return stay.reported

    assert asyncio.run(run()) == ["joined as a", "a left again"]


def test_a_restart_is_waited_out(start_control_plane: "StartControlPlane") -> None:
    """Killed and started again: the heartbeats go on, and both are reported once."""
    server = start_control_plane()

    async def run() -> list[str]:
        async with Stay(server) as stay:
            await beats(server, 2)
            server.kill()
            async with asyncio.timeout(60):
                while len(stay.reported) < 2:
                    await asyncio.sleep(BEAT_S)
            await asyncio.get_running_loop().run_in_executor(None, server.start)
            await beats(server, 2)
        assert await rows(server) == {}
        return stay.reported

    reported = asyncio.run(run())
    assert len(reported) == 4
    assert "repeated until it is taken" in reported[1]
    assert "taken again after" in reported[2]
    assert reported[3].endswith("left again")


def test_a_cancellation_does_not_keep_it_from_leaving(start_control_plane: "StartControlPlane") -> None:
    """However it ends, its row is gone."""
    server = start_control_plane()

    async def run() -> None:
        async with Stay(server) as stay:
            await beats(server, 1)
            stay.task.cancel()
            await asyncio.wait((stay.task,))
            assert await rows(server) == {}
            stay.task = asyncio.create_task(asyncio.sleep(0))

    asyncio.run(run())


def test_it_ends_also_without_the_server(start_control_plane: "StartControlPlane") -> None:
    """Leaving is bounded, and the report says that the row may still be there."""
    server = start_control_plane()

    async def run() -> list[str]:
        async with Stay(server) as stay:
            await beats(server, 1)
            server.kill()
        return stay.reported

    assert "its row may still be listed" in asyncio.run(run())[-1]
