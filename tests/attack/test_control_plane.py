"""The control plane under attack: nobody gets in, nobody is kept out, and nothing grows without bound."""

import base64
import hashlib
import hmac
import json
import re
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from preflight.control.routes import PREFIX, ROUTES
from tests.attack.plane import BEARER, Plane, answered, everything, running, statuses, token
from tests.control.conftest import JWT_SECRET, TOKENS

pytestmark = pytest.mark.xdist_group("attacked control plane")

NODE = {"id": "a", "capabilities": {}, "version": "1", "last_seen_unix_ms": 0}
HEAD = b"HTTP/1.1\r\nHost: x\r\n"
JSON = b"Content-Type: application/json\r\n"
MANY = 300  # more than the process has descriptors


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """One process for all of them: each leaves it as well as it found it."""
    with running(tmp_path_factory.mktemp("plane")) as plane:
        yield plane


@pytest.fixture(autouse=True)
def still_well(plane: Plane) -> Iterator[None]:
    """Whatever was done, the same process answers afterwards, and no exception is in its log."""
    yield
    plane.well()


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
def test_a_crowd_of_connections_keeps_nobody_out(plane: Plane, said: bytes) -> None:
    """With more connections than descriptors a new client gets its answer; half requests are sent home in time."""
    with ExitStack() as stack, plane.client() as node:
        joined = node.post("/v1/populi/join", json=NODE)
        crowd = []
        for _ in range(MANY):
            try:
                crowd.append(stack.enter_context(plane.connect(said)))
            except ConnectionError:  # replaced before it said anything
                continue
            if len(crowd) % 100 == 0:
                assert plane.healthy()
        assert joined.status_code == node.post("/v1/populi/heartbeat", json=NODE).status_code == 200
        for connection in crowd if said and not said.endswith(b"\r\n\r\n") else ():
            assert set(statuses(everything(connection))) <= {400, 401, 408}
    assert not [line for line in plane.log() if line["event"] == "no connection can be accepted now"]


@pytest.mark.parametrize(
    "said", [b"", b"\r\n", b"GET /health " + HEAD + b"\r\n"], ids=["nothing", "a blank line", "a request"]
)
def test_who_says_nothing_is_sent_home(tmp_path: Path, said: bytes) -> None:
    """Before the first request as after it."""
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
    """Who asks and asks and reads nothing is cut off, and holds no more than a connection's buffers."""
    with plane.client() as node:
        for number in range(40):
            record = {**NODE, "id": f"large-{number}", "x": "x" * 60_000}
            assert node.post("/v1/populi/join", json=record).status_code == 200
        before = plane.resident_mib()
        cut = 'populi_http_connections_cut_total{because="answer not taken"}'
        counted = plane.counted(cut)
        with ExitStack() as stack:
            for _ in range(120):
                stack.enter_context(plane.connect((b"GET /v1/populi/nodes " + HEAD + BEARER + b"\r\n") * 5))
            while plane.counted(cut) < counted + 120:
                assert plane.resident_mib() - before < 200  # 120 lists of 2.4 MB would be 280 MiB
                assert plane.healthy()
        for number in range(40):
            assert node.post("/v1/populi/leave", json={"id": f"large-{number}"}).status_code == 204


def test_thousands_of_requests_at_once_are_answered_one_after_another(plane: Plane) -> None:
    """Pipelined, while others are served as ever."""
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
        crowd = [stack.enter_context(secure.connect(said)) for _ in range(MANY)]
        assert httpx.get(f"{secure.url}/health", verify=context, timeout=10).text == "ok\n"
        for connection in crowd:
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


# Requests

SECOND = b"GET /v1/populi/nodes " + HEAD + BEARER + b"\r\n"


