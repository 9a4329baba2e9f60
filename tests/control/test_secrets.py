"""No secret where it does not belong: a server with all of them, as talkative as it gets, and crashing."""

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import jwt
import pytest

from preflight.control.routes import ROUTES
from tests.control.conftest import JWT_SECRET, SECRETS, TOKENS, environment

if TYPE_CHECKING:
    from tests.control.conftest import Server, StartServer

BOOTSTRAP = "one-time-token-of-the-tests"
GUESSES = ("a-wrong-bearer-of-somebody", "a-wrong-one-time-token-of-somebody")
KEY = "idempotency-key-of-a-buyer"


class Everything:
    """All that anyone could read: `held` by its name."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        self._secrets = secrets
        self.held: dict[str, bytes] = {}

    def keep(self, name: str, content: str | bytes) -> None:
        """Look at it later."""
        self.held[name] = content.encode() if isinstance(content, str) else content

    def leaks(self) -> list[str]:
        """What holds which secret."""
        return [
            f"{name}: {secret}"
            for name, content in self.held.items()
            for secret in self._secrets
            if secret.encode() in content
        ]


@pytest.fixture
def server(start_server: "StartServer") -> "Server":
    variables = {**SECRETS, "VOX_MESH_BOOTSTRAP_TOKEN": BOOTSTRAP}
    return start_server(variables, "--verbose", "--metrics-bind", "127.0.0.1:0")


def bearers() -> Iterator[str]:
    """Each role's, a JWT of each role, and one that is nobody's."""
    yield from TOKENS.values()
    for role in TOKENS:
        claims = {"role": role, "jti": f"jti-of-{role}", "exp": int(time.time()) + 300}
        yield jwt.encode(claims, JWT_SECRET)
    yield GUESSES[0]


def ask_all(server: "Server", bearer: str) -> list[httpx.Response]:
    """Every route with a bearer, with no body, no JSON, and the bearer itself as the body."""
    headers = {"authorization": f"Bearer {bearer}", "content-type": "application/json"}
    bodies = ("", f"{{{bearer}", json.dumps(bearer), json.dumps({"id": [bearer], bearer: 1}))
    asked = [("GET", "/openapi.json", ""), *((route.method, route.path, body) for route in ROUTES for body in bodies)]
    with httpx.Client(base_url=server.url, headers=headers) as client:
        return [client.request(method, path, content=body) for method, path, body in asked]


def enrol(server: "Server", folder: Path) -> dict[str, str]:
    """A whole enrolment by the program, as talkative as it gets: what it wrote, and its command line while it ran."""
    (folder / "bootstrap-token").write_text(BOOTSTRAP)
    (folder / "bootstrap-token").chmod(0o600)
    command = [sys.executable, "-m", "preflight", "run", "enroll.cycle", "--enroll", "-v"]
    command += ["--control-url", server.url, "--bootstrap-token-file", "bootstrap-token", "--credentials-out", "bought"]
    command += ["--output", "text", "--output", "json=report.json", "--output", "junit=report.xml"]
    with subprocess.Popen(
        command, cwd=folder, env=environment({}), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        shown = Path(f"/proc/{process.pid}/cmdline").read_text()
        stdout, stderr = process.communicate()
    written = {name: (folder / name).read_text() for name in ("report.json", "report.xml")}
    return {"stdout": stdout, "stderr": stderr, "command line of the node": shown, **written}


def crash(server: "Server") -> None:
    """Every route that writes fails with a traceback: its tables are gone."""
    with sqlite3.connect(server.database) as connection:
        for table in ("node", "mail", "exec_lease", "spent_bootstrap_token", "seen_jti"):
            connection.execute(f"DROP TABLE {table}")
    connection.close()
    headers = {"authorization": f"Bearer {TOKENS['mesh']}"}
    record = {"id": "a", "capabilities": {}, "version": "1", "last_seen_unix_ms": 0}
    token = jwt.encode({"role": "mesh", "jti": "crashing", "exp": int(time.time()) + 300}, JWT_SECRET)
    crashes = [
        httpx.post(f"{server.url}/v1/populi/join", json=record, headers=headers),
        httpx.post(f"{server.url}/v1/populi/heartbeat", json=record, headers=headers),
        httpx.get(f"{server.url}/v1/populi/nodes", headers={"authorization": f"Bearer {token}"}),
        httpx.post(
            f"{server.url}/v1/populi/bootstrap/exchange", json={"bootstrap_token": BOOTSTRAP, "idempotency_key": KEY}
        ),
    ]
    assert [(answer.status_code, answer.text) for answer in crashes] == [(500, "internal server error")] * 4


def test_no_secret_is_anywhere(server: "Server", tmp_path: Path) -> None:
    """Logs with tracebacks, metrics, answers, the database with its log, command lines, reports: grepped for all."""
    every = tuple(bearers())
    found = Everything((*every, *GUESSES, BOOTSTRAP, JWT_SECRET))
    for bearer in every:
        for number, answer in enumerate(ask_all(server, bearer)):
            if not (
                answer.status_code == 422 and number
            ):  # a message about a field may hold its name: the client's own
                found.keep(f"answer {number} to {bearer[:6]}", answer.content + repr(answer.headers).encode())
    httpx.post(f"{server.url}/v1/populi/bootstrap/exchange", json={"bootstrap_token": GUESSES[1]})
    for name, text in enrol(server, tmp_path).items():
        found.keep(name, text)
    assert TOKENS["mesh"] in (tmp_path / "bought").read_text()  # the one place where what was bought belongs
    for path in server.folder.glob("control-plane.db*"):
        found.keep(path.name, path.read_bytes())
    crash(server)
    assert server.process
    found.keep("metrics", server.metrics())
    found.keep("command line of the server", Path(f"/proc/{server.process.pid}/cmdline").read_bytes())
    assert server.stop() == 0
    found.keep("log", server.log())
    assert "Traceback" in server.log()
    assert '"path": "/v1/populi/join"' in server.log()
    assert {"control-plane.db", "report.json", "stdout", "log", "metrics"} <= found.held.keys()
    assert found.leaks() == []
    found.keep("planted", f"x{BOOTSTRAP}x")
    assert found.leaks() == [f"planted: {BOOTSTRAP}"]
