"""The responder's traces: orders from datagrams, carried out next to the listeners, reported through them."""

import asyncio
from collections.abc import Callable, Sequence

from preflight.model.icmp import Trace
from preflight.model.kernel import NeedsPlatform
from preflight.net import udp
from preflight.net.icmp.traceroute import trace
from preflight.net.responder.return_path import ReturnPathView
from preflight.proto.responder.reverse_trace import MAX_HOPS, Order, TraceServer
from preflight.responder.core import Arrival
from preflight.responder.serve import ServedSocket

CONCURRENT = 4
HOP_TIMEOUT_S = 0.5


class Tracer:
    """A service of the responder and its companion. refused: called for what is dropped, with the reason."""

    def __init__(self, server: TraceServer, refused: Callable[[str, str, float], None]) -> None:
        self._server = server
        self._refused = refused
        self._ordered = asyncio.Event()

    def serve(self, data: bytes, arrival: Arrival) -> Sequence[bytes]:
        """The service: what to answer at once."""
        assert arrival.local is not None  # a listener sets it for every datagram
        answers, refusal = self._server.handle(data, arrival.source, arrival.local[0], arrival.ttl, arrival.now)
        if refusal:
            self._refused(arrival.source[0], refusal, arrival.now)
        elif not answers:
            self._ordered.set()
        return answers

    async def run(self, listeners: Sequence[ServedSocket]) -> None:
        """The companion: a few workers, until cancelled."""
        workers = [asyncio.create_task(self._work(listeners)) for _ in range(CONCURRENT)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self, listeners: Sequence[ServedSocket]) -> None:
        while True:
            order = self._server.next()
            if order is None:
                self._ordered.clear()
                await self._ordered.wait()
            else:
                await self._carry_out(order, listeners)

    async def _carry_out(self, order: Order, listeners: Sequence[ServedSocket]) -> None:
        """Trace from the address that was asked, and report what this host's kernel says about the path."""
        address, _ = order.source
        view = ReturnPathView(order.local, address)
        try:
            hops = await trace(address, max_hops=MAX_HOPS, timeout_s=HOP_TIMEOUT_S, source=order.local)
        except (NeedsPlatform, OSError):  # a failed trace must not end the responder
            hops = Trace(())
        report = self._server.report(order, hops, view.look())
        _listener_on(listeners, order.local).send(report, order.source, order.local)


def _listener_on(listeners: Sequence[ServedSocket], local: str) -> ServedSocket:
    """The listener that a datagram to this address came to: its own before a wildcard of the family."""
    family = udp.family_of(local)
    candidates = [listener for listener in listeners if listener.socket.family == family]
    return next((listener for listener in candidates if listener.address == local), candidates[0])
