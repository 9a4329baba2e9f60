"""Random bytes at the socket: answered with 4xx or dropped, counted, and nobody else notices."""

import random
import re
import socket
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from tests.control.conftest import Server, StartServer

VALID = (
    b"POST /v1/populi/join HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer mesh-token-of-the-tests\r\n"
    b"Content-Type: application/json\r\nContent-Length: 65\r\n\r\n"
    b'{"id":"a","capabilities":{},"version":"1","last_seen_unix_ms":0}\n'
)
ODDITIES = [
    b"",
    b"\r\n\r\n",
    b"GET\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS hello
    b"GET /health HTTP/9.9\r\n\r\n",
    b"GET /health HTTP/1.1\r\n\r\n",  # no Host
    b"GET /%ff%00 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"x: y\r\n" * 20_000 + b"\r\n",
    b"GET /health HTTP/1.1\r\nHost: x\r\nx-request-id: \xff\x80\r\n\r\n",
    b"GET /v1/populi/nodes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n\r\n",
    VALID.replace(b"Content-Length: 65", b"Content-Length: -1"),
    VALID.replace(b"Content-Length: 65", b"Content-Length: 99999999999999999999"),
    VALID.replace(b"Content-Length: 65", b"Content-Length: 65\r\nContent-Length: 66"),
    VALID.replace(b"Content-Length: 65", b"Transfer-Encoding: chunked\r\nContent-Length: 65"),
    VALID.replace(b"Content-Length: 65", b"Transfer-Encoding: chunked").replace(b"{", b"zz\r\n{"),
    VALID.replace(b"Content-Length: 65", b"Upgrade: websocket\r\nConnection: upgrade"),
    VALID[:-20],
]


@pytest.fixture
def server(start_server: "StartServer") -> "Server":
    return start_server({"VOX_MESH_TOKEN": "mesh-token-of-the-tests"}, "--metrics-bind", "127.0.0.1:0")


def mutations(dice: random.Random, count: int) -> list[bytes]:
    """Valid requests with bytes flipped, cut out and put in, and pure noise."""
    made = []
    for _ in range(count):
        data = bytearray(VALID if dice.random() < 0.9 else dice.randbytes(dice.randrange(400)))
        for _ in range(dice.randrange(1, 12)):
            at = dice.randrange(len(data) + 1)
            data[at : at + dice.randrange(3)] = dice.randbytes(dice.randrange(3))
        made.append(bytes(data))
    return made


def talk(server: "Server", data: bytes) -> bytes:
    """What comes back until the server closes or has nothing more to say."""
    url = httpx.URL(server.url)
    answer = b""
    with socket.create_connection((url.host, url.port or 0), timeout=10) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while chunk := connection.recv(65536):
                answer += chunk
        except ConnectionError:  # it hung up on us, which is its right
            pass
    return answer


def test_noise_is_refused_and_counted(server: "Server") -> None:
    """No 5xx, no traceback, the same process, and a number in the metrics."""
    for data in [*ODDITIES, *mutations(random.Random(7), 600)]:
        statuses = [int(status) for status in re.findall(rb"^HTTP/1\.[01] (\d{3})", talk(server, data), re.MULTILINE)]
        assert all(status < 500 for status in statuses), data
    assert server.process
    assert server.process.poll() is None
    assert httpx.get(f"{server.url}/health").text == "ok\n"
    assert "Traceback" not in server.log()
    assert "exception" not in server.log()
    malformed = re.search(r"^populi_http_malformed_total (\S+)", server.metrics(), re.MULTILINE)
    assert malformed
    assert float(malformed[1]) > 100
    assert server.stop() == 0


def test_those_who_dawdle_keep_nobody_waiting(server: "Server") -> None:
    """A hundred connections with half a request each; others are served, and the server stops when asked to."""
    url = httpx.URL(server.url)
    connections = [socket.create_connection((url.host, url.port or 0), timeout=10) for _ in range(100)]
    try:
        for number, connection in enumerate(connections):
            connection.sendall(VALID[: -1 - number])
        assert httpx.get(f"{server.url}/health").text == "ok\n"
        assert server.stop() == 0
    finally:
        for connection in connections:
            connection.close()
