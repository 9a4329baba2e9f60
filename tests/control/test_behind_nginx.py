"""The documented nginx in front: TLS ends there, the contract still holds, and rate limits see the client."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import trustme

from preflight.lab.site import free_port
from tests.control.conftest import TOKENS, environment, run_suite

if TYPE_CHECKING:
    from tests.control.conftest import StartServer

ROOT = Path(__file__).parents[2]
DOCUMENTED = ROOT / "docs/how-to/control-plane/nginx.conf"
AROUND = """
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/populi.conf;
}}
"""
pytestmark = pytest.mark.needs("nginx")


@dataclass(frozen=True, slots=True)
class Front:
    """Where nginx listens, and the file that its certificate is trusted by."""

    url: str
    authority: Path


class Nginx:
    """Runs the documented configuration in front of a server, with its own addresses and files put in."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, upstream: str) -> Front:
        """Returns when it is ready: its listening socket is made before it says so by its pid file."""
        port = free_port("127.0.0.1", socket.SOCK_STREAM)
        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1", "localhost")
        certificate.private_key_pem.write_to_path(self._folder / "key.pem")
        for blob in certificate.cert_chain_pems:
            blob.write_to_path(self._folder / "chain.pem", append=True)
        authority.cert_pem.write_to_path(self._folder / "ca.pem")
        text = DOCUMENTED.read_text(encoding="utf-8")
        for written, put in (
            ("127.0.0.1:9847", upstream.removeprefix("http://")),
            ("10.66.0.3:9847", f"127.0.0.1:{port}"),
            ("/etc/preflight/tls/", f"{self._folder}/"),
        ):
            assert text.count(written) >= 1
            text = text.replace(written, put)
        (self._folder / "populi.conf").write_text(text)
        user = "" if os.geteuid() else "user root;"  # its workers would not be let into this folder
        (self._folder / "nginx.conf").write_text(AROUND.format(folder=self._folder, user=user))
        command = ["nginx", "-p", str(self._folder), "-c", str(self._folder / "nginx.conf")]
        with (self._folder / "stderr").open("wb") as stderr:
            self._process = subprocess.Popen(command, stderr=stderr)
        while not (self._folder / "nginx.pid").exists():
            assert self._process.poll() is None, (self._folder / "stderr").read_text()
        return Front(f"https://127.0.0.1:{port}", self._folder / "ca.pem")

    def stop(self) -> None:
        """End it, if it runs."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(timeout=30)


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Nginx]:
    folder = tmp_path / "nginx"
    folder.mkdir()
    nginx = Nginx(folder)
    yield nginx
    nginx.stop()


def test_the_contract_holds_behind_it(start_server: "StartServer", nginx: Nginx) -> None:
    """Every route by role and error, bodies over the cap, the headers of answers: as without it, over verified TLS."""
    front = nginx.start(start_server().url)
    which = "conformance_matrix or over_the_cap or even_a_refusal or answers_name or wrong_method"
    code, counts, output = run_suite(front.url, which, SSL_CERT_FILE=str(front.authority))
    assert code == 0, output[-6000:]
    assert counts["passed"] > 400
    assert counts["xpassed"] == 1


def test_rate_limits_count_the_client_behind_it(start_server: "StartServer", nginx: Nginx) -> None:
    """One client's flood throttles that client, whatever it says in X-Forwarded-For, and no other."""
    limit = {"VOX_MESH_HTTP_RATE_LIMIT": "1", "VOX_MESH_HTTP_RATE_LIMIT_PER_SEC": "1"}
    server = start_server({"VOX_MESH_TOKEN": TOKENS["mesh"], **limit, "VOX_MESH_HTTP_RATE_LIMIT_BURST": "5"})
    front = nginx.start(server.url)
    first, second = client(front, "127.0.0.2"), client(front, "127.0.0.3")
    with first, second:
        flood = [first.get("/health", headers={"x-forwarded-for": f"192.0.2.{number}"}) for number in range(30)]
        assert [answer.status_code for answer in flood[:5]] == [200] * 5
        throttled = [answer for answer in flood if answer.status_code == 429]
        assert len(throttled) > 15
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in throttled)
        assert second.get("/health").status_code == 200


def test_a_node_is_checked_and_enrolled_through_it(start_server: "StartServer", nginx: Nginx, tmp_path: Path) -> None:
    """The tool's own view: TLS, health and clock pass, and a whole enrolment goes through."""
    front = nginx.start(start_server().url)
    (tmp_path / "token").write_text(TOKENS["worker"])
    (tmp_path / "token").chmod(0o600)
    settings = {"control": {"url": front.url, "token_file": "token", "ca_file": str(front.authority)}}
    (tmp_path / "preflight.yaml").write_text(json.dumps(settings))
    checks = ("control.tls", "control.health", "control.clock", "enroll.cycle")
    subprocess.run(
        [sys.executable, "-m", "preflight", "run", *checks, "--enroll", "-q", "--output", "json=report.json"],
        cwd=tmp_path,
        env=environment({}),
        check=False,
    )
    results = json.loads((tmp_path / "report.json").read_text())["results"]
    asked = {result["id"]: result["status"] for result in results if result["check"] in checks}
    assert len(asked) == 9, asked
    left_out = ("/bootstrap", "/lease")  # without a one-time token; a row in maintenance gets no lease
    assert {status for name, status in asked.items() if not name.endswith(left_out)} == {"pass"}, results


def client(front: Front, source: str) -> httpx.Client:
    """A client with a separate address."""
    context = ssl.create_default_context(cafile=str(front.authority))
    return httpx.Client(
        base_url=front.url, transport=httpx.HTTPTransport(verify=context, local_address=source), timeout=30
    )
