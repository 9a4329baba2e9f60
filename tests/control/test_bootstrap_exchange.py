"""The one-time token: only its owner spends it, once, however many ask, whatever was lost on the way.

These never run against a server that is not ours: a wrong guess would invalidate the real one's token.
"""

import asyncio
import sqlite3
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from tests.control.conftest import Server, StartServer

PATH = "/v1/populi/bootstrap/exchange"
TOKEN = "the-one-time-token-of-the-tests"
MESH = "mesh-token-of-the-tests"
ENABLED = {"VOX_MESH_TOKEN": MESH, "VOX_MESH_BOOTSTRAP_TOKEN": TOKEN, "VOX_MESH_SCOPE_ID": "cluster"}


def test_the_token_buys_the_mesh_token_once(start_server: "StartServer") -> None:
    """200 with bearer and scope, without any other bearer; then 410."""
    server = start_server(ENABLED)
    answer = _exchange(server, TOKEN)
    assert (answer.status_code, answer.json()) == (200, {"mesh_token": MESH, "scope_id": "cluster"})
    assert _exchange(server, TOKEN).status_code == 410


def test_a_wrong_token_burns_nothing(start_server: "StartServer") -> None:
    """401 before and after the right one was spent; the real server would have answered the right one with 410."""
    server = start_server(ENABLED)
    assert [_exchange(server, wrong).status_code for wrong in ("", "x", TOKEN[:-1], TOKEN + "x", "ü")] == [401] * 5
    assert _exchange(server, f" {TOKEN}\n").status_code == 200
    assert _exchange(server, "x").status_code == 401


@pytest.mark.parametrize("bearer", [None, "mesh-token-of-the-tests", "wrong"])
def test_a_bearer_does_not_matter(start_server: "StartServer", bearer: str | None) -> None:
    """The credential is in the body."""
    server = start_server(ENABLED)
    headers = {"authorization": f"Bearer {bearer}"} if bearer else {}
    answer = httpx.post(f"{server.url}{PATH}", json={"bootstrap_token": TOKEN}, headers=headers)
    assert answer.status_code == 200


def test_not_enabled_is_404(start_server: "StartServer") -> None:
    """No bootstrap token set."""
    assert _exchange(start_server({"VOX_MESH_TOKEN": MESH}), TOKEN).status_code == 404


def test_a_bootstrap_token_alone_closes_nothing_and_buys_nothing(start_server: "StartServer") -> None:
    """It is not a bearer secret: the server stays open. No mesh token: 503, which consumes nothing; wrong: 401."""
    server = start_server({"VOX_MESH_BOOTSTRAP_TOKEN": TOKEN})
    with server.client() as client:
        assert client.get("/v1/populi/nodes").status_code == 200
    assert [_exchange(server, token).status_code for token in (TOKEN, "x", TOKEN)] == [503, 401, 503]
    server.stop()
    server.variables = ENABLED
    server.start()
    assert _exchange(server, TOKEN).status_code == 200


def test_an_expired_token_is_410(start_server: "StartServer") -> None:
    """Also for the one who spent it and has its key; a wrong one stays 401."""
    past = str(int(time.time() * 1000) - 1)
    server = start_server({**ENABLED, "VOX_MESH_BOOTSTRAP_EXPIRES_UNIX_MS": past})
    assert _exchange(server, TOKEN).status_code == 410
    assert _exchange(server, "x").status_code == 401


def test_a_lost_answer_can_be_asked_for_again(start_server: "StartServer") -> None:
    """The same key gets the same answer until the deadline, also after a crash; another key and none get 410."""
    future = str(int(time.time() * 1000) + 3600_000)
    server = start_server({**ENABLED, "VOX_MESH_BOOTSTRAP_EXPIRES_UNIX_MS": future})
    first = _exchange(server, TOKEN, "mine")
    assert first.status_code == 200
    server.kill()
    server.start()
    assert [_exchange(server, TOKEN, key).status_code for key in ("other", None, "", " ")] == [410] * 4
    assert _exchange(server, TOKEN, " mine ").json() == first.json()
    server.stop()
    server.variables = {**ENABLED, "VOX_MESH_BOOTSTRAP_EXPIRES_UNIX_MS": "1"}
    server.start()
    assert _exchange(server, TOKEN, "mine").status_code == 410


