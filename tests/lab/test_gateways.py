"""nginx, Caddy and HAProxy in a lab: each does with requests what a front says, in its own words."""

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from preflight.lab.caddy import CADDY
from preflight.lab.certificates import write_certificates
from preflight.lab.fake_servers import web_server
from preflight.lab.front import Act, Front, Route, Sites, Stand
from preflight.lab.gateways import Gateway, Running
from preflight.lab.haproxy import HAPROXY
from preflight.lab.nginx import NGINX
from preflight.lab.processes import all_pids, end, mark_of
from preflight.lab.site import free_port
from preflight.model.control import HttpAnswer
from preflight.proto.control.gateways import page_for_people, server_name

pytestmark = [
    pytest.mark.needs("nginx", "caddy", "haproxy"),
    pytest.mark.parametrize("gateway", [NGINX, CADDY, HAPROXY], ids=lambda gateway: gateway.program),
]
NAMES = {"nginx": "nginx", "caddy": "Caddy", "haproxy": "HAProxy"}
Asked = Callable[..., HttpAnswer]


class Backend(BaseHTTPRequestHandler):
    """Says what it was asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        said = {"path": self.path, "bearer": self.headers.get("Authorization"), "bytes": len(body)}
        text = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_POST = do_GET  # noqa: N815 - http.server's names

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def backend() -> Iterator[str]:
    server = web_server(Backend, "127.0.0.1", 0)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a gateway resets what it kept open
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.socket.getsockname()[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@contextmanager
def standing(gateway: Gateway, front: Front, folder: Path, backend: str, *, secure: bool = False) -> Iterator[Asked]:
    """A gateway that serves; what is given asks it and returns its answer."""
    port, mark = free_port("127.0.0.1", socket.SOCK_STREAM), str(folder / "front")
    stand = Stand("127.0.0.1", port, backend, folder, secure)
    if secure:
        write_certificates("good", folder, (folder,), "127.0.0.1")

    def asked(path: str, body: bytes | None = None) -> HttpAnswer:
        made = HTTPConnection("127.0.0.1", port, timeout=5)
        if secure:
            context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
            made = HTTPSConnection("127.0.0.1", port, timeout=5, context=context)
        try:
            made.request("GET" if body is None else "POST", path, body, {"Authorization": "Bearer one"})
            return read(made.getresponse())
        finally:
            made.close()

    try:
        Running(gateway, "front", folder, mark, list).start_now(gateway.servers(front, stand))
        assert any(mark_of(pid) == mark for pid in all_pids())
        yield asked
    finally:
        end(lambda pid: mark_of(pid) == mark, grace=1.0)


def read(response: HTTPResponse) -> HttpAnswer:
    headers = {name.lower(): value for name, value in response.getheaders()}
    return HttpAnswer(response.status, headers, response.read(), 1.0, 0.0, 0.0)


def handed_on(answer: HttpAnswer) -> tuple[str, str | None, int]:
    """What the backend was asked."""
    said = json.loads(answer.body)
    return said["path"], said["bearer"], said["bytes"]


MANY = Front(
    routes=(
        Route("/forbidden", Act(403), exact=True),
        Route("/gone/", Act(404)),
        Route("/login/", Act(200, "<!doctype html><title>Sign in</title><form>Sign in</form>")),
        Route("/busy/", Act(429, headers={"Retry-After": "5"})),
        Route("/dead/", Act(dead=True)),
        Route("/staff/", Act(password=True)),
        Route("/bare/", Act(without="bearer")),
        Route("/portal/", Act(302, to="https://login.example/")),
        Route("/moved/", Act(307, to="https://mesh.example<path>")),
    )
)


def test_it_does_what_the_front_says(gateway: Gateway, tmp_path: Path, backend: str) -> None:
    """Protects the faults of gateways on each of them, and that the product knows each by its own words."""
    name = NAMES[gateway.program]
    with standing(gateway, MANY, tmp_path, backend) as asked:
        assert handed_on(asked("/other", b"12345")) == ("/other", "Bearer one", 5)
        assert handed_on(asked("/forbidden/not")) == ("/forbidden/not", "Bearer one", 0)
        assert handed_on(asked("/bare/x")) == ("/bare/x", None, 0)
        dead = 503 if gateway is HAPROXY else 502
        for path, status in (("/forbidden", 403), ("/gone/x", 404), ("/dead/x", dead), ("/staff/x", 401)):
            answer = asked(path)
            assert (answer.status, server_name(answer)) == (status, name), path
        assert page_for_people(asked("/staff/x")) == "a demand for a user and a password"
        assert page_for_people(asked("/login/x")) == "a login page"
        busy = asked("/busy/x")
        assert (busy.status, busy.headers["retry-after"]) == (429, "5")
        assert [asked(f"/{path}/x").status for path in ("portal", "moved")] == [302, 307]
        assert asked("/portal/x").headers["location"] == "https://login.example/"
        assert asked("/moved/x").headers["location"] == "https://mesh.example/moved/x"


def test_it_takes_the_prefix_away(gateway: Gateway, tmp_path: Path, backend: str) -> None:
    """Protects the set-up with a path: below it is the control plane, and next to it nothing. Long bodies stay out."""
    front = Front(root=Act(404), prefix="/mesh", most_body=1024)
    with standing(gateway, front, tmp_path, backend, secure=True) as asked:
        assert handed_on(asked("/mesh/v1/x", b"x" * 100)) == ("/v1/x", "Bearer one", 100)
        assert asked("/v1/x").status == 404
        assert asked("/mesh/v1/x", b"x" * 2000).status == (502 if gateway is CADDY else 413)


def test_it_demands_a_certificate(gateway: Gateway, tmp_path: Path, backend: str) -> None:
    """Protects the fault: without one nobody gets through, by an alert or by nginx' page."""
    with standing(gateway, Front(certificates=True), tmp_path, backend, secure=True) as asked:
        if gateway is NGINX:
            assert b"No required SSL certificate" in asked("/").body
        else:
            with pytest.raises(ssl.SSLError, match=r"(?i)certificate"):
                asked("/")


def test_it_leads_to_tls(gateway: Gateway, tmp_path: Path, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the fault: the redirect keeps the host of the URL, without its port."""
    secure = free_port("127.0.0.1", socket.SOCK_STREAM)
    for module in ("nginx", "caddy", "haproxy"):
        monkeypatch.setattr(f"preflight.lab.{module}.SECURE_PORT", secure)
    write_certificates("good", tmp_path, (tmp_path,), "127.0.0.1")
    with standing(gateway, Front(upgrades=True, plain=True), tmp_path, backend) as asked:
        answer = asked("/v1/x")
        assert (answer.status, answer.headers["location"]) == (301, "https://127.0.0.1/v1/x")
        context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        there = HTTPSConnection("127.0.0.1", secure, timeout=5, context=context)
        there.request("GET", "/v1/x")
        assert handed_on(read(there.getresponse())) == ("/v1/x", None, 0)
        there.close()


@pytest.mark.parametrize("sites", ["one", "two"])
def test_it_serves_one_name(gateway: Gateway, tmp_path: Path, backend: str, sites: Sites) -> None:
    """Protects the faults: a client that names no site gets another's certificate, or no handshake."""
    if sites == "two" and gateway is CADDY:
        return  # it has no default site, and no set-up with that fault
    with standing(gateway, Front(sites=sites), tmp_path, backend, secure=True) as asked:
        refusal = ssl.SSLCertVerificationError if sites == "two" else ssl.SSLError
        with pytest.raises(refusal, match=r"(?i)mismatch|unrecognized.name|internal.error"):
            asked("/")
