"""Prometheus metrics of the server, in a separate registry."""

import asyncio
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from preflight.control.guests import Cut
from preflight.control.routes import ROUTES

_PATHS = frozenset(route.path for route in ROUTES) | {"/openapi.json"}
_METHODS = frozenset({"GET", "HEAD", "POST"})
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_WRITES = (1, 2, 5, 10, 20, 50, 100, 200, 512)


class Metrics:
    """The metrics. Labels come from closed sets, so that clients cannot create series."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "populi_http_requests", "Requests answered.", ("route", "method", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "populi_http_request_seconds",
            "Time from request to answer.",
            ("route",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._malformed = Counter(
            "populi_http_malformed", "Connections that did not speak HTTP.", registry=self.registry
        )
        self._cut = Counter(
            "populi_http_connections_cut",
            "Connections refused or ended by the server.",
            ("because",),
            registry=self.registry,
        )
        self._connections = Gauge("populi_http_connections", "Open connections.", registry=self.registry)
        self._commits = Histogram(
            "populi_commit_writes", "Writes that shared one commit.", buckets=_WRITES, registry=self.registry
        )
        self._nodes = Gauge("populi_nodes", "Registered nodes.", registry=self.registry)

    def request(self, path: str, method: str, status: int, seconds: float) -> None:
        """Count one request."""
        route = path if path in _PATHS else "other"
        self._requests.labels(route, method if method in _METHODS else "other", str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def malformed(self) -> None:
        """Count bytes that were not an HTTP request."""
        self._malformed.inc()

    def cut(self, because: Cut) -> None:
        """Count a connection that was refused or ended."""
        self._cut.labels(because.value).inc()

    def watch_connections(self, count: Callable[[], int]) -> None:
        """Ask `count` for the number of connections at every scrape."""
        self._connections.set_function(count)

    def commit(self, writes: int) -> None:
        """Count one commit with its number of writes."""
        self._commits.observe(writes)

    def watch_nodes(self, count: Callable[[], int]) -> None:
        """Ask `count` for the number of nodes at every scrape."""
        self._nodes.set_function(count)

    async def application(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: `GET /metrics`, in the requested format. Counting nodes waits for the database: in a thread."""
        if scope["path"] != "/metrics":
            await PlainTextResponse("not found", 404)(scope, receive, send)
            return
        encoder, content_type = choose_encoder(Request(scope).headers.get("accept", ""))
        text = await asyncio.to_thread(encoder, self.registry)
        await Response(text, media_type=content_type)(scope, receive, send)
