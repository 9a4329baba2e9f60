"""Asking a peer's responder to trace the way back to this node: a thin shell around its core of the same name."""

import asyncio
import os
import socket

from preflight.model.peer import Peer
from preflight.model.return_path import ReverseTraceroute
from preflight.net import udp
from preflight.proto.responder.reverse_trace import TOKEN_BYTES, TraceQuestion, hops_crossed


async def ask_for_trace(peer: Peer, key: bytes | None) -> ReverseTraceroute | None:
    """What the responder told; None where none answers, or none that traces. What the network does is data."""
    try:
        link = udp.open_towards(peer.address, peer.responder_port)
    except OSError:
        return None
    with link:
        udp.set_ttl(link, udp.FULL_TTL)
        return await _Conversation(link, key).run()


class _Conversation:
    """One question over one connected socket."""

    def __init__(self, link: socket.socket, key: bytes | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._link = link
        self._question = TraceQuestion(os.urandom(TOKEN_BYTES), key, self._loop.time())
        self._arrived = asyncio.Event()
        self._ttl: int | None = None

    async def run(self) -> ReverseTraceroute | None:
        self._loop.add_reader(self._link, self._read)
        try:
            while (at := self._question.wake_at()) is not None:
                for datagram in self._question.datagrams(self._loop.time()):
                    udp.send(self._link, datagram)
                await self._wait(at - self._loop.time())
        finally:
            self._loop.remove_reader(self._link)
        answer = self._question.answer
        if answer is None:
            return None
        here = str(self._link.getsockname()[0])
        return ReverseTraceroute(here, answer.trace, answer.way, hops_crossed(answer.ttl), hops_crossed(self._ttl))

    async def _wait(self, seconds: float) -> None:
        """Until something comes in, at most so long."""
        self._arrived.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._arrived.wait()
        except TimeoutError:
            pass

    def _read(self) -> None:
        for datagram in udp.waiting(self._link):
            if self._question.receive(datagram.data, self._loop.time()):
                self._ttl = datagram.ttl
        if any(error.port_unreachable for error in udp.receive_errors(self._link)):
            self._question.refused()
        self._arrived.set()
