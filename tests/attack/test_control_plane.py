"""Connections to the control plane: many of them keep nobody out, and nobody holds one for long."""

import json
import signal
import socket
import ssl
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
import trustme

from tests.attack import plane_under_attack
from tests.attack.plane import BEARER, Plane, answered, everything, running, statuses
from tests.attack.plane_under_attack import HEAD, JSON, NODE

pytestmark = pytest.mark.xdist_group("attacked control plane")
plane = plane_under_attack.plane
still_well = plane_under_attack.still_well


MANY = 300  # more than the process has descriptors


# Connections


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"GET /health " + HEAD, id="half headers"),
        pytest.param(b"GET /" + b"x" * 15_000, id="a target without end"),
        pytest.param(
            b"POST /v1/populi/join " + HEAD + JSON + b"Content-Length: 500000\r\n\r\n{", id="half a body, no bearer"
        ),
        pytest.param(
            b"POST /v1/populi/join " + HEAD + JSON + BEARER + b"Content-Length: 500000\r\n\r\n{", id="half a body"
        ),
        pytest.param(b"GET /health " + HEAD + b"\r\n", id="one request, then nothing"),
    ],
)
def test_many_connections_keep_nobody_out(plane: Plane, said: bytes) -> None:
    """With more connections than descriptors a new client gets its answer; half requests are sent home in time."""
    with ExitStack() as stack, plane.client() as node:
        joined = node.post("/v1/populi/join", json=NODE)
        connections = []
        for _ in range(MANY):
            try:
                connections.append(stack.enter_context(plane.connect(said)))
            except ConnectionError:  # replaced before it said anything
                continue
            if len(connections) % 100 == 0:
                assert plane.healthy()
        assert joined.status_code == node.post("/v1/populi/heartbeat", json=NODE).status_code == 200
        for connection in connections if said and not said.endswith(b"\r\n\r\n") else ():
            assert set(statuses(everything(connection))) <= {400, 401, 408}
    assert not [line for line in plane.log() if line["event"] == "no connection can be accepted now"]


@pytest.mark.parametrize(
    "said", [b"", b"\r\n", b"GET /health " + HEAD + b"\r\n"], ids=["nothing", "a blank line", "a request"]
)
def test_who_says_nothing_is_sent_home(tmp_path: Path, said: bytes) -> None:
    """Before the first request and after it."""
    with running(tmp_path, patience={"idle_s": 0.5, "headers_s": 0.5}) as plane, plane.connect(said) as connection:
        assert set(statuses(everything(connection))) <= {200, 400}


def test_a_node_s_own_connection_is_not_taken_for_strangers(plane: Plane) -> None:
    """Connections that a bearer proved stay, while strangers by the hundred come and make room for each other."""
    with ExitStack() as stack:
        nodes = [stack.enter_context(plane.connect()) for _ in range(50)]
        ask = b"GET /v1/populi/nodes " + HEAD + BEARER + b"\r\n"
        assert {answered(connection, ask) for connection in nodes} == {200}
        for _ in range(MANY):
            stack.enter_context(plane.connect())
        assert {answered(connection, ask) for connection in nodes} == {200}


@pytest.mark.parametrize(
    ("begun", "drop", "answers"),
    [
        pytest.param(b"GET /health " + HEAD, b"x: y\r\n", {408}, id="headers"),
        pytest.param(
            b"POST /v1/populi/join " + HEAD + JSON + BEARER + b"Content-Length: 9999\r\n\r\n", b" ", {408}, id="body"
        ),
        pytest.param(
            b"POST /v1/populi/bootstrap/exchange " + HEAD + JSON + b"Transfer-Encoding: chunked\r\n\r\n",
            b"1\r\n \r\n",
            {408},
            id="body with the credential in it",
        ),
        pytest.param(
            b"POST /v1/populi/join " + HEAD + JSON + b"Content-Length: 9999\r\n\r\n", b" ", {401}, id="refused body"
        ),
    ],
)
def test_a_drip_moves_no_deadline(plane: Plane, begun: bytes, drop: bytes, answers: set[int]) -> None:
    """A byte now and then: the time is for the whole of it, and then the connection is closed."""
    with plane.connect(begun) as connection:
        dripping = threading.Thread(target=_drip, args=(connection, drop))
        dripping.start()
        answer = everything(connection)
        dripping.join()
    assert set(statuses(answer)) == answers


def _drip(connection: socket.socket, drop: bytes) -> None:
    """Until the other side hangs up."""
    try:
        while True:
            connection.sendall(drop)
            time.sleep(0.05)
    except OSError:
        pass


