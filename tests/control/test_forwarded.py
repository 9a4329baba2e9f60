"""Which client a request counts for behind a proxy; in this process: a test has no address of another machine."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from preflight.control.app import ControlPlane
from preflight.control.config import Rate, ServerConfig
from preflight.control.database import Database
from preflight.control.guard import Patience
from preflight.control.guests import Caps
from preflight.control.handlers import Plane
from preflight.control.serve import _uvicorn_config

PROXY, STRANGER = "127.0.0.1", "192.0.2.1"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "control-plane.db", lambda: 1000)
    yield database
    database.close()


def asked(database: Database, peer: str, forwarded: list[str], *, rate: Rate | None = None, caps: Caps) -> list[int]:
    """The statuses of requests that one peer sends at once, each with a different X-Forwarded-For."""
    application = ControlPlane(Plane(database, ServerConfig(rate=rate)), lambda: 1000, caps=caps)
    config = _uvicorn_config(application, Patience())
    config.load()

    async def ask() -> list[int]:
        transport = httpx.ASGITransport(config.loaded_app, client=(peer, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            nodes = (client.get("/v1/populi/nodes", headers={"x-forwarded-for": value}) for value in forwarded)
            return [answer.status_code for answer in await asyncio.gather(*nodes)]

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("peer", "forwarded", "good"),
    [
        pytest.param(STRANGER, [f"198.51.100.{number}" for number in range(5)], 2, id="a stranger's word"),
        pytest.param(STRANGER, ["127.0.0.1"] * 5, 2, id="a stranger as a proxy"),
        pytest.param(PROXY, [f"198.51.100.{number}" for number in range(5)], 5, id="five clients"),
        pytest.param(PROXY, ["198.51.100.1"] * 5, 2, id="one client"),
        pytest.param(PROXY, [f"2001:db8::{number}" for number in range(5)], 2, id="one network of IPv6"),
        pytest.param(PROXY, [f"word-{number}" for number in range(5)], 2, id="no addresses"),
        pytest.param(PROXY, [f"198.51.100.{number}, 203.0.113.1" for number in range(5)], 2, id="appended to"),
    ],
)
@pytest.mark.parametrize("rate", [Rate(per_second=1, burst=2), None], ids=["rate", "at a time"])
def test_who_counts(database: Database, peer: str, forwarded: list[str], good: int, rate: Rate | None) -> None:
    """X-Forwarded-For is believed from this machine only, and makes no client out of words or of one network."""
    caps = Caps() if rate else Caps(in_all=1000, per_client=2)
    statuses = asked(database, peer, forwarded, rate=rate, caps=caps)
    assert sorted(statuses) == [200] * good + [429] * (5 - good)
