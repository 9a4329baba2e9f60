"""A bearer in another place of this node that the control plane accepts, where it refuses the one that won."""

import asyncio
from base64 import b64encode
from typing import TYPE_CHECKING

from pydantic import SecretStr

from preflight.model.token import Better, HeldToken
from preflight.net.control.client import ControlClient
from preflight.net.control.other_bearer import OtherBearer
from preflight.net.control.several import TRIES
from preflight.proto.control.token_finding import better_bearer
from preflight.proto.control.url import parse_control_url
from tests.net.conftest import WORKER, Request, answer
from tests.proto.control.test_token_text import NOW, jwt

if TYPE_CHECKING:
    from tests.net.conftest import OpenTrap


def held(place: str, value: str) -> HeldToken:
    return HeldToken(place, SecretStr(value))


def test_what_is_accepted_instead(open_trap: "OpenTrap") -> None:
    """The same one at another control plane behind the URL, a hidden one, or what the text is the base64 of; a JWT that
    is accepted once is not used up for a look.
    """
    once, heard = jwt(role="worker", jti="1", exp=NOW), list[str]()

    def respond(request: Request) -> bytes:
        heard.append(request.headers["authorization"])
        good = heard[-1] == f"Bearer {WORKER}"
        body = b'{"schema_version": 1, "nodes": []}' if good else b"unauthorized"
        return answer("200 OK" if good else "401 Unauthorized", body, x_populi_feature="a")

    async def look(*bearers: HeldToken) -> Better | None:
        async with open_trap(respond) as trap:
            client = ControlClient(parse_control_url(trap.url), token=SecretStr("old"))
            try:
                other = OtherBearer(client, bearers, lambda: ControlClient(parse_control_url(trap.url)))
                found = await other.accepted()
                assert await other.accepted() == found
                return found
            finally:
                await client.aclose()

    good = held("b", WORKER)
    used = held("VOX_MESH_TOKEN", "old")
    assert asyncio.run(look(used, held("a", "other"), held("j", once), good)) == Better(used, good, "hidden")
    assert heard == [*["Bearer old"] * TRIES, "Bearer other", f"Bearer {WORKER}"]
    assert asyncio.run(look(used, held("a", "other"))) is None
    assert asyncio.run(look(good)) == Better(good, good, "again")
    wrapped = held("c", b64encode(f"{WORKER}\n".encode()).decode())
    assert asyncio.run(look(wrapped)) == Better(wrapped, held("c", WORKER), "decoded")
    for better in (Better(good, good, "again"), Better(wrapped, good, "decoded")):
        assert WORKER not in str(better_bearer(better))
    said, remedies = better_bearer(Better(used, good, "hidden"))
    assert WORKER not in f"{said}{remedies}"
    assert remedies[0].lines[0].startswith("unset VOX_MESH_TOKEN ")