def test_bodies_of_strangers_are_not_kept(plane: Plane) -> None:
    """Two hundred bodies of half a megabyte without a bearer take a fraction of that, and small ones are read only
    where the credential is in them."""
    before = plane.resident_mib()
    with ExitStack() as stack:
        for number in range(200):
            path = b"/v1/populi/bootstrap/exchange " if number % 2 else b"/v1/populi/join "
            with_body = b"POST " + path + HEAD + JSON + b"Content-Length: 600000\r\n\r\n" + b" " * 500_000
            connection = stack.enter_context(plane.connect())
            connection.settimeout(0.05)
            try:
                connection.sendall(with_body)
            except OSError:  # it does not read on, or hung up
                continue
        assert plane.resident_mib() - before < 40


def test_an_answer_that_is_not_taken_is_not_kept(plane: Plane) -> None:
    """A client that asks and asks and reads nothing is cut off, and holds no more than a connection's buffers."""
    with plane.client() as node:
        for number in range(40):
            record = {**NODE, "id": f"large-{number}", "x": "x" * 60_000}
            assert node.post("/v1/populi/join", json=record).status_code == 200
        before = plane.resident_mib()
        cut = 'populi_http_connections_cut_total{because="answer not taken"}'
        counted = plane.counted(cut)
        with ExitStack() as stack:
            asked = (b"GET /v1/populi/nodes " + HEAD + BEARER + b"\r\n") * 5
            asking = [stack.enter_context(plane.connect(asked, receive_buffer=65_536)) for _ in range(120)]
            while plane.counted(cut) < counted + 120:
                for connection in asking:  # some get a small answer at first: too many large requests at once
                    with suppress(OSError):
                        connection.sendall(asked)
                # All that is asked for would be 1.4 GB. The budget is 128 MiB, and a list counts only when it is made.
                assert plane.resident_mib() - before < 400
                assert plane.healthy()
        for number in range(40):
            assert node.post("/v1/populi/leave", json={"id": f"large-{number}"}).status_code == 204


def test_thousands_of_requests_at_once_are_answered_one_after_another(plane: Plane) -> None:
    """Pipelined, while others are served as usual."""
    requests = (b"GET /health " + HEAD + b"\r\n") * 1_000
    with plane.connect() as connection:
        sender = threading.Thread(target=connection.sendall, args=(requests,))
        sender.start()
        assert plane.healthy()
        answer = b""
        while answer.count(b"HTTP/1.1 200") < 1_000:
            answer += connection.recv(1 << 20)
        sender.join()
    assert set(statuses(answer)) == {200}


def test_the_metrics_address_is_guarded_as_well(plane: Plane) -> None:
    """Half requests there cost the API nothing, and the metrics are still served."""
    url = httpx.URL(plane.metrics_url())
    with ExitStack() as stack:
        for _ in range(MANY):
            connection = stack.enter_context(socket.create_connection((url.host, url.port or 0), timeout=10))
            connection.sendall(b"GET /metrics HTTP/1.1\r\n")
        assert plane.healthy()
        assert plane.counted("populi_http_connections") > 0


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, tuple[Path, Path]]:
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "chain.pem")
    return authority, (folder / "chain.pem", folder / "key.pem")


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"], ids=["silent", "half a hello"])
def test_half_a_tls_handshake_keeps_nobody_out(
    tmp_path: Path, chain: tuple[trustme.CA, tuple[Path, Path]], said: bytes
) -> None:
    """Unfinished handshakes have a place and a deadline like every connection."""
    authority, files = chain
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with running(tmp_path, tls=files) as secure, ExitStack() as stack:
        connections = [stack.enter_context(secure.connect(said)) for _ in range(MANY)]
        assert httpx.get(f"{secure.url}/health", verify=context, timeout=10).text == "ok\n"
        for connection in connections:
            everything(connection)
        assert httpx.get(f"{secure.url}/health", verify=context, timeout=10).text == "ok\n"
        assert not [line for line in secure.log() if "exception" in line]


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_a_stop_finishes_what_was_begun(tmp_path: Path, number: signal.Signals) -> None:
    """A closed terminal ends the server as SIGTERM does: a request under way is answered, half ones do not hold it."""
    body = json.dumps(NODE).encode()
    head = b"POST /v1/populi/join " + HEAD + JSON + BEARER + b"Expect: 100-continue\r\n"
    with running(tmp_path) as stopped, ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(stopped.connect(b"GET /health " + HEAD))
        connection = stack.enter_context(stopped.connect(head + b"Content-Length: %d\r\n\r\n" % len(body)))
        assert statuses(connection.recv(4096)) == [100]
        stopped.process.send_signal(number)
        connection.sendall(body)
        assert statuses(everything(connection)) == [200]
        assert stopped.process.wait(timeout=10) == 0
