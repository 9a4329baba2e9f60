"""The relays spoil what they are meant to spoil, and hand everything else on."""

import gzip
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPSConnection, IncompleteRead
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from preflight.lab.blueprint import SCOPE
from preflight.lab.certificates import write_certificates
from preflight.lab.fake_servers import web_server
from preflight.lab.relays import RELAYS, relay_server

LIST, JOIN = "/v1/populi/nodes", "/v1/populi/join"


class Backend(BaseHTTPRequestHandler):
    """Answers 200 to everything with what it was sent, as a control plane does."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer with the body of the request."""
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b'{"nodes": []}'
        self.send_response(200)
        self.send_header("X-Populi-Feature", "exec-lease-v1")
        self.send_header("X-Seen", self.headers.get("Authorization", ""))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET  # noqa: N815 - http.server's name

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[int]:
    """The port of a server while it serves."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.socket.getsockname()[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def relayed(name: str, folder: Path | None = None) -> Iterator[int]:
    """The port of a relay before a backend."""
    with (
        serving(web_server(Backend, "127.0.0.1", 0)) as behind,
        serving(relay_server(name, "127.0.0.1:0", f"127.0.0.1:{behind}", folder)) as port,
    ):
        yield port


@contextmanager
def client(port: int) -> Iterator[HTTPConnection]:
    """A connection to a relay."""
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        yield connection
    finally:
        connection.close()


def get(connection: HTTPConnection) -> bytes:
    """The list of nodes."""
    connection.request("GET", LIST)
    return connection.getresponse().read()


@pytest.mark.parametrize("name", RELAYS)
def test_what_is_not_spoilt_passes(name: str) -> None:
    """Protects the other requests of a run: method, body, bearer and the server's own headers go through."""
    record = json.dumps({"scope_id": SCOPE})
    with relayed(name) as port, client(port) as connection:
        connection.request("POST", JOIN, record, {"Authorization": "Bearer x"})
        response = connection.getresponse()
        body = response.read()
        compressed = response.headers.get("Content-Encoding") == "gzip"
        assert (gzip.decompress(body) if compressed else body).decode() == record
        assert (response.status, response.headers["X-Seen"]) == (200, "Bearer x")
        assert response.headers["X-Populi-Feature"] == "exec-lease-v1"


def test_the_second_request_on_a_connection_is_reset() -> None:
    """Protects the fault of kept-alive connections: a reset and no mere end, and a new connection works again."""
    with relayed("resets") as port:
        for _ in range(2):
            with client(port) as connection:
                get(connection)
                connection.auto_open = 0
                with pytest.raises(ConnectionResetError):
                    get(connection)


def test_the_list_is_cut_inside_a_chunk() -> None:
    """Protects the fault of a cut answer: some bytes come, and fewer than the chunk promises."""
    with relayed("cuts") as port, client(port) as connection:
        with pytest.raises(IncompleteRead) as cut:
            get(connection)
        assert cut.value.partial == b'{"no'


def test_the_list_is_halved() -> None:
    """Protects the fault of a list that is not JSON: the answer is complete HTTP, with a half of a document."""
    with relayed("halves") as port, client(port) as connection:
        assert get(connection) == b'{"node'


def test_a_certificate_is_demanded_after_the_handshake(tmp_path: Path) -> None:
    """Protects the fault of TLS 1.3 client certificates: the client's handshake succeeds, and then comes the alert."""
    write_certificates("good", tmp_path, [tmp_path], "127.0.0.1")
    context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    with relayed("asks-certificate", tmp_path) as port:
        connection = HTTPSConnection("127.0.0.1", port, timeout=5, context=context)
        connection.connect()
        with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
            get(connection)
        connection.close()
