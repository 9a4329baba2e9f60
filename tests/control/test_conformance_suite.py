"""The conformance suite itself, pointed at a server by `--base-url`: a good one, ours, and one that differs."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from tests.control.conftest import run_suite

if TYPE_CHECKING:
    from tests.control.conftest import StartServer


class Bare(BaseHTTPRequestHandler):
    """Protects everything and adds no header, not even where the contract requires one."""

    def do_GET(self) -> None:
        """401, whatever it is."""
        self.send_response(401)
        self.send_header("content-type", "text/plain")
        self.send_header("content-length", "12")
        self.end_headers()
        self.wfile.write(b"unauthorized")

    def do_PUT(self) -> None:
        """The same."""
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Silence."""


@pytest.fixture
def bare() -> Iterator[str]:
    """URL of the server that differs."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Bare) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_it_runs_against_a_server_by_its_url(start_server: "StartServer") -> None:
    """Ours, tested as a foreign server: nothing fails, what ours does better is XPASS, and no node is left."""
    server = start_server()
    code, counts, output = run_suite(server.url, "conformance_registry or even_a_refusal")
    assert code == 0, output
    assert counts["xpassed"] == 2
    assert "failed" not in counts
    with server.client("mesh") as client:
        assert client.get("/v1/populi/nodes").json()["nodes"] == []


def test_it_tells_intended_differences_from_breaches(bare: str) -> None:
    """No headers on a refusal is an intended difference and XFAIL; no bearer that opens anything is a failure."""
    code, counts, output = run_suite(bare, "even_a_refusal")
    assert (code, counts.get("xfailed"), counts.get("failed")) == (0, 1, None)
    assert "an intended difference: ours is better" in output
    code, counts, _ = run_suite(bare, "test_a_role_may_read_or_not")
    assert code == 1
    assert counts["failed"] == 8
