"""The headers of every response, and the counters and log line of every request, including drills."""

import logging
import re
import time
import uuid
from collections.abc import Callable
from email.utils import formatdate

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from preflight.control.logs import event
from preflight.control.metrics import Metrics
from preflight.control.routes import FEATURES

_log = logging.getLogger(__name__)

ECHOED = re.compile(rb"[!-~]{1,128}")
"""A request id that is returned unchanged: printable ASCII, and short."""


class Envelope:
    """Outermost ASGI layer: `x-populi-feature`, `x-request-id` and `Date` on every response."""

    def __init__(self, app: ASGIApp, metrics: Metrics, now_ms: Callable[[], int]) -> None:
        self._app = app
        self._metrics = metrics
        self._now_ms = now_ms
        self._features = ",".join(FEATURES).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: one request."""
        started = time.perf_counter()
        request_id = _request_id(scope["headers"])
        status = 0

        async def stamped(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).raw.extend(self._stamps(request_id))
            await send(message)

        await self._app(scope, receive, stamped)
        seconds = time.perf_counter() - started
        self._metrics.request(scope["path"], scope["method"], status, seconds)
        event(
            _log,
            logging.DEBUG,
            "request",
            method=scope["method"],
            path=scope["path"],
            status=status,
            duration_ms=round(seconds * 1000, 3),
            request_id=request_id.decode("latin-1"),
            client=scope["client"][0] if scope["client"] else None,
        )

    def stamps(self) -> list[tuple[bytes, bytes]]:
        """The headers of an answer to bytes that did not form a request."""
        return self._stamps(_new_id())

    def _stamps(self, request_id: bytes) -> list[tuple[bytes, bytes]]:
        return [
            (b"x-populi-feature", self._features),
            (b"date", formatdate(self._now_ms() / 1000, usegmt=True).encode()),
            (b"x-request-id", request_id),
        ]


def _request_id(headers: list[tuple[bytes, bytes]]) -> bytes:
    """The client's id, or a new one."""
    sent = next((value for name, value in headers if name == b"x-request-id"), b"")
    return sent if ECHOED.fullmatch(sent) else _new_id()


def _new_id() -> bytes:
    return str(uuid.uuid4()).encode()
