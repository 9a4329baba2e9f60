"""A control plane to attack: a separate process with little patience and few descriptors, and raw connections."""

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, cast

import httpx
import jwt

from tests.control.conftest import JWT_SECRET, SECRETS, TOKENS, environment

DESCRIPTORS = 256
IMPATIENT = {"handshake_s": 0.5, "headers_s": 0.5, "body_s": 0.5, "answer_s": 0.5, "farewell_s": 0.5}
BEARER = f"Authorization: Bearer {TOKENS['mesh']}\r\n".encode()
CHILD = """
import json, os, resource, sys
from pathlib import Path
from preflight.control import bind, logs, serve
from preflight.control.config import server_config
from preflight.control.faults import Faults
from preflight.control.guard import Patience
from preflight.settings.schema import ControlPlaneSettings

given = json.loads(sys.argv[1])
resource.setrlimit(resource.RLIMIT_NOFILE, (given["descriptors"], given["descriptors"]))
logs.configure(verbose=True)
here = bind.places("127.0.0.1:0")
tls = serve.Tls(Path(given["tls"][0]), Path(given["tls"][1])) if given["tls"] else None
serve.run(
    server_config(ControlPlaneSettings(), os.environ), here, Path("control-plane.db"),
    tls=tls, metrics_on=here[0], patience=Patience(**given["patience"]), drill=Faults(clock_skew_s=given["skew_s"]),
    announce=lambda url: print("listening on", url, flush=True),
)
"""
"""What `preflight control-plane serve` does, with the patience given."""


@dataclass
class Plane:
    """The process and where it listens."""

    process: subprocess.Popen[str]
    url: str
    log_file: Path
    _seen: int = 0

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        url = httpx.URL(self.url)
        return url.host, cast("int", url.port)

    def connect(self, data: bytes = b"", *, receive_buffer: int = 0) -> socket.socket:
        """A connection on which this much was sent. receive_buffer: bytes, so that the kernel does not take more."""
        connection = socket.socket()
        connection.settimeout(10)
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.connect(self.address)
        connection.sendall(data)
        return connection

    def talk(self, data: bytes) -> bytes:
        """What comes back until the server closes."""
        with self.connect() as connection:
            try:
                connection.sendall(data)
                return everything(connection)
            except ConnectionError:  # it hung up on us, which is its right
                return b""

    def client(self, role: str | None = "mesh") -> httpx.Client:
        """A well-behaved client with the bearer of a role."""
        headers = {"authorization": f"Bearer {TOKENS[role]}"} if role else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=20)

    def healthy(self) -> bool:
        """Whether a new client gets its answer."""
        with self.connect() as connection:
            return answered(connection, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n") == 200

    def log(self) -> list[dict[str, Any]]:
        """Its log, which is one JSON object a line whatever happens; without the line that it is just writing."""
        whole, _, _ = self.log_file.read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def metrics_url(self) -> str:
        """Where Prometheus looks."""
        return str(next(line["metrics"] for line in self.log() if line["event"] == "starting"))

    def counted(self, name: str) -> float:
        """A number of its metrics, 0 if there is none of the name."""
        found = re.search(rf"^{re.escape(name)} (\S+)$", httpx.get(self.metrics_url(), timeout=20).text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def resident_mib(self) -> float:
        """Its memory, MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def well(self) -> None:
        """It lives, answers, and nothing went wrong inside."""
        assert self.process.poll() is None
        assert self.healthy()
        with self.log_file.open() as log:
            log.seek(self._seen)
            whole, end, _ = log.read().rpartition("\n")  # without the line that it is just writing
            lines = [json.loads(line) for line in whole.splitlines()]
            assert not [line for line in lines if line["level"] == "error" or "exception" in line]
            self._seen += len((whole + end).encode())


@contextmanager
def running(
    folder: Path,
    *,
    variables: Mapping[str, str] | None = None,
    patience: Mapping[str, float] | None = None,
    descriptors: int = DESCRIPTORS,
    tls: tuple[Path, Path] | None = None,
    skew_s: int = 0,
) -> Iterator[Plane]:
    """A control plane in `folder`, whose database outlives it; it is killed at the end."""
    given = {
        "patience": IMPATIENT if patience is None else patience,
        "descriptors": descriptors,
        "skew_s": skew_s,
        "tls": [str(path) for path in tls] if tls else None,
    }
    log_file = folder / "log"
    with log_file.open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", CHILD, json.dumps(given)],
            cwd=folder,
            env=environment(SECRETS if variables is None else variables),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert process.stdout
    try:
        line = process.stdout.readline()
        assert line.startswith("listening on "), log_file.read_text()
        yield Plane(process, line.removeprefix("listening on ").strip(), log_file)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def everything(connection: socket.socket) -> bytes:
    """All that comes until the other side closes, or breaks off."""
    answer = b""
    try:
        while chunk := connection.recv(65536):
            answer += chunk
    except ConnectionError:
        pass
    return answer


def answered(connection: socket.socket, request: bytes) -> int:
    """The status of one request's answer, which is read completely."""
    connection.sendall(request)
    response = HTTPResponse(connection)
    response.begin()
    response.read()
    return response.status


def statuses(answer: bytes) -> list[int]:
    """The statuses of all responses in it."""
    return [int(status) for status in re.findall(rb"^HTTP/1\.[01] (\d{3})", answer, re.MULTILINE)]


def token(**claims: object) -> str:
    """A JWT signed with the server's secret."""
    sound = {"role": "worker", "jti": f"{time.time_ns()}", "exp": int(time.time()) + 300}
    return jwt.encode(sound | claims, JWT_SECRET, algorithm="HS256")
