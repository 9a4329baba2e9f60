"""Faults on request, for tests and drills: a small layer that misbehaves on demand. Never active by default."""

import asyncio
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from preflight.control.routes import PREFIX

DEFAULT_THROTTLED = 2
QUIET_S = 1.0


class FaultError(Exception):
    """An unknown fault, or one with a wrong value; the text lists the known ones."""


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong.

    heartbeat_500: heartbeats are answered with 500. throttle: the number of first requests of each client to each
    Populi route that get 429. hang: requests are accepted and never answered. unhealthy: /health is answered with 500.
    clock_skew_s: the server's clock is off by this many seconds. slow_ms: every answer is late by this much.
    scope_open: foreign scopes are accepted. crash: the first good heartbeat takes effect, but instead of an answer the
    process kills itself by SIGKILL, after a second without other requests: a drill affects one node, not its
    neighbours.
    """

    heartbeat_500: bool = False
    throttle: int = 0
    hang: bool = False
    unhealthy: bool = False
    clock_skew_s: int = 0
    slow_ms: int = 0
    scope_open: bool = False
    crash: bool = False


_FIELDS: dict[str, tuple[str, int | None, str]] = {
    "heartbeat-500": ("heartbeat_500", True, ""),
    "throttle": ("throttle", DEFAULT_THROTTLED, "COUNT"),
    "hang": ("hang", True, ""),
    "unhealthy": ("unhealthy", True, ""),
    "clock-skew": ("clock_skew_s", None, "SECONDS"),
    "slow": ("slow_ms", None, "MILLISECONDS"),
    "scope-open": ("scope_open", True, ""),
    "crash": ("crash", True, ""),
}
"""Name on the command line: field, its default value, and the unit of an optional value."""


def parse(names: tuple[str, ...]) -> Faults:
    """The requested faults, such as `hang` or `slow=600`. Raises FaultError."""
    faults = Faults()
    for name in names:
        word, given, text = name.partition("=")
        field, value, unit = _FIELDS.get(word, ("", None, ""))
        if given and unit and re.fullmatch(r"-?\d{1,9}" if word == "clock-skew" else r"\d{1,9}", text):
            value = int(text)
        elif given or value is None:
            raise FaultError(f"there is no fault {name!r}; known faults: {', '.join(_spellings())}")
        change: dict[str, Any] = {field: value}
        faults = replace(faults, **change)
    return faults


def _spellings() -> list[str]:
    """The syntax of each fault."""
    bare = [word for word, (_, value, _) in _FIELDS.items() if value is not None]
    return bare + [f"{word}={unit}" for word, (_, _, unit) in _FIELDS.items() if unit]


class FaultLayer:
    """ASGI middleware that answers instead of the application if a fault says so."""

    def __init__(self, app: ASGIApp, faults: Faults) -> None:
        self._app = app
        self._faults = faults
        self._requests: Counter[tuple[str, str]] = Counter()
        self._last_request = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: one request."""
        faults = self._faults
        self._last_request = time.monotonic()
        if faults.slow_ms:
            await asyncio.sleep(faults.slow_ms / 1000)
        if faults.hang:
            await _until_disconnect(receive)
            return
        if faults.crash and scope["path"] == f"{PREFIX}/heartbeat":
            await self._crash(scope, receive, send)
            return
        if (faults.unhealthy and scope["path"] == "/health") or (
            faults.heartbeat_500 and scope["path"] == f"{PREFIX}/heartbeat"
        ):
            await PlainTextResponse("fault on request", 500)(scope, receive, send)
        elif self._throttles(scope):
            await PlainTextResponse("too many requests", 429, {"retry-after": "1"})(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _crash(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Die after an accepted heartbeat; answer refused ones."""
        answer: list[Message] = []

        async def keep(message: Message) -> None:
            answer.append(message)

        await self._app(scope, receive, keep)
        if answer[0]["status"] != HTTPStatus.OK:
            for message in answer:
                await send(message)
            return
        while (left := self._last_request + QUIET_S - time.monotonic()) > 0:  # noqa: ASYNC110 - silence is not an event
            await asyncio.sleep(left)
        os.kill(os.getpid(), signal.SIGKILL)

    def _throttles(self, scope: Scope) -> bool:
        """Counted for each client and route, so that one client's polling does not use up another's refusals."""
        if not self._faults.throttle or not scope["path"].startswith(PREFIX):
            return False
        key = (scope["client"][0] if scope["client"] else "", scope["path"])
        self._requests[key] += 1
        return self._requests[key] <= self._faults.throttle


def skewed(now_ms: Callable[[], int], seconds: int) -> Callable[[], int]:
    """A clock that is `seconds` ahead (behind, if negative)."""
    return lambda: now_ms() + seconds * 1000


async def _until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
