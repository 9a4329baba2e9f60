"""A control plane that answers whatever an attack wants, and the checks that ask it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from preflight_checks import control_health, posture_roles, posture_routes
from pydantic import SecretStr

from preflight.api import Check, Context, Result
from preflight.net import Net
from preflight.net.secrets.local import LocalSecrets
from preflight.settings.load import Secrets, Settings
from preflight.settings.schema import ControlSettings

TOKEN = "s3cr3t-bearer-of-the-attacks"
POPULI = "x-populi-feature: exec-lease-v1\r\n"
Reply = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]


def http(status: str, body: bytes = b"", more: str = "", *, ours: bool = False) -> bytes:
    """An answer; ours: with the header that a control plane sends."""
    head = f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{POPULI if ours else ''}{more}\r\n"
    return head.encode() + body


HEALTHY = http("200 OK", b"ok\n", ours=True)


class Evil:
    """A server on loopback: `/health` is good unless the test changes it, `reply` answers everything else."""

    def __init__(self, reply: Reply, health: Reply = HEALTHY) -> None:
        self.reply, self.health = reply, health
        self.heads: list[str] = []
        self.port = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection until an answer that is not the good one was sent."""
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode("latin-1"):
                self.heads.append(head)
                length = next(
                    (line[15:] for line in head.split("\r\n") if line.lower().startswith("content-length")), "0"
                )
                await reader.readexactly(int(length.strip(": ")))
                said = self.health if " /health " in head else self.reply
                if callable(said):
                    await said(writer)
                    break
                writer.write(said)
                await writer.drain()
                if said is not HEALTHY:
                    break
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.transport.abort()


@asynccontextmanager
async def opened(evil: Evil, tls: ssl.SSLContext | None = None) -> AsyncIterator[Evil]:
    """The server while it is asked; it leaves nothing."""
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await evil.serve(reader, writer)
        except asyncio.CancelledError:
            pass
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls, limit=2**20)
    evil.port = server.sockets[0].getsockname()[1]
    try:
        yield evil
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def run(check: Check, url: str, *, token: str | None = TOKEN, **more: Any) -> list[Result]:
    """The results of one check as the runner would take them."""
    settings = Settings(
        control=ControlSettings(url=url, **{"timeout_ms": 500, **more.pop("control", {})}),
        secrets=Secrets(token=SecretStr(token) if token else None),
        **more,
    )
    ctx = Context(settings=settings, peers=(), overlay=None, net=Net(settings))
    ctx.net.secrets = LocalSecrets(settings, {"VOX_MESH_WORKER_TOKEN": token} if token else {})
    try:
        async with aclosing(check.function(ctx)) as results:
            reported = [result async for result in results]
    finally:
        await ctx.net.aclose()
    for result in reported:
        assert result.code is None or result.code in check.codes or result.code.area == "run"
        assert result.message.isprintable(), result.message
        assert len(result.message) < 1500
        assert TOKEN not in repr(result)
    return reported


def attack(check: Check, evil: Evil, **more: Any) -> list[Result]:
    async def talk() -> list[Result]:
        async with opened(evil):
            return await run(check, evil.url, **more)

    return asyncio.run(talk())


def codes_of(results: Sequence[Result]) -> list[str]:
    return [result.code.slug if result.code else result.status.value for result in results]


@pytest.fixture(autouse=True)
def bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorter waits of the same kind, and no proxies."""
    monkeypatch.setattr(control_health, "ANSWER_TIMEOUT_S", 0.4)
    monkeypatch.setattr(control_health, "PATIENCE_S", 0.4)
    for module in (posture_roles, posture_routes):
        monkeypatch.setattr(module, "PACE_S", 0.0)
        monkeypatch.setattr(module, "ASKED_S", 0.4)
        monkeypatch.setattr(module, "MOST_WAITED_S", 0.05)
    monkeypatch.setattr("preflight.net.control.patience.MOST_WAITED_S", 0.05)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
