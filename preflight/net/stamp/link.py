"""The shell of a STAMP session-sender: one socket towards one peer."""

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from preflight.model.path import StampStats
from preflight.net import udp
from preflight.net.udp import Address, Datagram
from preflight.proto.stamp.sender import SessionSender

MOST_ROUTERS = 32
"""So many senders of ICMP errors are told apart: their addresses may be forged."""


class SessionLink:
    """Runs sessions over a socket, one at a time, and keeps what the error queue says.

    peer: its literal address. to: where packets go; None when the socket is connected. take: is shown every datagram
    first and returns whether it was for it.
    """

    def __init__(
        self,
        link: socket.socket,
        peer: str,
        *,
        to: Address | None = None,
        take: Callable[[Datagram], bool] = lambda datagram: False,
    ) -> None:
        udp.set_ttl(link, udp.FULL_TTL)
        udp.tell_local_address(link)
        self._socket = link
        self._peer = peer
        self._to = to
        self._take = take
        self._arrived = asyncio.Event()
        self.port_unreachable = False
        self.icmp_errors: Counter[str] = Counter()
        self.icmp_from: dict[str, str] = {}

    async def run(self, sender: SessionSender) -> None:
        """Run a session to its end; a peer that says that nobody listens ends it early."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._socket, self._drain, sender)
        try:
            while (at := sender.wake_at(loop.time())) is not None and not self.port_unreachable:
                if sender.due(loop.time()):
                    code = udp.send(self._socket, sender.packet(time.time_ns()), self._to)
                    sender.sent(loop.time(), udp.error_name(code) if code else "")
                else:
                    await self._wait(at - loop.time())
        finally:
            loop.remove_reader(self._socket)
            self._drain(sender)

    def stats(self, sender: SessionSender) -> StampStats:
        """What a session told, with what the error queue said, and what this node's own socket had no room for."""
        address, port = self._socket.getsockname()[:2]
        told = sender.stats()
        return replace(
            told,
            drops=replace(told.drops, here=udp.overflowed(self._socket)),
            port_unreachable=self.port_unreachable,
            icmp_errors=dict(self.icmp_errors),
            icmp_from=dict(self.icmp_from),
            local=(address, port),
        )

    def _note(self, error: udp.QueuedError) -> None:
        who = error.offender or "an unknown router"
        if who not in self.icmp_from and len(self.icmp_from) >= MOST_ROUTERS:
            who = "other routers"
        self.icmp_errors[f"type {error.icmp_type} code {error.icmp_code} from {who}"] += 1
        if who == error.offender:
            self.icmp_from[who] = error.interface_name

    async def _wait(self, seconds: float) -> None:
        """Until something comes in, at most so long."""
        self._arrived.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._arrived.wait()
        except TimeoutError:
            return

    def _drain(self, sender: SessionSender) -> None:
        for datagram in udp.waiting(self._socket):
            if not self._take(datagram):
                sender.receive(datagram.data, datagram.received_ns)
        for error in udp.receive_errors(self._socket):
            if error.port_unreachable and error.offender == self._peer:
                self.port_unreachable = True
            elif error.origin != udp.ORIGIN_LOCAL:
                self._note(error)
        self._arrived.set()
