"""Asking a peer's responder through the control plane's mailbox: deliver a request, wait for its result."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from preflight.model.control import ControlError, MailboxRow
from preflight.model.path import NoMailbox
from preflight.proto.control import backoff
from preflight.proto.responder.mailbox_probe import RESULT_TYPE, PayloadError, ProbeResult, decode_result

if TYPE_CHECKING:
    from preflight.net.control.client import ControlClient

POLL_S = 0.25
"""Only for the seconds in which somebody waits for a result."""
LEFTOVER_MS = 600_000
"""Results of this age are removed if nobody waits for them any more."""


class UnavailableError(Exception):
    """The mailbox cannot be used; `why` for judges, the text for people."""

    def __init__(self, why: NoMailbox, detail: str) -> None:
        super().__init__(detail)
        self.why: NoMailbox = why
        self.detail = detail


class ResultBox:
    """This node's mailbox, polled once for all that wait for a result."""

    def __init__(self, control: "ControlClient", agent_id: str, key: bytes | None) -> None:
        self._control = control
        self._agent_id = agent_id
        self._key = key
        self._waiting: dict[bytes, asyncio.Future[ProbeResult]] = {}
        self._poller: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def expecting(self, nonce: bytes) -> AsyncGenerator[asyncio.Future[ProbeResult], None]:
        """A future for the result with this nonce; it fails with UnavailableError when the mailbox cannot be read."""
        future = self._waiting[nonce] = asyncio.get_running_loop().create_future()
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll())
        try:
            yield future
        finally:
            self._waiting.pop(nonce, None)
            future.cancel()
            if not self._waiting:
                await self._stop()

    async def _stop(self) -> None:
        if self._poller is None:
            return
        self._poller.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._poller
        self._poller = None

    async def _poll(self) -> None:
        attempt = 0
        while True:
            try:
                await self._sort(await self._control.inbox(self._agent_id))
            except ControlError as error:
                attempt += 1
                if _final(error):
                    self._fail(unavailable(error, "read its mailbox", "worker's"))
                    return
                wait_s = backoff.delay_s(attempt, error.retry_after_s, random.random())  # noqa: S311 - only jitter
                await asyncio.sleep(max(wait_s, POLL_S))
            else:
                attempt = 0
                await asyncio.sleep(POLL_S)

    async def _sort(self, rows: list[MailboxRow]) -> None:
        """Hand results to the callers that wait for them, and leave everything else in the mailbox."""
        for row in rows:
            if row.message_type != RESULT_TYPE:
                continue
            try:
                result = decode_result(row.payload, self._key)
            except PayloadError:
                result = None
            future = self._waiting.get(result.nonce) if result else None
            if future is None and time.time_ns() // 1_000_000 - row.created_unix_ms < LEFTOVER_MS:
                continue
            try:
                await self._control.ack(self._agent_id, row.id)
            finally:
                # Only now: the caller may end the polling as soon as the result is here.
                if result and future and not future.done():
                    future.set_result(result)

    def _fail(self, reason: UnavailableError) -> None:
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(reason)


def _final(error: ControlError) -> bool:
    """Whether asking again is useless: no URL, or a refusal that is not about load."""
    return error.kind in ("no-url", "tls", "exposed") or (
        error.kind == "status" and error.status in (400, 401, 403, 404, 405, 422)
    )


def unavailable(error: ControlError, deed: str, role: str) -> UnavailableError:
    """What a ControlError means for a question by mailbox."""
    if error.kind == "no-url":
        return UnavailableError("no-url", error.message)
    if error.status == 403:
        return UnavailableError("role", f"this node's token may not {deed}: that needs the {role} or the full token")
    return UnavailableError("control", error.message)
