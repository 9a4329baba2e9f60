"""The scope trial against servers that break off, hang or lose an answer: its row is removed each time."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from preflight.model.roles import ScopeTrial
from preflight.net.control.client import ControlClient
from preflight.net.control.scope import try_foreign_scope
from preflight.proto.control.url import parse_control_url
from preflight.settings.load import Settings
from preflight.settings.schema import ControlSettings, NodeSettings
from tests.net.conftest import WORKER, Request, answer

if TYPE_CHECKING:
    from tests.net.conftest import OpenTrap

ROW = answer(body=b'{"id": "x", "version": "1", "last_seen_unix_ms": 1}', x_populi_feature="a")
FORBIDDEN = answer("403 Forbidden", x_populi_feature="a")
Join = Callable[[int], bytes | None]


@asynccontextmanager
async def trial(open_trap: "OpenTrap", asked: list[str], join: Join) -> "AsyncIterator[asyncio.Task[ScopeTrial]]":
    """A trial against a server whose nth join is answered with `join(n)`; what it was asked goes to `asked`."""

    def respond(request: Request) -> bytes | None:
        asked.append(request.line.split()[1].rpartition("/")[2])
        if asked[-1] == "nodes":
            return answer(body=b'{"schema_version": 1, "nodes": []}', x_populi_feature="a")
        if asked[-1] == "join":
            return join(asked.count("join"))
        return answer("204 No Content", x_populi_feature="a")

    async with open_trap(respond) as trap:
        client = ControlClient(parse_control_url(trap.url), token=SecretStr(WORKER))
        try:
            made = Settings(control=ControlSettings(url=trap.url))
            yield asyncio.create_task(try_foreign_scope(made, client))
        finally:
            await client.aclose()


def test_a_join_that_is_ended_is_taken_back(open_trap: "OpenTrap") -> None:
    """Ctrl-C between the join and its answer must not leave a stranger's row: the run leaves anyway."""

    async def talk() -> None:
        joining = asyncio.Event()
        asked: list[str] = []

        def join(_: int) -> bytes:
            joining.set()
            return ROW

        async with trial(open_trap, asked, join) as running:
            await joining.wait()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        assert asked == ["nodes", "join", "leave"]

    asyncio.run(talk())


@pytest.mark.parametrize(("second", "verdict"), [(ROW, "open"), (FORBIDDEN, "enforced")])
def test_a_lost_answer_is_asked_for_again(open_trap: "OpenTrap", second: bytes, verdict: str) -> None:
    """One broken connection decides nothing; the row that it may have made is left, refused repeat or not."""

    async def talk() -> None:
        asked: list[str] = []
        async with trial(open_trap, asked, lambda count: b"" if count == 1 else second) as running:
            reported = await running
        assert (reported.verdict, reported.left) == (verdict, True)
        assert asked == ["nodes", "join", "join", "leave"]

    asyncio.run(talk())


def test_the_row_of_a_trial_is_small(open_trap: "OpenTrap") -> None:
    """The node's labels may exceed what the path carries, and the trial asks about the scope alone."""
    rows: list[dict[str, Any]] = []

    def respond(request: Request) -> bytes:
        if request.line.split()[1].endswith("/nodes"):
            return answer(body=b'{"schema_version": 1, "nodes": []}', x_populi_feature="a")
        if request.line.split()[1].endswith("/join"):
            rows.append(json.loads(request.body))
        return FORBIDDEN

    async def talk() -> None:
        async with open_trap(respond) as trap:
            client = ControlClient(parse_control_url(trap.url), token=SecretStr(WORKER))
            labels = ("gpu", "x" * 100)
            made = Settings(node=NodeSettings(labels=labels), control=ControlSettings(url=trap.url))
            await try_foreign_scope(made, client)
            await client.aclose()

    asyncio.run(talk())
    (row,) = rows
    (mark,) = row["capabilities"]["labels"]
    assert mark.startswith("preflight")
