"""Control planes behind one URL that know different tokens and nodes."""

import asyncio
from typing import TYPE_CHECKING

from pydantic import SecretStr

from preflight.net.control.client import ControlClient
from preflight.net.control.several import TRIES, says_otherwise
from preflight.proto.control.url import parse_control_url
from tests.net.conftest import Request, answer
from tests.proto.control.test_token_text import NOW, jwt

if TYPE_CHECKING:
    from tests.net.conftest import OpenTrap

EMPTY = b'{"schema_version": 1, "nodes": []}'


def test_one_of_them_knows_the_token(open_trap: "OpenTrap") -> None:
    """One good answer of a few decides; a JWT that is accepted once is not used up."""
    asked = list[str]()

    def respond(request: Request) -> bytes:
        asked.append(request.line)
        good = len(asked) == TRIES
        status = "200 OK" if good else "401 Unauthorized"
        return answer(status, EMPTY if good else b"unauthorized", x_populi_feature="a")

    async def differs(token: str | None, *, listing: bool = False) -> bool:
        async with open_trap(respond) as trap:
            return await says_otherwise(
                lambda: ControlClient(parse_control_url(trap.url)),
                SecretStr(token) if token else None,
                lambda listed: bool(listed.nodes) or not listing,
            )

    assert asyncio.run(differs("good"))
    assert len(asked) == TRIES
    asked.clear()
    assert not asyncio.run(differs("good", listing=True))
    asked.clear()
    assert not asyncio.run(differs(None))
    assert not asyncio.run(differs(jwt(role="worker", jti="1", exp=NOW)))
    assert not asked
