"""The responder as the remote end of load: a TCP listener next to each UDP socket, for askers who have the key.

Nothing of it is there unless somebody wants it (`--load`). One flow runs at a time, within `Limits` of bytes and
seconds. To an asker who has not shown the key nothing goes but a challenge of 20 bytes.
"""

import asyncio
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from preflight.model.host_port import join_host_port
from preflight.model.load import Counted
from preflight.net import udp
from preflight.net.load.talk import ABORT, READ_BYTES, TICK_S, exactly, received
from preflight.proto.core import Address
from preflight.proto.load import wire
from preflight.proto.load.gate import Gate, Limits
from preflight.proto.load.meter import Meter
from preflight.proto.load.pacing import Pacer
from preflight.responder.core import ResponderCore, Taker
from preflight.responder.serve import ServedSocket

TALK_S = 3.0
"""How long somebody who has connected may take to ask."""
BEGIN_S = 3.0
"""How long an asker may take to begin with its flow."""
MOST_TALKING = 16
PIECE_BYTES = 64 * 1024
LATE_S = 1.0
"""How long datagrams of a flow that is over are still taken for its own: they waited in a queue on the way."""


@dataclass
class UdpFlow:
    """The datagrams of one flow, as the listeners hand them over. place: where the asker's UDP socket is."""

    session: bytes
    meter: Meter = field(default_factory=Meter)
    place: "Address | None" = None
    known: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, data: bytes, source: Address) -> bool:
        """Whether a datagram is of this flow."""
        if not wire.is_of(self.session, data):
            return False
        self.meter.add(len(data), time.monotonic())
        self.place = source
        self.known.set()
        return True


@dataclass
class _Talk:
    """One flow that was granted: its connection, the listener next to it, and what was granted."""

    link: socket.socket
    listener: ServedSocket
    request: wire.Request
    grant: wire.Grant
    used: int = 0


