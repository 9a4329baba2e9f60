"""Only as a bearer to the control plane a secret leaves the node: not in a report, a log, an argument, or a crash."""

import asyncio
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
import trustme

from tests.net.conftest import Request, answer, healthy, server_context

if TYPE_CHECKING:
    from tests.net.conftest import OpenTrap, StartControlPlane

ROLES = ("TOKEN", "WORKER_TOKEN", "SUBMITTER_TOKEN", "ADMIN_TOKEN", "JWT_HMAC_SECRET", "BOOTSTRAP_TOKEN")
FORMATS = ("text", "json", "junit", "markdown", "html", "openmetrics", "sarif")
CRASH = """
import os
from preflight.api import check

@check("tests.crash", title="Breaks, with all that it knows in its complaint", subject="node", codes=())
async def crash(ctx):
    known = [value for name, value in os.environ.items() if name.startswith("VOX_MESH_")]
    raise RuntimeError(f"{known!r} {ctx.settings.secrets.token.get_secret_value()}") from KeyError(known[0])
    yield
"""


class Node:
    """A node with every kind of secret, each its own, and a check of a third party that breaks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.variables = {f"VOX_MESH_{role}": _fresh(role) for role in ROLES}
        self.files = {name: _fresh(name) for name in ("token", "submit", "responder.key")}
        for name, value in self.files.items():
            self._write(name, value)
        self._write("bootstrap", self.variables["VOX_MESH_BOOTSTRAP_TOKEN"])
        self._write("crash_check.py", CRASH)
        plugin = folder / "crash-1.0.dist-info"
        plugin.mkdir()
        (plugin / "METADATA").write_text("Metadata-Version: 2.1\nName: crash\nVersion: 1.0\n")
        (plugin / "entry_points.txt").write_text("[preflight.checks]\ncrash = crash_check\n")
        self._commit()

    def run(self, url: str, *options: str) -> str:
        """`preflight all` with every output; all that came out, and the arguments of every process meanwhile."""
        (self.folder / "preflight.yaml").write_text(
            f"control: {{url: '{url}', scope_id: lab, token_file: token, submitter_token_file: submit}}\n"
            "responder: {key_file: responder.key}\n"
            "peers: [{address: 127.0.0.9, name: b, agent_id: 2}]\n"
        )
        outputs = [word for name in FORMATS for word in ("--output", f"{name}={self.folder / f'report.{name}'}")]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("VOX_")}
        with _arguments() as seen:
            done = subprocess.run(
                [sys.executable, "-m", "preflight", "all", "-v", "--timeout", "40", *options, *outputs],
                cwd=self.folder,
                env=environment | self.variables | {"PYTHONPATH": str(self.folder), "PYTHONUNBUFFERED": "1"},
                capture_output=True,
                text=True,
                timeout=100,
                check=False,
            )
        reports = [(self.folder / f"report.{name}").read_text() for name in FORMATS]
        assert all("tests.crash" in report for report in reports[:3]), done.stderr
        return "\n".join([done.stdout, done.stderr, *reports, *seen])

    def leaked(self, text: str) -> list[str]:
        """The names of the secrets that are in a text, as they are or as HTML, URLs and Python write them."""
        known = {**self.variables, **self.files}
        return [name for name, value in known.items() if any(encoding in text for encoding in _encodings(value))]

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(f"{text}\n")

    def _commit(self) -> None:
        self._write("docker-compose.yml", f"VOX_MESH_TOKEN: '{self.variables['VOX_MESH_TOKEN']}'")
        git = ["git", "-C", str(self.folder), "-c", "user.name=t", "-c", "user.email=t@t.invalid"]
        for words in (["init", "-q"], ["add", "docker-compose.yml", "token"], ["commit", "-q", "-m", "x"]):
            subprocess.run([*git, *words], check=True)


def _fresh(name: str) -> str:
    """Never seen before, header-safe, and with signs that each format writes in its own way."""
    return f'{name.lower().replace("_", "-")}+"<&>/={secrets.token_hex(12)}'


def _encodings(value: str) -> set[str]:
    return {value, value[-24:], escape(value), escape(value, quote=False), quote(value), repr(value)[1:-1]}


class _arguments:  # noqa: N801 - reads as a statement
    """Every command line on this machine while the body runs."""

    def __enter__(self) -> set[str]:
        self._seen: set[str] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self._seen

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.005):
            self._seen |= set(_command_lines())


def _command_lines() -> Iterator[str]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                yield (entry / "cmdline").read_text(errors="replace").replace("\0", " ")
            except OSError:
                continue


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """In a separate folder."""
    folder = tmp_path / "node"
    folder.mkdir()
    return Node(folder)


def test_a_whole_run_with_every_secret_set(node: Node, start_control_plane: "StartControlPlane") -> None:
    """Enrolment, roles, scope, mailbox, a crash that shows all it knows, a token in git: no value in any output."""
    server = start_control_plane(**node.variables)
    out = node.run(server.url, "--enroll", "--bootstrap-token-file", "bootstrap", "--credentials-out", "credential")
    assert "posture.secret-in-git" in out
    assert "run.check-error" in out
    assert "enroll.cycle" in out
    assert node.leaked(out) == []
    assert node.variables["VOX_MESH_TOKEN"] in (node.folder / "credential").read_text().replace("'\"'\"'", "'")
    assert node.leaked((server.folder / "stderr").read_text()) == []


def test_a_server_that_says_back_what_it_was_sent(node: Node, open_trap: "OpenTrap") -> None:
    """A proxy's debug page shows the request with its bearer: what is quoted of an answer must not show it on."""

    def echo(request: Request) -> bytes:
        if "/health" in request.line:
            return healthy(request)
        echoed = f"400 bad request: {request.headers.get('authorization', '')} {request.body.decode()}"
        return answer("400 Bad Request", echoed.encode(), x_populi_feature="exec-lease-v1")

    async def talk() -> str:
        async with open_trap(echo) as trap:
            words = ("--enroll", "--bootstrap-token-file", "bootstrap", "--credentials-out", "credential")
            out = await asyncio.to_thread(node.run, trap.url, *words)
            bearers = {request.headers.get("authorization", "") for request in trap.requests}
            assert f"Bearer {node.variables['VOX_MESH_TOKEN']}" in bearers
            return out

    out = asyncio.run(talk())
    assert "bad request" in out
    assert node.leaked(out) == []


def test_a_certificate_that_is_not_trusted_gets_no_bearer(
    node: Node, open_trap: "OpenTrap", authority: trustme.CA
) -> None:
    """A host at the control plane's address with another certificate must learn nothing."""

    async def talk() -> str:
        certificate = authority.issue_cert("other.example")
        async with open_trap(healthy, tls=server_context(certificate)) as trap:
            out = await asyncio.to_thread(node.run, trap.url.replace("http:", "https:"))
            assert not any("authorization" in request.headers for request in trap.requests)
            return out

    out = asyncio.run(talk())
    assert "control.tls-untrusted" in out
    assert node.leaked(out) == []
