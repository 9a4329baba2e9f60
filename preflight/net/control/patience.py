"""Repeat what a server says to ask again later."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from preflight.model.control import ControlError
from preflight.model.event import Tell, silent
from preflight.proto.control.backoff import RETRIABLE_STATUS

T = TypeVar("T")

ATTEMPTS = 3
MOST_WAITED_S = 2.0


async def patiently(call: Callable[[], Awaitable[T]], tell: Tell = silent) -> T:
    """Repeat a call a few times if the server says `later`. Raises the last ControlError."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return await call()
        except ControlError as error:
            if error.status not in RETRIABLE_STATUS or attempt == ATTEMPTS:
                raise
            wait_s = min(MOST_WAITED_S, error.retry_after_s or 1.0)
            tell(time.monotonic(), "request-repeats", attempt=attempt, http_status=error.status, wait_s=wait_s)
            await asyncio.sleep(wait_s)
    raise AssertionError("the last attempt returns or raises")
