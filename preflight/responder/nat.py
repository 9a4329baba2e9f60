"""What the responder knows of NATs: endpoints of its tunnel, and packets after a silence."""

import asyncio
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence

from preflight.model.overlay import OverlayState
from preflight.net import udp
from preflight.proto.stun.nat import NatServer, Promised
from preflight.responder.core import Arrival, ResponderCore
from preflight.responder.serve import ServedSocket, listener_towards

FRESH_S = 2.0
TICK_S = 0.25


class Endpoints:
    """The endpoints that this node's tunnel uses, read on request and not more often than every `FRESH_S`."""

    def __init__(self, read: Callable[[], Awaitable[OverlayState | None]]) -> None:
        self._read = read
        self._wanted = asyncio.Event()
        self._at: float | None = None
        self._endpoints: dict[str, str] = {}

    def endpoint(self, public_key: bytes) -> str | None:
        """See `preflight.proto.stun.nat.TunnelView`."""
        if self._at is None or time.monotonic() - self._at > FRESH_S:
            self._wanted.set()
            return None
        return self._endpoints.get(b64encode(public_key).decode("ascii"), "")

    async def run(self, listeners: Sequence[ServedSocket]) -> None:
        """Read when asked, until cancelled."""
        while True:
            await self._wanted.wait()
            try:
                state = await self._read()
            except Exception:  # whatever goes wrong there: a question must not end the responder
                state = None
            self._endpoints = {peer.key: peer.endpoint for peer in state.peers if peer.endpoint} if state else {}
            self._at = time.monotonic()
            self._wanted.clear()


class NatService:
    """Answers questions about NATs, and keeps its promises."""

    def __init__(self, core: ResponderCore, server: NatServer) -> None:
        self._core = core
        self._server = server
        self._promised = asyncio.Event()

    def handle(self, data: bytes, arrival: Arrival) -> Sequence[bytes]:
        """The service for datagrams with its magic."""
        answers = self._server.handle(data, arrival.source, arrival.now)
        if answers is None:
            self._core.dropped("bad-nat-question")
            return ()
        if self._server.waits():
            self._promised.set()
        return answers

    async def run(self, listeners: Sequence[ServedSocket]) -> None:
        """Send what was promised when it is due, until cancelled."""
        while True:
            await self._promised.wait()
            for name, probes in self._server.due(time.monotonic()):
                self._server.left(name, _send(listeners, name, probes))
            if self._server.waits():
                await asyncio.sleep(TICK_S)
            else:
                self._promised.clear()


def _send(listeners: Sequence[ServedSocket], name: Promised, probes: Sequence[bytes]) -> int:
    """How many left."""
    address, port, _ = name
    listener = listener_towards(listeners, address, port)
    if listener is None:
        return 0
    return sum(udp.send(listener.socket, probe, (address, port)) == 0 for probe in probes)
