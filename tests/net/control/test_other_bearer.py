"""A bearer in another place of this node that the control plane accepts, where it refuses the one that won."""

import asyncio
from typing import TYPE_CHECKING

from pydantic import SecretStr

from preflight.model.token import HeldToken
from preflight.net.control.client import ControlClient
from preflight.net.control.other_bearer import OtherBearer
from preflight.proto.control.token_finding import hidden_bearer
from preflight.proto.control.url import parse_control_url
from tests.net.conftest import WORKER, Request, answer
from tests.proto.control.test_token_text import NOW, jwt

if TYPE_CHECKING:
    from tests.net.conftest import OpenTrap


def held(place: str, value: str) -> HeldToken:
    return HeldToken(place, SecretStr(value))


def test_the_first_that_is_accepted(open_trap: "OpenTrap") -> None:
    """The refused one is not sent again, and a JWT that is accepted once is not used up for a look."""
    once, heard = jwt(role="worker", jti="1", exp=NOW), list[str]()

    def respond(request: Request) -> bytes:
        heard.append(request.headers["authorization"])
        good = heard[-1] == f"Bearer {WORKER}"
        body = b'{"schema_version": 1, "nodes": []}' if good else b"unauthorized"
        return answer("200 OK" if good else "401 Unauthorized", body, x_populi_feature="a")

    async def look(*bearers: HeldToken) -> tuple[HeldToken, HeldToken] | None:
        async with open_trap(respond) as trap:
            client = ControlClient(parse_control_url(trap.url), token=SecretStr("old"))
            try:
                other = OtherBearer(client, bearers)
                found = await other.accepted()
                assert await other.accepted() == found
                return found
            finally:
                await client.aclose()

    good = held("b", WORKER)
    used = held("VOX_MESH_TOKEN", "old")
    assert asyncio.run(look(used, held("a", "other"), held("j", once), good)) == (used, good)
    assert heard == ["Bearer other", f"Bearer {WORKER}"]
    assert asyncio.run(look(used, held("a", "other"))) is None
    said, remedies = hidden_bearer(used, good)
    assert WORKER not in f"{said}{remedies}"
    assert remedies[0].lines[0].startswith("unset VOX_MESH_TOKEN ")
