"""Running the server: sockets, TLS, uvicorn, metrics, and a stop that finishes open requests."""

import asyncio
import gc
import logging
import math
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
from starlette.types import ASGIApp

from preflight.control import bind, faults, guests, nodes
from preflight.control.app import ControlPlane
from preflight.control.bind import Place
from preflight.control.config import ServerConfig
from preflight.control.database import Database
from preflight.control.envelope import Envelope
from preflight.control.faults import Faults
from preflight.control.guard import Door, GuardedServer, Patience
from preflight.control.guests import Cut, Guests
from preflight.control.handlers import Plane
from preflight.control.logs import event
from preflight.control.metrics import Metrics
from preflight.model.host_port import join_host_port

_log = logging.getLogger(__name__)

GRACE_S = 3


class TlsError(Exception):
    """An unusable certificate or key; the text names the file."""


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
        raise TlsError("TLS needs both --tls-cert and --tls-key")
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
    patience: Patience | None = None,
    announce: Callable[[str], None],
) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP; `announce` gets each URL once it answers.

    Raises BindError, TlsError or DatabaseError before anything is served.
    """
    drill, patience = drill or Faults(), patience or Patience()
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
        visitors = _guests(config, metrics)
        _warn(config, listen_on, drill, secure=context is not None)
        plane = Plane(database, config, scope_open=drill.scope_open)
        application = ControlPlane(plane, clock, caps=visitors.caps, patience=patience)
        envelope = Envelope(faults.FaultLayer(application, drill), metrics, clock)
        answering = _uvicorn_config(envelope, patience, context)
        doors = [Door(listener, answering, envelope.stamps, metrics.malformed) for listener in listeners]
        metrics_url = None
        if metrics_on:
            listener = stack.enter_context(bind.listen(metrics_on))
            doors.append(Door(listener, _uvicorn_config(metrics.application, patience)))
            metrics_url = f"http://{_authority(listener)}/metrics"
        server = GuardedServer(doors, lambda: _announce(listeners, context, announce), visitors, patience)
        _serve(server, database=str(database_path.absolute()), metrics=metrics_url)


def _serve(server: GuardedServer, **where: str | None) -> None:
    event(_log, logging.INFO, "starting", **where)
    _collect_rarely()
    asyncio.run(server.serve())
    event(_log, logging.INFO, "stopped")


def _guests(config: ServerConfig, metrics: Metrics) -> Guests:
    def full(because: Cut) -> None:
        event(_log, logging.WARNING, "connections are refused", because=because.value)

    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = guests.caps(descriptors, config.max_connections, config.max_connections_per_client)
    found = Guests(room, metrics.cut, full)
    metrics.watch_connections(lambda: len(found))
    return found


def _uvicorn_config(app: ASGIApp, patience: Patience, context: ssl.SSLContext | None = None) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        interface="asgi3",  # automatic detection mistakes a method for ASGI 2
        lifespan="off",
        ws="none",
        log_config=None,
        log_level="error",  # the metrics count clients that do not speak HTTP
        access_log=False,
        server_header=False,
        date_header=False,  # the envelope sends the server's own clock
        # Trust the client address only from a TLS terminator on this host; from elsewhere the header may be forged.
        proxy_headers=True,
        forwarded_allow_ips=["127.0.0.1", "::1"],
        timeout_keep_alive=math.ceil(patience.idle_s),
        timeout_graceful_shutdown=GRACE_S,
        backlog=bind.BACKLOG,
        ssl_context_factory=(lambda config, default: context) if context else None,
    )


def _announce(
    listeners: Sequence[socket.socket], context: ssl.SSLContext | None, announce: Callable[[str], None]
) -> None:
    scheme = "https" if context else "http"
    for listener in listeners:
        announce(f"{scheme}://{_authority(listener)}")


def _authority(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return join_host_port(host, port)


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


def _warn(config: ServerConfig, listen_on: Sequence[Place], drill: Faults, *, secure: bool) -> None:
    """Warn the operator about dangers of this set-up."""
    for warning in config.warnings:
        event(_log, logging.WARNING, warning)
    if not secure:
        for place in listen_on:
            if bind.exposed(place.address):
                event(
                    _log,
                    logging.WARNING,
                    f"{place} is reachable from outside the overlay and bearers travel in clear text: "
                    "bind to the overlay's address, or give --tls-cert and --tls-key",
                )
    if drill != Faults():
        event(_log, logging.WARNING, f"faults on request are active, this is a drill: {drill}")


def stop_cleanly_from_now_on() -> None:
    """uvicorn stops gracefully on these signals and then raises them again: exit with 0 then, and also before it runs.

    A closed terminal ends the server like SIGTERM, the only signal that uvicorn handles; under nohup it does not.
    """

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        sys.exit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda number, frame: signal.raise_signal(signal.SIGTERM))


def _more_files() -> None:
    """Every node keeps a connection open: raise the soft limit of open files to the hard one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _collect_rarely() -> None:
    """Exclude long-lived objects from garbage collection: code, tables, connections.

    With ten thousand connections a full collection takes 170 ms, and with Python's defaults it ran every ten seconds:
    this, not the database, set the 99th percentile of the latency. The youngest generation frees the cycles of
    requests.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 100)