class LoadService:
    """Takes load from askers who have the key."""

    def __init__(self, core: ResponderCore, key: bytes, limits: Limits, log: Callable[[str], None]) -> None:
        self._core, self._key, self._log = core, key, log
        self._gate = Gate(limits, time.monotonic())
        self._block = os.urandom(PIECE_BYTES)  # what a tunnel that compresses cannot make smaller
        self._talking: set[asyncio.Task[None]] = set()

    async def run(self, listeners: Sequence[ServedSocket]) -> None:
        """Listen next to each UDP socket, until cancelled."""
        opened = [(link, each) for each in listeners if (link := self._open(each)) is not None]
        accepting = [asyncio.ensure_future(self._accept(link, listener)) for link, listener in opened]
        try:
            await asyncio.Event().wait()
        finally:
            tasks = [*accepting, *self._talking]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for link, _ in opened:
                link.close()

    def _open(self, listener: ServedSocket) -> "socket.socket | None":
        """A TCP socket at the place of a UDP one; without it the responder does everything else."""
        place = join_host_port(listener.address, listener.port)
        link = socket.socket(listener.socket.family, socket.SOCK_STREAM)
        try:
            link.setblocking(False)
            link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if link.family == socket.AF_INET6:
                link.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            link.bind((listener.address, listener.port))
            link.listen(MOST_TALKING)
        except OSError as error:
            link.close()
            self._log(f"takes no load on TCP {place}: {error.strerror}")
            return None
        self._log(f"takes load on TCP {place}")
        return link

    async def _accept(self, listening: socket.socket, listener: ServedSocket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            link, source = await loop.sock_accept(listening)
            if len(self._talking) >= MOST_TALKING:
                link.close()
                continue
            task = asyncio.ensure_future(self._talk(link, source, listener))
            self._talking.add(task)
            task.add_done_callback(self._talking.discard)

    async def _talk(self, link: socket.socket, source: Address, listener: ServedSocket) -> None:
        """The whole of one connection. What its other end or the network does to it ends it, and nothing else."""
        with link:
            try:
                asked = await asyncio.wait_for(self._asked(link), TALK_S)
                if asked is not None:
                    await self._answer(link, source, listener, asked)
            except (TimeoutError, OSError, asyncio.IncompleteReadError):
                self._core.dropped("load-ended")

    async def _asked(self, link: socket.socket) -> "wire.Request | None":
        loop, nonce = asyncio.get_running_loop(), os.urandom(wire.NONCE_BYTES)
        link.setblocking(False)
        await loop.sock_sendall(link, wire.challenge(nonce))
        asked = wire.read_request(await exactly(link, wire.REQUEST_BYTES), nonce, self._key)
        if asked is None:
            self._core.dropped("bad-load")
        return asked

    async def _answer(self, link: socket.socket, source: Address, listener: ServedSocket, asked: wire.Request) -> None:
        session = os.urandom(wire.SESSION_BYTES)
        grant = self._gate.ask(asked, session, time.monotonic())
        talk = _Talk(link, listener, asked, grant)
        try:
            await asyncio.get_running_loop().sock_sendall(link, wire.grant(grant, asked.nonce, self._key))
            if grant.refusal is None:
                await self._flow(talk, source[0])
        finally:
            if grant.refusal is None:
                self._gate.over(talk.used)

    async def _flow(self, talk: _Talk, asker: str) -> None:
        kind = talk.request.kind
        if kind == "tcp-up":
            await self._receive(talk)
        elif kind == "tcp-down":
            await self._send(talk)
        else:
            flow = UdpFlow(talk.grant.session)
            take = self._core.flows[asker] = flow.take
            try:
                await (self._count(talk, flow) if kind == "udp-up" else self._pour(talk, flow))
            finally:
                asyncio.get_running_loop().call_later(LATE_S, self._forget, asker, take)

    def _forget(self, asker: str, take: Taker) -> None:
        if self._core.flows.get(asker) is take:
            del self._core.flows[asker]

    async def _receive(self, talk: _Talk) -> None:
        """Count what the asker sends, report, and take what still comes until it hangs up."""
        meter, buffer, amount = Meter(), bytearray(READ_BYTES), talk.grant.amount
        ends = time.monotonic() + BEGIN_S
        while meter.bytes < amount.bytes and (left := ends - time.monotonic()) > 0:
            size = await received(talk.link, buffer, left)
            if not size:
                break
            if not meter.bytes:
                ends = time.monotonic() + amount.seconds
            meter.add(size, time.monotonic())
        talk.used = meter.bytes
        await self._report(talk, meter.counted(), 0)
        ends = time.monotonic() + TALK_S
        while (left := ends - time.monotonic()) > 0 and await received(talk.link, buffer, left):
            pass

    async def _send(self, talk: _Talk) -> None:
        """Send until the asker hangs up, or what was granted is over."""
        loop, link, amount = asyncio.get_running_loop(), talk.link, talk.grant.amount
        ends = time.monotonic() + amount.seconds + BEGIN_S
        try:
            while talk.used < amount.bytes and (left := ends - time.monotonic()) > 0:
                piece = self._block[: amount.bytes - talk.used]
                await asyncio.wait_for(loop.sock_sendall(link, piece), left)
                talk.used += len(piece)
        except TimeoutError:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
            return
        link.shutdown(socket.SHUT_WR)
        await received(link, bytearray(1), TALK_S)

    async def _count(self, talk: _Talk, flow: UdpFlow) -> None:
        """Count the asker's datagrams until it says by TCP that it has sent all, and report."""
        dropped = udp.overflowed(talk.listener.socket)
        await received(talk.link, bytearray(1), talk.grant.amount.seconds + BEGIN_S)
        talk.used = flow.meter.bytes
        overflowed = udp.overflowed(talk.listener.socket) - dropped
        await self._report(talk, flow.meter.counted(max(overflowed, 0)), 0)

    async def _pour(self, talk: _Talk, flow: UdpFlow) -> None:
        """Send datagrams to the socket from which the asker has sent one with the session, and report their number."""
        await asyncio.wait_for(flow.known.wait(), BEGIN_S)
        assert flow.place is not None
        local = talk.link.getsockname()[0]
        pacer, number = Pacer(talk.grant.amount, time.monotonic()), 0
        while (due := pacer.due(time.monotonic())) is not None:
            for _ in range(due):
                talk.listener.send(wire.datagram(talk.grant.session, number), flow.place, local)
                number += 1
            if await received(talk.link, bytearray(1), TICK_S) is not None:
                break  # it has hung up
        talk.used = number * wire.DATAGRAM_BYTES
        await self._report(talk, Counted(packets=number), talk.used)

    async def _report(self, talk: _Talk, counted: Counted, sent_bytes: int) -> None:
        said = wire.report(wire.Report(counted, sent_bytes), talk.request.nonce, self._key)
        await asyncio.get_running_loop().sock_sendall(talk.link, said)
