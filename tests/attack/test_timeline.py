"""A timeline holds no secret: not of this node, not of its tunnel, not of what a server sends back.

Real runs against real servers; the standard library decodes what is found, not our own code.
"""

import json
import os
import re
import secrets
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from preflight.lab.names import LabNames
from preflight.report.timeline import parse
from tests.attack.plane import running
from tests.attack.test_secrets import everything

PROGRAM = (sys.executable, "-P", "-m", "preflight")
ROLES = ("TOKEN", "WORKER_TOKEN", "SUBMITTER_TOKEN", "ADMIN_TOKEN", "JWT_HMAC_SECRET", "BOOTSTRAP_TOKEN")
ENROL = ("--enroll", "--bootstrap-token-file", "bootstrap", "--credentials-out", "credential")


def fresh(name: str) -> str:
    """Never seen before, fit for a header, and with signs that each encoding writes in its own way."""
    return f'{name.lower().replace("_", "-")}+"<&>/={secrets.token_hex(12)}'


class Node:
    """A node with every kind of secret, each its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.variables = {f"VOX_MESH_{role}": fresh(role) for role in ROLES}
        self.files = {name: fresh(name) for name in ("token", "submit", "responder.key")}
        for name, value in {**self.files, "bootstrap": self.variables["VOX_MESH_BOOTSTRAP_TOKEN"]}.items():
            path = folder / name
            path.touch(mode=0o600)
            path.write_text(f"{value}\n")
        self.proxy_password = secrets.token_hex(12)
        self.issued = fresh("bought")

    def timeline(self, url: str, *options: str, **variables: str) -> str:
        """What `preflight all --debug` writes while it talks to a control plane."""
        (self.folder / "preflight.yaml").write_text(
            f"control: {{url: '{url}', scope_id: lab, token_file: token, submitter_token_file: submit}}\n"
            "responder: {key_file: responder.key}\n"
            "peers: [{address: 127.0.0.9, name: b, agent_id: 2}]\n"
        )
        environment = {name: value for name, value in os.environ.items() if not name.startswith("VOX_")}
        subprocess.run(
            [*PROGRAM, "all", "-q", "--timeout", "40", "--debug", "timeline.jsonl", *options],
            cwd=self.folder,
            env=environment | self.variables | variables,
            capture_output=True,
            timeout=100,
            check=False,
        )
        return (self.folder / "timeline.jsonl").read_text()

    def known(self) -> dict[str, str]:
        """Every secret by its name."""
        return {**self.variables, **self.files, "proxy": self.proxy_password, "bought": self.issued}


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """In a separate folder."""
    folder = tmp_path / "node"
    folder.mkdir()
    return Node(folder)


def leaked(known: dict[str, str], text: str) -> list[str]:
    """The names of the secrets that any reader of a text may decode from it, whole or the random half."""
    found = everything(text)
    return [name for name, value in known.items() if value in found or value[-20:] in found]


def names_of(text: str) -> set[str]:
    """What happened, by name."""
    return {event.name for event in parse(text.encode()).events}


def test_a_whole_run_with_every_secret_set(node: Node, tmp_path: Path) -> None:
    """Enrolment with a bootstrap token, roles, mailbox: each secret is used, no output shows one."""
    folder = tmp_path / "plane"
    folder.mkdir()
    with running(folder, variables={**node.variables, "VOX_MESH_SCOPE_ID": "lab"}) as plane:
        text = node.timeline(plane.url, *ENROL)
    states = {event.fields.get("state") for event in parse(text.encode()).events if event.name == "call-succeeded"}
    assert {"exchange", "store", "join", "leave"} <= states
    assert leaked(node.known(), text) == []


class Echo(BaseHTTPRequestHandler):
    """Healthy, sells a credential to everyone, and sends all that it received back in its body and reason."""

    protocol_version = "HTTP/1.0"
    issued = ""

    def do_GET(self) -> None:
        """Answer any request."""
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        said = f"{self.path} {dict(self.headers)} {body.decode(errors='replace')} {self.issued}"
        if self.path.endswith("/health"):
            status, content = 200, "ok\n"
        elif self.path.endswith("/bootstrap/exchange"):
            status, content = 200, json.dumps({"mesh_token": self.issued, "scope_id": "lab"})
        else:
            status, content = 400, said
        self.send_response(status, re.sub(r"[^ -~]", "", said))
        self.send_header("x-populi-feature", "exec-lease-v1")
        self.end_headers()
        self.wfile.write(content.encode())

    def do_POST(self) -> None:
        """As `do_GET`."""
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def echoing(node: Node, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Such a server; `HOST:PORT`."""
    handler = type("Own", (Echo,), {"issued": node.issued})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("by_proxy", [False, True], ids=["direct", "through a proxy with a password"])
def test_a_server_that_says_back_what_it_was_sent(by_proxy: bool, node: Node) -> None:
    """Bearers, the bootstrap token, the credential that it sold, the proxy's password: it knows them all."""
    with echoing(node) as place:
        if by_proxy:
            proxy = f"http://somebody:{node.proxy_password}@{place}"
            text = node.timeline("http://127.0.0.2:9847", *ENROL, HTTP_PROXY=proxy, NO_PROXY="")
            assert f"through the proxy {place}" in text
        else:
            text = node.timeline(f"http://{place}", *ENROL)
    assert "answer-received" in names_of(text)
    assert leaked(node.known(), text) == []


def test_a_certificate_that_holds_a_secret(node: Node) -> None:
    """Text of a stranger in the timeline goes through the same redaction as in the report."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    name = node.files["token"]
    trustme.CA().issue_cert("127.0.0.1", common_name=name).configure_cert(context)
    with echoing(node, context) as place:
        text = node.timeline(f"https://{place}")
    (subject, *_) = (e.fields["certificate_subject"] for e in parse(text.encode()).events if e.name == "tls-ended")
    assert "[redacted]" in str(subject)
    assert leaked(node.known(), text) == []


@pytest.mark.lab
def test_a_run_on_real_tunnels(tmp_path: Path) -> None:
    """With the private keys of WireGuard, the key of the responder and all tokens of a lab: no output shows one."""
    name = f"timeline-{secrets.token_hex(3)}"
    subprocess.run([*PROGRAM, "lab", "up", name, "--topology", "pair"], check=True, capture_output=True, timeout=60)
    try:
        words = ["all", "-q", "--lab", name, "--debug", "t.jsonl", "--output", "json=r.json"]
        subprocess.run([*PROGRAM, *words], cwd=tmp_path, capture_output=True, timeout=100, check=True)
        folder = LabNames.of(name).directory
        known = {
            str(path.relative_to(folder)): path.read_text().strip()
            for pattern in ("*/*token*", "*/responder.key")
            for path in folder.glob(pattern)
        }
        for path in folder.glob("*/wireguard.conf"):
            keys = re.findall(r"(?:PrivateKey|PresharedKey) = (\S+)", path.read_text())
            known |= {f"{path.relative_to(folder)} {number}": key for number, key in enumerate(keys)}
        known["a/credentials"] = (
            (folder / "a" / "credentials").read_text().partition("VOX_MESH_TOKEN=")[2].strip(" '\n")
        )
    finally:
        subprocess.run([*PROGRAM, "lab", "down", name], check=True, capture_output=True, timeout=60)
    assert len(known) > 7
    assert all(len(value) >= 16 for value in known.values())
    text = (tmp_path / "t.jsonl").read_text()
    assert {"overlay-chosen", "call-succeeded", "run-ended"} <= names_of(text)
    assert leaked(known, text) == []
