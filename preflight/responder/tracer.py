"""The responder's traces: orders from datagrams, carried out beside the listeners, reported through them."""

import asyncio
from collections.abc import Callable, Sequence

from preflight.model.icmp import Trace
from preflight.model.kernel import NeedsPlatform
from preflight.net import udp
from preflight.net.traceroute import trace
from preflight.net.wayback import WayBackView
from preflight.proto.trace import MAX_HOPS, Order, TraceServer
from preflight.responder.core import Arrival
from preflight.responder.serve import Listener

CONCURRENT = 4
HOP_TIMEOUT_S = 0.5


class Tracer:
    """A service of the responder and its companion. refused: is told what is dropped, and why."""

    def __init__(self, server: TraceServer, refused: Callable[[str, str, float], None]) -> None:
        self._server = server
        self._refused = refused
        self._ordered = asyncio.Event()

    def serve(self, data: bytes, arrival: Arrival) -> Sequence[bytes]:
        """The service: what to answer at once."""
        answers, refusal = self._server.handle(data, arrival.source, arrival.ttl, arrival.now)
        if refusal:
            self._refused(arrival.source[0], refusal, arrival.now)
        elif not answers:
            self._ordered.set()
        return answers

    async def run(self, listeners: Sequence[Listener]) -> None:
        """The companion: a few workers, until cancelled."""
        workers = [asyncio.create_task(self._work(listeners)) for _ in range(CONCURRENT)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self, listeners: Sequence[Listener]) -> None:
        while True:
            order = self._server.next()
            if order is None:
                self._ordered.clear()
                await self._ordered.wait()
            else:
                await self._carry_out(order, listeners)

    async def _carry_out(self, order: Order, listeners: Sequence[Listener]) -> None:
        """Trace from the address that was asked, and tell what this host's kernel says about the way."""
        address, _ = order.source
        listener, local = _asked(listeners, order)
        view = WayBackView(local, address)
        try:
            hops = await trace(address, max_hops=MAX_HOPS, timeout_s=HOP_TIMEOUT_S, source=local)
        except NeedsPlatform:
            hops = Trace(())
        listener.send(self._server.report(order, hops, await view.look()), order.source, local)


def _asked(listeners: Sequence[Listener], order: Order) -> tuple[Listener, str]:
    """The listener that an order came to, and the address that it was sent to, as far as both are known.

    Where that address is on none of them, as behind a translation of addresses, the first of its family has to do.
    """
    family = udp.family_of(order.source[0])
    candidates = [listener for listener in listeners if listener.socket.family == family]
    for listener in candidates:
        if order.to is not None and (listener.wildcard or listener.address == order.to):
            return listener, order.to
    return candidates[0], candidates[0].address
