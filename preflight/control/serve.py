"""Running the server: sockets, TLS, uvicorn, metrics, and a stop that finishes what was begun."""

import asyncio
import gc
import logging
import resource
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

import uvicorn
from prometheus_client import start_http_server

from preflight.control import bind, faults, nodes
from preflight.control.app import ControlPlane
from preflight.control.bind import Place
from preflight.control.config import ServerConfig
from preflight.control.database import Database
from preflight.control.envelope import Envelope
from preflight.control.faults import Faults
from preflight.control.handlers import Plane
from preflight.control.logs import event
from preflight.control.metrics import Metrics

_log = logging.getLogger(__name__)

KEEP_ALIVE_S = 75  # longer than any heartbeat interval, so that nodes keep their connection
GRACE_S = 3


class TlsError(Exception):
    """A certificate or key that cannot be used; the text names the file."""


@dataclass(frozen=True, slots=True)
class Tls:
    """Certificate chain and private key, PEM files."""

    certificate: Path
    key: Path


def tls_files(certificate: Path | None, key: Path | None) -> Tls | None:
    """Both or neither. Raises TlsError."""
    if certificate and key:
        return Tls(certificate, key)
    if certificate or key:
        raise TlsError("TLS takes both --tls-cert and --tls-key")
    return None


def now_ms() -> int:
    """The wall clock, Unix milliseconds."""
    return time.time_ns() // 1_000_000


def run(
    config: ServerConfig,
    listen_on: Sequence[Place],
    database_path: Path,
    *,
    tls: Tls | None = None,
    metrics_on: Place | None = None,
    drill: Faults | None = None,
    announce: Callable[[str], None],
) -> None:
    """Serve until SIGTERM or SIGINT; `announce` gets each URL once it answers.

    Raises BindError, TlsError or DatabaseError before anything is served.
    """
    drill = drill or Faults()
    clock = faults.skewed(now_ms, drill.clock_skew_s) if drill.clock_skew_s else now_ms
    _more_files()
    with ExitStack() as stack:
        stop_cleanly_from_now_on()
        context = _tls_context(tls) if tls else None
        listeners = [stack.enter_context(bind.listen(place)) for place in listen_on]
        metrics = Metrics()
        database = Database(database_path, clock, observe=metrics.commit)
        stack.callback(database.close)
        metrics.watch_nodes(lambda: database.read_blocking(nodes.count))
        metrics_url = _serve_metrics(stack, metrics, metrics_on) if metrics_on else None
        _warn(config, listen_on, drill, secure=context is not None)
        plane = Plane(database, config, scope_open=drill.scope_open)
        app = Envelope(faults.FaultLayer(ControlPlane(plane, clock), drill), metrics, clock)
        logging.getLogger("uvicorn.error").addFilter(_CountMalformed(metrics))
        server = AnnouncingServer(_uvicorn_config(app, context), lambda: _announce(listeners, context, announce))
        event(_log, logging.INFO, "starting", database=str(database_path.absolute()), metrics=metrics_url)
        _collect_rarely()
        asyncio.run(server.serve(listeners))
        event(_log, logging.INFO, "stopped")


class AnnouncingServer(uvicorn.Server):
    """Says when it is ready."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell."""
        await super().startup(sockets)
        self._ready()


class _CountMalformed(logging.Filter):
    """Turns uvicorn's line for each client that does not speak HTTP into a number."""

    def __init__(self, metrics: Metrics) -> None:
        super().__init__()
        self._metrics = metrics

    def filter(self, record: logging.LogRecord) -> bool:
        """Count and drop that one message."""
        if str(record.msg).startswith("Invalid HTTP request"):
            self._metrics.malformed()
            return False
        return True


def _uvicorn_config(app: Envelope, context: ssl.SSLContext | None) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,  # the envelope sends the server's own clock
        # A TLS terminator on this host tells who the client is; from anywhere else the header is a stranger's word.
        proxy_headers=True,
        forwarded_allow_ips=["127.0.0.1", "::1"],
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        backlog=bind.BACKLOG,
        ssl_context_factory=(lambda config, default: context) if context else None,
    )


def _announce(
    listeners: Sequence[socket.socket], context: ssl.SSLContext | None, announce: Callable[[str], None]
) -> None:
    scheme = "https" if context else "http"
    for listener in listeners:
        host, port = listener.getsockname()[:2]
        announce(f"{scheme}://{bind.authority(host, port)}")


def _tls_context(tls: Tls) -> ssl.SSLContext:
    for path, what in ((tls.certificate, "certificate"), (tls.key, "private key")):
        try:
            path.read_bytes()
        except OSError as error:
            raise TlsError(f"TLS {what} {path}: cannot be read ({error.strerror})") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2

    def refuse_password() -> NoReturn:
        raise TlsError(f"TLS private key {tls.key}: is encrypted; give one without a passphrase")

    try:
        context.load_cert_chain(tls.certificate, tls.key, password=refuse_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise TlsError(f"TLS private key {tls.key} does not belong to certificate {tls.certificate}") from None
        raise TlsError(f"TLS: {tls.certificate} and {tls.key} are not a PEM certificate and its key") from None
    return context


def _serve_metrics(stack: ExitStack, metrics: Metrics, place: Place) -> str:
    """Serve /metrics from a thread until the stack is left; its URL. Raises BindError."""
    bind.listen(place).close()  # the library's own error would not say which address
    server, thread = start_http_server(place.port, str(place.address), metrics.registry)
    stack.callback(thread.join)
    stack.callback(server.server_close)
    stack.callback(server.shutdown)
    return f"http://{bind.authority(str(place.address), server.server_port)}/metrics"


def _warn(config: ServerConfig, listen_on: Sequence[Place], drill: Faults, *, secure: bool) -> None:
    """Tell the operator what is dangerous about this set-up."""
    for warning in config.warnings:
        event(_log, logging.WARNING, warning)
    if not secure:
        for place in listen_on:
            if bind.exposed(place.address):
                event(
                    _log,
                    logging.WARNING,
                    f"{place} is reachable from outside the overlay and bearers travel in the clear: "
                    "bind to the overlay's address, or give --tls-cert and --tls-key",
                )
    if drill != Faults():
        event(_log, logging.WARNING, f"faults on request are active, this is a drill: {drill}")


def stop_cleanly_from_now_on() -> None:
    """uvicorn stops gracefully on these signals and then raises them again: exit with 0 then, and before it runs."""

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        sys.exit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)


def _more_files() -> None:
    """Every node keeps a connection open: raise the soft limit of open files to the hard one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _collect_rarely() -> None:
    """Keep the garbage collector away from what stays: programs, tables, connections.

    With ten thousand connections a full collection takes 170 ms, and by Python's defaults it came every ten seconds:
    that, and not the database, was the latency's 99th percentile. Cycles of requests die in the youngest generation.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 100)