def test_without_a_key_nobody_is_recognised(start_server: "StartServer") -> None:
    """Spent without a key it is spent for all; an empty key does not count."""
    server = start_server(ENABLED)
    assert _exchange(server, TOKEN, " ").status_code == 200
    assert [_exchange(server, TOKEN, key).status_code for key in ("", " ", None, "x")] == [410] * 4


def test_a_new_token_is_a_new_chance(start_server: "StartServer") -> None:
    """What was spent stays spent when it is configured again later; another token is good."""
    server = start_server(ENABLED)
    assert _exchange(server, TOKEN).status_code == 200
    for token, status in (("another-one-time-token", 200), (TOKEN, 410)):
        server.stop()
        server.variables = {**ENABLED, "VOX_MESH_BOOTSTRAP_TOKEN": token}
        server.start()
        assert _exchange(server, token).status_code == status


@pytest.mark.parametrize("keyed", ["none", "different", "same"])
def test_of_many_at_once_exactly_one_wins(start_server: "StartServer", keyed: str) -> None:
    """Sixty concurrent exchanges, wrong ones among them: one 200, unless all share one key; then all get the same."""
    server = start_server(ENABLED)
    key = {"none": None, "different": "mine-{}", "same": "ours"}[keyed]

    async def race() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
            bodies: list[dict[str, Any]] = [
                {"bootstrap_token": TOKEN, "idempotency_key": key and key.format(n)} for n in range(40)
            ]
            bodies[::2] = [body | {"bootstrap_token": "wrong"} for body in bodies[::2]]
            return await asyncio.gather(*(client.post(PATH, json=body) for body in bodies))

    statuses = Counter(answer.status_code for answer in asyncio.run(race()))
    winners = 20 if keyed == "same" else 1
    assert statuses == Counter({401: 20, 200: winners, 410: 20 - winners})


def test_no_secret_is_ever_shown(start_server: "StartServer") -> None:
    """Not at the most talkative level, not for refusals and malformed bodies, not in the traceback of a crash."""
    server = start_server(ENABLED, "--verbose")
    _exchange(server, "a-wrong-guess", "the-key")
    _exchange(server, TOKEN, "the-key")
    httpx.post(f"{server.url}{PATH}", json={"bootstrap_token": [TOKEN]})
    httpx.post(f"{server.url}{PATH}?token={TOKEN}", content=f"{{{TOKEN}")
    httpx.get(f"{server.url}/v1/populi/nodes", headers={"authorization": f"Bearer {MESH}"})
    httpx.get(f"{server.url}/v1/populi/nodes", headers={"authorization": "Bearer a-wrong-guess"})
    connection = sqlite3.connect(server.database)
    connection.execute("DROP TABLE spent_bootstrap_token")
    connection.close()
    crash = _exchange(server, TOKEN, "the-key")
    assert (crash.status_code, crash.text) == (500, "internal server error")
    assert server.process
    command_line = Path(f"/proc/{server.process.pid}/cmdline").read_text()
    assert server.stop() == 0
    assert '"status": 200' in server.log()
    assert "Traceback" in server.log()
    for secret in (TOKEN, MESH, "a-wrong-guess", "the-key"):
        assert secret not in server.log() + command_line


def _exchange(server: "Server", token: str, key: str | None = None) -> httpx.Response:
    body = {"bootstrap_token": token} if key is None else {"bootstrap_token": token, "idempotency_key": key}
    return httpx.post(f"{server.url}{PATH}", json=body, timeout=30)
