"""Faults only on request: each does what it says, and every answer still looks like Populi's."""

import signal
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import httpx
import pytest

from preflight.control.faults import FaultError, Faults, parse
from tests.control.conftest import TOKENS

if TYPE_CHECKING:
    from tests.control.conftest import StartServer

JOIN = {"id": "a", "capabilities": {}, "version": "1", "last_seen_unix_ms": 0}


@pytest.mark.parametrize(
    ("names", "faults"),
    [
        ((), Faults()),
        (("throttle",), Faults(throttle=2)),
        (("throttle=5", "hang"), Faults(throttle=5, hang=True)),
        (("clock-skew=-600", "slow=60"), Faults(clock_skew_s=-600, slow_ms=60)),
        (("heartbeat-500", "unhealthy", "scope-open"), Faults(heartbeat_500=True, unhealthy=True, scope_open=True)),
    ],
)
def test_faults_are_read(names: tuple[str, ...], faults: Faults) -> None:
    """Several at once, with numbers where they take one."""
    assert parse(names) == faults


@pytest.mark.parametrize(
    "name", ["", "gremlins", "slow", "slow=", "slow=x", "slow=-1", "hang=1", "clock-skew", "throttle=-1"]
)
def test_unknown_faults_are_refused_with_the_known_ones(name: str) -> None:
    """The sentence lists what there is."""
    with pytest.raises(FaultError, match="clock-skew=SECONDS"):
        parse((name,))


def test_heartbeats_fail_and_joins_do_not(start_server: "StartServer") -> None:
    """heartbeat-500: the rest of the server is well, and it says that it is a drill."""
    server = start_server({}, "--fault", "heartbeat-500")
    with server.client() as client:
        assert client.post("/v1/populi/join", json=JOIN).status_code == 200
        answer = client.post("/v1/populi/heartbeat", json=JOIN)
        assert answer.status_code == 500
        assert answer.headers["x-populi-feature"]
        assert answer.headers["x-request-id"]
    assert "drill" in server.log()


def test_the_first_requests_are_throttled(start_server: "StartServer") -> None:
    """throttle: each route's first ones, with Retry-After, then fine; health stays well."""
    server = start_server({}, "--fault", "throttle=2")
    with server.client() as client:
        joins = [client.post("/v1/populi/join", json=JOIN) for _ in range(3)]
        assert [join.status_code for join in joins] == [429, 429, 200]
        assert joins[0].headers["retry-after"] == "1"
        assert [client.get("/v1/populi/nodes").status_code for _ in range(3)] == [429, 429, 200]
        assert client.get("/health").status_code == 200


def test_it_hangs(start_server: "StartServer") -> None:
    """hang: takes the request and never answers; and stops anyway."""
    server = start_server({}, "--fault", "hang")
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{server.url}/health", timeout=0.5)
    assert server.stop() == 0


def test_it_is_unhealthy(start_server: "StartServer") -> None:
    """unhealthy: 500 on /health, with Populi's headers, and nowhere else."""
    server = start_server({}, "--fault", "unhealthy")
    with server.client() as client:
        answer = client.get("/health")
        assert answer.status_code == 500
        assert answer.headers["x-populi-feature"]
        assert client.get("/v1/populi/nodes").status_code == 200


@pytest.mark.parametrize("seconds", [600, -600])
def test_its_clock_is_off(start_server: "StartServer", seconds: int) -> None:
    """clock-skew: the Date header and every time that the server sets."""
    server = start_server({}, "--fault", f"clock-skew={seconds}")
    with server.client() as client:
        answer = client.post("/v1/populi/join", json=JOIN)
    expected = time.time() + seconds
    assert abs(parsedate_to_datetime(answer.headers["date"]).timestamp() - expected) < 60
    assert abs(answer.json()["last_seen_unix_ms"] / 1000 - expected) < 60
    assert len(answer.headers.get_list("date")) == 1


def test_it_is_slow(start_server: "StartServer") -> None:
    """slow: no answer comes sooner."""
    server = start_server({}, "--fault", "slow=300")
    started = time.monotonic()
    assert httpx.get(f"{server.url}/health").status_code == 200
    assert time.monotonic() - started >= 0.3


def test_it_lets_every_scope_in(start_server: "StartServer") -> None:
    """scope-open: another scope and none are taken."""
    server = start_server({"VOX_MESH_SCOPE_ID": "cluster"}, "--fault", "scope-open")
    with server.client() as client:
        assert client.post("/v1/populi/join", json={**JOIN, "scope_id": "other"}).status_code == 200
        assert client.post("/v1/populi/join", json=JOIN).status_code == 200


def test_a_crash_keeps_what_it_did_not_answer(start_server: "StartServer") -> None:
    """crash: a heartbeat without bearer is answered; a good one kills the server, and is there in its next life."""
    server = start_server({"VOX_MESH_TOKEN": TOKENS["mesh"]}, "--fault", "crash")
    record = {"id": "a", "capabilities": {}, "version": "1", "last_seen_unix_ms": 0}
    with server.client() as stranger, server.client("mesh") as node:
        assert stranger.post("/v1/populi/heartbeat", json=record).status_code == 401
        with pytest.raises(httpx.RemoteProtocolError):
            node.post("/v1/populi/heartbeat", json=record)
    assert server.process
    assert server.process.wait(30) == -signal.SIGKILL
    server.kill()
    server.options = ()
    server.start()
    with server.client("mesh") as node:
        assert [row["id"] for row in node.get("/v1/populi/nodes").json()["nodes"]] == ["a"]
