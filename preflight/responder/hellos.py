"""The responder's hellos: sent to the peers of the settings, received, and passed on to programs of this host."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence

from preflight.model.peer import Peer
from preflight.net import udp
from preflight.proto.responder.hello import INTERVAL_S, JITTER, HelloError, HelloServer
from preflight.responder.core import Arrival, ResponderCore
from preflight.responder.serve import ServedSocket, listener_towards


class Hellos:
    """A service for hellos that come, and a companion that sends them.

    peers: whose responders get hellos, and where. quiet: whether to send an address nothing for now.
    """

    def __init__(
        self,
        core: ResponderCore,
        key: bytes,
        peers: Sequence[Peer],
        quiet: Callable[[str], bool],
        log: Callable[[str], None],
    ) -> None:
        self._core = core
        self._ports = {peer.address: peer.responder_port for peer in peers}
        self._server = HelloServer(key, self._ports, time.time_ns() // 1_000_000, time.monotonic())
        self._quiet = quiet
        self._log = log
        self._trouble: dict[str, str] = {}

    def handle(self, data: bytes, arrival: Arrival) -> Sequence[bytes]:
        """The service for hellos and questions about them."""
        try:
            return self._server.handle(data, arrival.source[0], arrival.now, arrival.received_ns // 1_000_000)
        except HelloError as error:
            self._core.dropped(error.reason)
            return ()

    async def run(self, listeners: Sequence[ServedSocket]) -> None:
        """Send a hello to one peer after the other, each every few seconds, until cancelled."""
        for address in self._ports:
            self._towards(listeners, address)
        while True:
            for address in self._ports:
                self._greet(listeners, address)
                shorter = JITTER * random.random()  # noqa: S311 - only jitter
                await asyncio.sleep(INTERVAL_S * (1.0 - shorter) / len(self._ports))

    def _towards(self, listeners: Sequence[ServedSocket], address: str) -> ServedSocket | None:
        """The listener towards a peer; None without a route, or where the peer is this node itself."""
        port = self._ports[address]
        listener = listener_towards(listeners, address, port)
        if listener is None:
            return None
        try:
            own = udp.source_address(address, port) if listener.wildcard else listener.address
        except OSError as error:
            self._tell(address, udp.error_name(error.errno or 0))
            return None
        self._server.at(address, own)
        return listener if own != address else None

    def _greet(self, listeners: Sequence[ServedSocket], address: str) -> None:
        listener = self._towards(listeners, address)
        if listener is None or self._quiet(address):
            return
        # Count what waits in the sockets first: a late process must not call its peer silent.
        for each in listeners:
            each.drain()
        now, now_ns = time.monotonic(), time.time_ns()
        heard = self._core.heard(address, now=now, now_ns=now_ns)
        hello = self._server.hello(address, heard, now, now_ns // 1_000_000)
        code = udp.send(listener.socket, hello, (address, self._ports[address]))
        self._tell(address, udp.error_name(code) if code else "")

    def _tell(self, address: str, trouble: str) -> None:
        if trouble and self._trouble.get(address) != trouble:
            self._log(f"no hello leaves for {address}: {trouble}")
        self._trouble[address] = trouble
