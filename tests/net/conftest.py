"""Real servers on loopback: traps that misbehave on request, name servers, and the bundled control plane."""

import asyncio
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import dns.message
import dns.rcode
import dns.rrset
import pytest
import trustme

from preflight.api import Context
from preflight.net import Net
from preflight.settings.load import Settings

MESH, WORKER, SUBMITTER, BOOTSTRAP = (f"{role}-secret-of-the-tests" for role in ("mesh", "worker", "submitter", "boot"))


@dataclass(frozen=True)
class Request:
    """What a trap was asked."""

    line: str
    headers: dict[str, str]
    body: bytes


Respond = Callable[[Request], bytes | None]


@dataclass
class Trap:
    """A server that is there for one test."""

    port: int = 0
    requests: list[Request] = field(default_factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"


OpenTrap = Callable[..., AbstractAsyncContextManager[Trap]]


def answer(status: str = "200 OK", body: bytes = b"", **headers: str) -> bytes:
    """An HTTP/1.1 answer."""
    named = {"content-length": str(len(body)), **{name.replace("_", "-"): value for name, value in headers.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def healthy(_request: Request) -> bytes:
    """What a control plane says to GET /health."""
    return answer(body=b"ok\n", content_type="text/plain", x_populi_feature="exec-lease-v1")


@pytest.fixture
def open_trap() -> OpenTrap:
    """`async with open_trap(respond) as trap`: None from `respond` never answers, b"" closes the connection."""
    return _opened


@asynccontextmanager
async def _opened(
    respond: Respond, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[Trap]:
    trap = Trap()
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        trap.connections += 1
        writers.add(writer)
        try:
            while (request := await _read(reader)) is not None:
                trap.requests.append(request)
                said = respond(request)
                if said is None:
                    continue
                if not said:
                    break
                writer.write(said)
                await writer.drain()
        except OSError:
            pass
        finally:
            writers.discard(writer)
            writer.transport.abort()

    server = await asyncio.start_server(serve, host, 0, ssl=tls)
    trap.port = server.sockets[0].getsockname()[1]
    try:
        yield trap
    finally:
        server.close()
        for writer in list(writers):
            writer.transport.abort()
        await server.wait_closed()
        await asyncio.sleep(0)


async def _read(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *fields = head.rstrip().split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        return Request(line, headers, await reader.readexactly(int(headers.get("content-length", "0"))))
    except (asyncio.IncompleteReadError, OSError):
        return None


Zone = dict[str, list[str] | dns.rcode.Rcode | None]
"""For `A` and `AAAA`: addresses, an error code, or None for silence."""
OpenNameServer = Callable[..., AbstractAsyncContextManager[int]]


@pytest.fixture
def open_name_server() -> OpenNameServer:
    """`async with open_name_server(zone, address=…, port=…) as port`: a name server over UDP that knows one zone."""

    @asynccontextmanager
    async def opened(zone: Zone, *, address: str = "127.0.0.1", port: int = 0) -> AsyncIterator[int]:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: _NameServer(zone), local_addr=(address, port))
        try:
            yield transport.get_extra_info("sockname")[1]
        finally:
            transport.close()
            await asyncio.sleep(0)

    return opened


class _NameServer(asyncio.DatagramProtocol):
    def __init__(self, zone: Zone) -> None:
        self._zone = zone

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        known = self._zone.get(dns.rdatatype.to_text(question.rdtype), [])
        if known is None:
            return
        response = dns.message.make_response(query, recursion_available=True)
        if isinstance(known, list):
            if known:
                response.answer.append(dns.rrset.from_text_list(question.name, 60, "IN", question.rdtype, known))
        else:
            response.set_rcode(known)
        self._transport.sendto(response.to_wire(), addr)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """A certificate authority that clients may be configured to trust."""
    return trustme.CA()


def server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """A TLS server's context with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@dataclass
class ControlPlane:
    """`preflight control-plane serve` as a process; `kill` and `start` keep its database and its port."""

    folder: Path
    variables: dict[str, str]
    options: tuple[str, ...] = ()
    port: int = 0
    process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> "ControlPlane":
        """Start it and wait until it listens."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("VOX_", "PREFLIGHT_"))}
        command = "from preflight.cli.control_plane import control_plane; control_plane()"
        bind = f"127.0.0.1:{self.port}"
        with (self.folder / "stderr").open("a") as stderr:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    command,
                    "serve",
                    "--bind",
                    bind,
                    "--db",
                    str(self.folder / "db"),
                    *self.options,
                ],
                env={**kept, **self.variables},
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line.startswith("listening on "), (self.folder / "stderr").read_text()
        self.port = int(line.strip().rpartition(":")[2])
        return self

    def kill(self) -> None:
        """No goodbye."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(timeout=30)
            assert self.process.stdout
            self.process.stdout.close()
            self.process = None


StartControlPlane = Callable[..., ControlPlane]


@pytest.fixture
def start_control_plane(tmp_path: Path) -> Iterator[StartControlPlane]:
    """The bundled control plane with all secrets and the scope `lab`; keyword arguments are further variables."""
    started: list[ControlPlane] = []

    def start(*options: str, **variables: str) -> ControlPlane:
        folder = tmp_path / f"control-plane-{len(started)}"
        folder.mkdir()
        secrets = {
            "VOX_MESH_TOKEN": MESH,
            "VOX_MESH_WORKER_TOKEN": WORKER,
            "VOX_MESH_SUBMITTER_TOKEN": SUBMITTER,
            "VOX_MESH_BOOTSTRAP_TOKEN": BOOTSTRAP,
            "VOX_MESH_SCOPE_ID": "lab",
        }
        started.append(ControlPlane(folder, {**secrets, **variables}, options).start())
        return started[-1]

    yield start
    for control_plane in started:
        control_plane.kill()


def context(settings: Settings) -> Context:
    """What the runner hands to a check on a node without overlay and peers."""
    return Context(settings=settings, peers=(), overlay=None, net=Net(settings))


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller's proxies are not part of any test."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
