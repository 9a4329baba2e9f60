"""The responder's side of asking by mailbox: claim requests, have probes sent, deliver what is known."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Protocol

from preflight.model.control import ControlError, MailboxRow
from preflight.model.observed import PeerSight
from preflight.model.path import PeerReport
from preflight.net import udp
from preflight.net.control.client import ControlClient
from preflight.net.responder.return_path import ReturnPathView
from preflight.proto.control import backoff
from preflight.proto.responder.mailbox_probe import (
    REQUEST_TYPE,
    RESULT_TYPE,
    ProbeRequest,
    ProbeResult,
    encode_result,
    probe,
)
from preflight.responder.core import ResponderCore
from preflight.responder.requests import Order, Requests
from preflight.responder.serve import ServedSocket, listener_towards

POLL_S = 1.0
DROPS_WITHIN_S = 1.5
"""How long to wait until a filter that refuses the asker's packets drops one: they come every quarter of a second."""
REFUSALS = (400, 401, 403, 422)
"""Repeating would not help; anything else may be load."""

SendProbes = Callable[[ProbeRequest], Awaitable[tuple[int, dict[str, int]]]]
"""Sends the probes of a request; how many left, and errno names of the others."""


class Looking(Protocol):
    """Observers of one asker's packets, which look from when they were made."""

    async def finish(self, sent: int) -> PeerSight:
        """What they saw, once they have seen enough. sent: probes that left for the asker meanwhile."""


Look = Callable[[ProbeRequest], AbstractAsyncContextManager[Looking | None]]
"""Begins to look; None where there is nothing to look at, or too many ask."""


@asynccontextmanager
async def blind(request: ProbeRequest) -> AsyncGenerator[None, None]:
    """Looks at nothing: what a responder without `--observe` does."""
    yield None


class Mailbox:
    """Polls one mailbox, at most once a second; errors slow it down and are logged when they change."""

    def __init__(
        self, control: ControlClient, agent_id: str, key: bytes | None, core: ResponderCore, log: Callable[[str], None]
    ) -> None:
        self._look: Look = blind
        self._control = control
        self._agent_id = agent_id
        self._key = key
        self._requests = Requests(core, key, agent_id, time.monotonic())
        self._log = log
        self._trouble = ""
        self._undelivered: dict[int, tuple[str, ProbeResult]] = {}

    async def run(self, send_probes: SendProbes, look: Look = blind) -> None:
        """Poll until cancelled. look: at the packets of who asks with a signature."""
        attempt = 0
        self._look = look
        try:
            while True:
                try:
                    await self._turn(send_probes)
                except ControlError as error:
                    attempt += 1
                    self._say(f"mailbox {self._agent_id}: {error.message}")
                    wait_s = backoff.delay_s(attempt, error.retry_after_s, random.random())  # noqa: S311 - only jitter
                else:
                    attempt, wait_s = 0, 0.0
                    self._say("")
                await asyncio.sleep(max(wait_s, POLL_S))
        finally:
            await self._control.aclose()

    async def _turn(self, send_probes: SendProbes) -> None:
        """Everything that waits, oldest first, within the rate."""
        rows = await self._control.inbox(self._agent_id)
        for row in sorted(rows, key=lambda row: row.id):
            if row.message_type != REQUEST_TYPE:
                continue
            if not self._requests.ready(time.monotonic()):
                return
            await self._serve(row, send_probes)

    async def _serve(self, row: MailboxRow, send_probes: SendProbes) -> None:
        """Answer one request. If load delays its result, the request stays in the mailbox, the result here."""
        if (waiting := self._undelivered.get(row.id)) is None:
            order = self._requests.order(row.payload, row.sender, time.time_ns() // 1_000_000)
            waiting = (order.request.sender, await self._result(order, send_probes)) if order else None
        if waiting is not None:
            self._undelivered[row.id] = waiting
            await self._deliver(*waiting)
            del self._undelivered[row.id]
        await self._control.ack(self._agent_id, row.id)

    async def _result(self, order: Order, send_probes: SendProbes) -> ProbeResult:
        request = order.request
        if order.refusal:
            return ProbeResult(request.nonce, refusal=order.refusal)
        view = ReturnPathView(request.to, request.address) if request.to else None
        async with (self._look if order.signed else blind)(request) as looking:
            sent, errors = await send_probes(request)
            sight = await looking.finish(sent) if looking else PeerSight()
        report = self._requests.report(request, sent, errors, now=time.monotonic(), now_ns=time.time_ns())
        report = replace(report, observed=sight.observed, tunnel=sight.tunnel)
        return ProbeResult(request.nonce, await _with_way(report, view) if view else report)

    async def _deliver(self, receiver: str, result: ProbeResult) -> None:
        try:
            await self._control.deliver(
                sender=self._agent_id,
                receiver=receiver,
                message_type=RESULT_TYPE,
                payload=encode_result(result, self._key),
                idempotency_key=f"result-{result.nonce.hex()}",
            )
        except ControlError as error:
            if error.status not in REFUSALS:
                raise
            self._say(f"mailbox {receiver}: {error.message}; answering needs the submitter's or the full token")

    def _say(self, trouble: str) -> None:
        if trouble and trouble != self._trouble:
            self._log(trouble)
        self._trouble = trouble


async def send_probes(listeners: Sequence[ServedSocket], request: ProbeRequest) -> tuple[int, dict[str, int]]:
    """Send the probes that a request asks for; how many left, and why the others did not."""
    listener = listener_towards(listeners, request.address, request.port)
    if listener is None:
        return 0, {"EAFNOSUPPORT": request.count}
    errors: Counter[str] = Counter()
    for number in range(request.count):
        if number:
            await asyncio.sleep(request.interval_ms / 1000)
        code = udp.send(listener.socket, probe(request.nonce, number), (request.address, request.port))
        if code:
            errors[udp.error_name(code)] += 1
    return request.count - errors.total(), dict(errors)


async def _with_way(report: PeerReport, view: ReturnPathView) -> PeerReport:
    """Wait for drops only where the asker's packets do not arrive."""
    arrives = report.received or report.elsewhere or report.refused
    return replace(report, way=view.look() if arrives else await view.look_for_drops(DROPS_WITHIN_S))