def _post(headers: bytes, body: bytes) -> bytes:
    return b"POST /v1/populi/leave " + HEAD + JSON + headers + b"\r\n" + body


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(_post(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"), id="CL and TE"),
        pytest.param(_post(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"0\r\n\r\n"), id="TE and CL"),
        pytest.param(_post(b"Content-Length: 0\r\nContent-Length: 99\r\n", b""), id="two lengths"),
        pytest.param(_post(b"Content-Length: 0, 99\r\n", b""), id="a list of lengths"),
        pytest.param(_post(b"Content-Length: +0\r\n", b""), id="signed length"),
        pytest.param(_post(b"Content-Length: 0x0\r\n", b""), id="hexadecimal length"),
        pytest.param(_post(b"Content-Length : 0\r\n", b""), id="blank before the colon"),
        pytest.param(_post(b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n"), id="codings"),
        pytest.param(_post(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"), id="unknown coding"),
        pytest.param(_post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", b"0\r\n\r\n"), id="two codings"),
        pytest.param(_post(BEARER + b"Transfer-Encoding: chunked\r\n", b"-1\r\n\r\n"), id="negative chunk"),
        pytest.param(_post(BEARER + b"Transfer-Encoding: chunked\r\n", b"f" * 30 + b"\r\n"), id="endless chunk"),
        pytest.param(_post(BEARER + b"Transfer-Encoding: chunked\r\n", b"2\r\n{}XX0\r\n\r\n"), id="chunk overrun"),
        pytest.param(_post(b"X: a\rContent-Length: 0\r\n", b""), id="bare carriage return"),
        pytest.param(_post(b"X: a\x00b\r\n", b""), id="NUL in a header"),
        pytest.param(b"GET /health HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", id="two hosts"),
        pytest.param(b"GET /health HTTP/1.1\r\n\r\n", id="no host"),
        pytest.param(b"GET /hea\x00lth " + HEAD + b"\r\n", id="NUL in the target"),
        pytest.param(b"GET /hea\xfflth " + HEAD + b"\r\n", id="no ASCII in the target"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP 2"),
        pytest.param(b"GET /health " + HEAD + b"x: " + b"y" * 2_000_000 + b"\r\n\r\n", id="a header of 2 MB"),
        pytest.param(b"GET /health " + HEAD + b"x: y\r\n" * 400_000 + b"\r\n", id="400 000 headers"),
    ],
)
def test_nothing_is_smuggled(plane: Plane, request_: bytes) -> None:
    """A request that could be read in two ways is refused and the connection closed: what follows is not a request."""
    assert set(statuses(plane.talk(request_ + SECOND))) <= {400, 401, 431}
    assert b"schema_version" not in plane.talk(request_ + SECOND)


def test_bytes_that_are_no_http_get_the_headers_of_every_answer(plane: Plane) -> None:
    """400 in plain text with a request id, the features and the server's clock."""
    answer = plane.talk(b"nonsense\r\n\r\n").decode("ascii").lower()
    assert answer.startswith("http/1.1 400 ")
    for header in ("x-request-id: ", "x-populi-feature: ", "date: ", "connection: close", "content-type: text/plain"):
        assert f"\r\n{header}" in answer


NODES = "/v1/populi/nodes"


@pytest.mark.parametrize(
    "target",
    [
        *(NODES, NODES + "/", "/" + NODES, NODES.upper(), NODES.replace("n", "%6e"), NODES.replace("/", "%2f")),
        *(f"/health/..{NODES}", f"/health%2f..{NODES}", f"/health;{NODES}", f"{NODES};/health", f"{NODES}?/health"),
        *("//health", "/health/", "/Health", "/health%00", "/health%3fx", "/health%23", "/%68ealth", "/health;x"),
        *(f"http://x{NODES}", "http://x/health", f"{NODES}%0d%0aAuthorization:%20Bearer%20x", "*", "/", "/."),
        *(
            "/v1/populi/bootstrap/exchange",
            "/v1/populi/bootstrap/exchange/..%2f..%2fnodes",
            "/openapi.json",
            "/metrics",
        ),
    ],
)
@pytest.mark.parametrize("host", ["x", "x/health?", "x/health#", "@/health"])
def test_no_spelling_of_a_path_gets_round_the_bearer(plane: Plane, target: str, host: str) -> None:
    """What is not exactly an open route needs a bearer, whatever the Host header adds to it."""
    answer = plane.talk(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    assert statuses(answer) in ([400], [401])


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "CONNECT", "PATCH", "DELETE", "PUT", "HEAD", "get", "G" * 200])
@pytest.mark.parametrize(("bearer", "expected"), [(b"", {400, 401}), (BEARER, {200, 400, 404, 405})])
def test_no_method_is_let_in_by_another_name(plane: Plane, method: str, bearer: bytes, expected: set[int]) -> None:
    """Without a bearer none is judged at all; with one, HEAD reads and the rest is refused, echoing nothing."""
    override = b"X-HTTP-Method-Override: GET\r\nX-Original-URL: /health\r\nX-Secret: repeat-me\r\n"
    answer = plane.talk(f"{method} {NODES} ".encode() + HEAD + override + bearer + b"Connection: close\r\n\r\n")
    assert set(statuses(answer)) <= expected
    assert (200 in statuses(answer)) == (method == "HEAD" and bool(bearer))
    assert b"repeat-me" not in answer


@pytest.mark.parametrize("path", ["/v1/populi/admin/quarantine", "/v1/populi/exec/leases"])
def test_an_override_makes_no_role_stronger(plane: Plane, path: str) -> None:
    """A worker stays one, whatever its headers say."""
    claims = {"x-http-method-override": "GET", "x-original-url": NODES, "x-role": "admin", "x-forwarded-user": "admin"}
    with plane.client("worker") as worker:
        body = {"node_id": "a", "quarantined": True}
        answer = worker.post(path, json=body, headers=claims) if "admin" in path else worker.get(path, headers=claims)
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "lines",
    [
        "Authorization: Bearer wrong\r\nAuthorization: Bearer {token}",
        "Authorization: Bearer {token}\r\nAuthorization: Bearer wrong",
        "Authorization: Bearer {token}\r\nAuthorization: Bearer {token}",
        "Authorization: bearer {token}",
        "Authorization: BEARER {token}",
        "Authorization:\tBearer\t{token}",
        "Authorization: Bearer{token}",
        "Authorization: Bearer {token}, Bearer x",
        "Authorization: Bearer {token} x",
        "Authorization: Basic {token}",
        "Authorization: {token}",
        "Proxy-Authorization: Bearer {token}",
        "X-Authorization: Bearer {token}",
        "Cookie: authorization={token}",
        "Authorization: Bearer \r\n {token} x",
        "Authorization: Bearer {token}\xff",
        "Authorization: Bearer " + "x" * 12_000,
    ],
)
def test_no_spelling_of_a_bearer_but_one(plane: Plane, lines: str) -> None:
    """One Authorization header, one scheme, one credential."""
    header = lines.format(token=TOKENS["mesh"]).encode("latin-1") + b"\r\n"
    answer = plane.talk(b"GET /v1/populi/nodes " + HEAD + header + b"Connection: close\r\n\r\n")
    assert statuses(answer) == [401]


@pytest.mark.parametrize(
    "sent",
    [b"x" * 129, b"a b", b"a\tb", b"\xff", b"\x1b[2J", b"x\r\n set-cookie: y", b"", b"x" * 12_000],
    ids=["long", "blank", "tab", "no ASCII", "terminal", "folded", "empty", "very long"],
)
def test_only_a_plain_request_id_comes_back(plane: Plane, sent: bytes) -> None:
    """Printable and short; anything else is replaced by an id of the server's own."""
    answer = plane.talk(b"GET /health " + HEAD + b"X-Request-Id: " + sent + b"\r\nConnection: close\r\n\r\n")
    (given,) = re.findall(rb"\r\nx-request-id: (.*?)\r\n", answer) or [b""]
    assert re.fullmatch(rb"[0-9a-f-]{36}", given) or statuses(answer) == [400]
    assert b"set-cookie" not in answer


def test_no_line_of_the_log_is_forged(plane: Plane) -> None:
    """Line ends, quotes and escapes of a client stay inside the string that they were sent in."""
    forged = 'x"}\n{"event": "forged", "level": "info"}\r\n\x1b[2J\x9b2J\u2028'
    with plane.client() as node:
        assert node.post("/v1/populi/join", json={**NODE, "id": forged}).status_code == 200
        assert node.post("/v1/populi/leave", json={"id": forged}).status_code == 204
        node.get("/%0d%0a%7b%22event%22:%22forged%22%7d%1b[2J", headers={"x-request-id": '"}{"event":"forged"}'})
    assert not [line for line in plane.log() if line["event"] == "forged"]
    assert not re.search(r"[^\n -~]", plane.log_file.read_text())


def test_strangers_make_no_series(plane: Plane) -> None:
    """Paths and methods of their own are counted as other."""
    for number in range(50):
        plane.talk(b"M%d /made-up-%d " % (number, number) + HEAD + b"Connection: close\r\n\r\n")
    series = httpx.get(plane.metrics_url()).text
    assert "made-up" not in series
    assert "M7" not in series


# What stands in bodies

RECORD_FIELDS = {"listen_addr": "x", "pool_id": "x", "capabilities": {"labels": ["x"]}, "maintenance_until_unix_ms": 1}
BODIES: dict[str, dict[str, Any]] = {
    "/join": {**NODE, **RECORD_FIELDS, "gpu_total_count": 1, "unknown": "x"},
    "/heartbeat": {**NODE, **RECORD_FIELDS, "gpu_total_count": 1, "unknown": 1},
    "/leave": {"id": "nobody"},
    "/bootstrap/exchange": {"bootstrap_token": "x", "idempotency_key": "x"},
    "/a2a/deliver": {
        **{"sender_agent_id": "1", "receiver_agent_id": "2", "message_type": "x", "payload": "x", "priority": 1},
        **{"idempotency_key": "x", "privacy_class": "x", "task_kind": "x", "traceparent": "x"},
    },
    "/a2a/inbox": {"receiver_agent_id": "2", "claimer_node_id": "a", "max_messages": 1, "before_message_id": 1},
    "/a2a/ack": {"receiver_agent_id": "2", "message_id": 1},
    "/a2a/lease-renew": {"receiver_agent_id": "2", "message_id": 1, "claimer_node_id": "a"},
    "/exec/lease/grant": {"claimer_node_id": "a", "scope_key": "x"},
    "/exec/lease/renew": {"lease_id": "1", "claimer_node_id": "a"},
    "/exec/lease/release": {"lease_id": "1", "claimer_node_id": "a"},
    "/admin/quarantine": {"node_id": "nobody", "quarantined": True},
    "/admin/maintenance": {
        **{"node_id": "nobody", "maintenance": True},
        **{"maintenance_until_unix_ms": 1, "maintenance_for_ms": 1},
    },
    "/admin/exec-lease/revoke": {"lease_id": "1"},
}
HOSTILE = [
    *(r'"\ud800"', r'"\udfff x"', r'"a\u0000b"', '"\\u0000"', '""', '" "', '"x\\r\\ny\\u001b[2J"', '"\u202e\ufeff"'),
    *(json.dumps(text) for text in ("x" * 500_000, "9" * 500_000, "9" * 18, "-1", "0", "1e3", "٣")),
    *(str(number) for number in (2**63 - 1, 2**63, 2**64 - 1, 2**64, -1, -(2**63) - 1, 2**1000, 0)),
    *("1e400", "-1e400", "1.5", "1e18", "1E+19", "9" * 4300, "9" * 5000, "0." + "0" * 5000 + "1", "NaN", "Infinity"),
    *("true", "null", "[]", "{}", "[" * 50_000, '{"a":' * 190 + "1" + "}" * 190, '[["\\ud800"]]'),
]


@pytest.mark.parametrize("path", BODIES)
def test_no_value_in_any_field_breaks_anything(plane: Plane, path: str) -> None:
    """Halves of characters, NUL, half a megabyte, numbers beyond every integer: kept or refused, never a 5xx."""
    body = BODIES[path]
    with plane.client() as node:
        for name in body:
            for value in HOSTILE:
                whole = json.dumps({**body, name: "HERE"}).replace('"HERE"', value).encode()
                answer = node.post(PREFIX + path, content=whole, headers={"content-type": "application/json"})
                assert answer.status_code < 500, (name, value[:60], answer.text)
                assert len(answer.text) < 200_000
        assert node.get(NODES).json()["nodes"] is not None
        node.post("/v1/populi/leave", json={"id": "a"})
        for listed in node.get(NODES).json()["nodes"]:
            assert node.post("/v1/populi/leave", json={"id": listed["id"]}).status_code == 204


def test_every_route_with_a_body_is_attacked() -> None:
    """The table above is whole."""
    assert {route.path.removeprefix(PREFIX) for route in ROUTES if route.takes} == BODIES.keys()


@pytest.mark.parametrize("path", ["/join", "/heartbeat"])
def test_a_record_does_not_grow_without_bound(plane: Plane, path: str) -> None:
    """Sixty heartbeats with half a megabyte each, and sixty with a new field each: 413, and the record is as before."""
    with plane.client() as node:
        assert node.post("/v1/populi/join", json={**NODE, "id": "grows"}).status_code == 200
        for number in range(60):
            large = {**NODE, "id": "grows", f"field-{number}": "x" * 450_000}
            assert node.post(PREFIX + path, json=large).status_code == 413
            small = {**NODE, "id": "grows", f"field-{number}": "x" * 4_000}
            assert node.post(PREFIX + path, json=small).status_code in {200, 413}
        assert len(node.get(NODES).content) < 70_000
        assert node.post("/v1/populi/leave", json={"id": "grows"}).status_code == 204


def test_a_body_of_a_stranger_has_a_cap_of_its_own(plane: Plane) -> None:
    """The exchange's credential is in its body, so it is read before anything is known: up to 8 KiB."""
    with plane.client(None) as stranger:
        for size, expected in ((8_000, 404), (9_000, 413)):
            body = {"bootstrap_token": "x" * size}
            assert stranger.post("/v1/populi/bootstrap/exchange", json=body).status_code == expected


def test_a_key_is_its_sender_s(plane: Plane) -> None:
    """Another sender's message under the same idempotency key is one of its own; the same sender's is the same."""
    message = {"receiver_agent_id": "77", "message_type": "n", "payload": "", "idempotency_key": "k"}
    with plane.client() as node:
        ids = [
            node.post("/v1/populi/a2a/deliver", json={**message, "sender_agent_id": sender}).json()["message_id"]
            for sender in ("1", "2", "1", " 1 ", "01")
        ]
    assert ids[0] == ids[2] == ids[3]
    assert len(set(ids)) == 3


# Bearers that are JWTs


def _signed(header: str, payload: str) -> str:
    """Whatever it says, signed with the server's secret."""
    parts = [base64.urlsafe_b64encode(part.encode()).rstrip(b"=") for part in (header, payload)]
    signature = hmac.digest(JWT_SECRET.encode(), b".".join(parts), hashlib.sha256)
    return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


HS256 = '{"alg":"HS256"}'
FAR = 4_102_444_800  # the year 2100


@pytest.mark.parametrize(
    ("header", "payload"),
    [
        *((HS256, f'{{"role":"worker","jti":{jti},"exp":{FAR}}}') for jti in (
            r'"\ud800"', r'"a\udfff"', '""', '" "', "5", "null", "[]", '"' + "x" * 513 + '"', '"' + "x" * 30_000 + '"'
        )),
        *((HS256, f'{{"role":"worker","jti":"j","exp":{exp}}}') for exp in (
            "1e400", "-1", f'"{FAR}"', "true", "null", f"{FAR}.5", "0", "-" + "9" * 400, "9" * 5000, "[]", "NaN"
        )),
        *((HS256, f'{{"role":{role},"jti":"j","exp":{FAR}}}') for role in (
            r'"\ud800"', '"root"', "5", "null", '["admin"]', '"admin\\u0000"', '"Admin Worker"'
        )),
        (HS256, f'{{"role":"admin","jti":"j","exp":{FAR},"nbf":{"9" * 400}}}'),
        (HS256, f'{{"role":"admin","jti":"j","exp":{FAR},"nbf":"x"}}'),
        (HS256, f'{{"role":"admin","jti":"j","exp":{FAR},"aud":"another"}}'),
        (HS256, "[" * 5_000),
        (HS256, '"text"'),
        ("[]", f'{{"role":"admin","jti":"j","exp":{FAR}}}'),
        *((f'{{"alg":{alg}}}', f'{{"role":"admin","jti":"j","exp":{FAR}}}') for alg in (
            '"none"', '"None"', '"HS384"', '"HS512"', '"RS256"', '"ES256"', '"hs256"', "null", "5", "[]", '"\\ud800"'
        )),
        ('{"alg":"HS256","crit":["exp"]}', f'{{"role":"admin","jti":"j","exp":{FAR}}}'),
        ('{"alg":"HS256","crit":[]}', f'{{"role":"admin","jti":"j","exp":{FAR}}}'),
        ('{"alg":"HS256","b64":false}', f'{{"role":"admin","jti":"j","exp":{FAR}}}'),
        ('{"alg":"HS256","kid":"../../etc/passwd","crit":["b64"]}', f'{{"role":"admin","jti":"j","exp":{FAR}}}'),
    ],
    ids=lambda text: str(text)[:48],
)  # fmt: skip
def test_an_unsound_jwt_opens_nothing(plane: Plane, header: str, payload: str) -> None:
    """Signed with the right secret or not: 401, never an exception."""
    answer = httpx.get(plane.url + NODES, headers={"authorization": f"Bearer {_signed(header, payload)}"})
    assert (answer.status_code, answer.text) == (401, "unauthorized")


@pytest.mark.parametrize("cut", [1, 10, 100])
def test_a_jwt_without_its_signature_opens_nothing(plane: Plane, cut: int) -> None:
    """Or with a part of it."""
    answer = httpx.get(plane.url + NODES, headers={"authorization": f"Bearer {token()[:-cut]}"})
    assert answer.status_code == 401


def test_a_jwt_is_used_once_whatever_clocks_and_processes_do(tmp_path: Path) -> None:
    """The clock jumps ahead by a year and back, with `kill -9` in between: the second use is 401."""
    once = token()

    def used(url: str, bearer: str) -> int:
        return httpx.get(url + NODES, headers={"authorization": f"Bearer {bearer}"}).status_code

    year_s = 365 * 24 * 3600
    with running(tmp_path) as now:
        assert [used(now.url, once) for _ in range(2)] == [200, 401]
    with running(tmp_path, skew_s=year_s) as later:
        assert used(later.url, once) == 401
        assert [used(later.url, token(exp=int(time.time()) + year_s + 300)) for _ in range(3)] == [200] * 3
    with running(tmp_path) as back:
        assert [used(back.url, once), used(back.url, token())] == [401, 200]
