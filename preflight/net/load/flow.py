"""One flow of load between this node and a peer's responder: asked for by TCP, run, counted by its receiver."""

import asyncio
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from preflight.model.event import Tell
from preflight.model.load import FailedFlow, Flow, FlowKind, NoFlow
from preflight.model.peer import Peer
from preflight.net import udp
from preflight.net.load.talk import ABORT, READ_BYTES, TICK_S, exactly, received
from preflight.proto.load import wire
from preflight.proto.load.meter import Meter
from preflight.proto.load.pacing import Pacer
from preflight.proto.load.wire import Amount, Grant, Report, Request

CONNECT_S = 3.0
ANSWER_S = 3.0
REPORT_S = 5.0
"""How long after a flow its report may take: it waits behind what the flow left in queues."""
PIECE_BYTES = 64 * 1024
HERE_S = 0.1
"""Between two datagrams that say where this node's UDP socket is, until the flow comes."""


class NoFlowError(Exception):
    """There is no flow, and why."""

    def __init__(self, why: NoFlow, detail: str = "") -> None:
        super().__init__(why)
        self.why: NoFlow = why
        self.detail = detail


async def run(peer: Peer, kind: FlowKind, amount: Amount, key: bytes, tell: Tell) -> Flow | FailedFlow:
    """One flow, or why there is none. What the network and the peer do is data."""
    tell(time.monotonic(), "flow-asked", kind=kind, seconds=amount.seconds, bytes=amount.bytes)
    try:
        with _connection(peer) as link:
            await _connect(link, peer)
            request = Request(kind, amount, secrets.token_bytes(wire.NONCE_BYTES))
            grant = await _granted(link, request, key)
            flow = await _RUN[kind](_Asker(peer, link, request, grant, key))
    except NoFlowError as error:
        tell(time.monotonic(), "flow-failed", kind=kind, because=error.why, detail=error.detail)
        return FailedFlow(kind, error.why, error.detail)
    tell(time.monotonic(), "flow-ended", kind=kind, bytes=flow.arrived.bytes, mbit_s=flow.arrived.mbit_s)
    return flow


@contextmanager
def _connection(peer: Peer) -> Iterator[socket.socket]:
    """A TCP socket; what it still has to send at the end is dropped."""
    with socket.socket(udp.family_of(peer.address), socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as link:
        link.setblocking(False)
        try:
            yield link
        finally:
            with suppress(OSError):
                link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)


async def _connect(link: socket.socket, peer: Peer) -> None:
    try:
        async with asyncio.timeout(CONNECT_S):
            await asyncio.get_running_loop().sock_connect(link, (peer.address, peer.responder_port))
    except TimeoutError:
        raise NoFlowError("silent", f"no answer within {CONNECT_S:g} s") from None
    except ConnectionRefusedError:
        raise NoFlowError("refused") from None
    except OSError as error:
        raise NoFlowError("unreachable", error.strerror or "") from None


async def _granted(link: socket.socket, request: Request, key: bytes) -> Grant:
    """The grant. A responder that does not know the key hangs up, and so does any other program."""
    try:
        async with asyncio.timeout(ANSWER_S):
            nonce = wire.read_challenge(await exactly(link, wire.CHALLENGE_BYTES))
            if nonce is None:
                raise NoFlowError("broken", "what listens there is not a responder that takes load")
            await asyncio.get_running_loop().sock_sendall(link, wire.request(request, nonce, key))
            grant = wire.read_grant(await exactly(link, wire.GRANT_BYTES), request.nonce, key)
    except (TimeoutError, EOFError, ConnectionError):
        raise NoFlowError("key") from None
    if grant is None:
        raise NoFlowError("key")
    if grant.refusal is not None:
        raise NoFlowError(grant.refusal)
    return grant


class _Asker:
    """This node's part of a flow that was granted."""

    def __init__(self, peer: Peer, link: socket.socket, request: Request, grant: Grant, key: bytes) -> None:
        self._peer, self._link, self._request, self._grant, self._key = peer, link, request, grant, key
        self._began_ns = time.time_ns()

    async def tcp_up(self) -> Flow:
        """Send until the peer reports."""
        sending = asyncio.create_task(self._send())
        try:
            report = await self._report(self._grant.amount.seconds + REPORT_S)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        return Flow("tcp-up", report.counted, report.counted.bytes, self._began_ns, time.time_ns())

    async def _send(self) -> None:
        block, left = secrets.token_bytes(PIECE_BYTES), self._grant.amount.bytes
        while left > 0:
            piece = block[:left]
            await asyncio.get_running_loop().sock_sendall(self._link, piece)
            left -= len(piece)

    async def tcp_down(self) -> Flow:
        """Receive until the time is over, or all has come."""
        meter, buffer, ends = Meter(), bytearray(READ_BYTES), time.monotonic() + REPORT_S
        while (left := ends - time.monotonic()) > 0 and (size := await received(self._link, buffer, left)):
            if not meter.bytes:
                ends = time.monotonic() + self._grant.amount.seconds
            meter.add(size, time.monotonic())
        if not meter.bytes:
            raise NoFlowError("broken", "nothing came")
        return Flow("tcp-down", meter.counted(), meter.bytes, self._began_ns, time.time_ns())

    async def udp_up(self) -> Flow:
        """Send datagrams at a rate, then have the peer report."""
        pacer, number, sent = Pacer(self._grant.amount, time.monotonic()), 0, 0
        with self._udp() as link:
            while (due := pacer.due(time.monotonic())) is not None:
                for _ in range(due):
                    sent += udp.send(link, wire.datagram(self._grant.session, number)) == 0
                    number += 1
                await asyncio.sleep(TICK_S)
            with suppress(ConnectionError):
                await asyncio.get_running_loop().sock_sendall(self._link, b".")
            report = await self._report(REPORT_S)
        return Flow("udp-up", report.counted, sent * wire.DATAGRAM_BYTES, self._began_ns, time.time_ns())

    async def udp_down(self) -> Flow:
        """Say where the datagrams are to go, and count those that come until the peer reports how many it sent."""
        loop, meter = asyncio.get_running_loop(), Meter()
        with self._udp() as link:
            loop.add_reader(link, self._count, link, meter)
            asking = asyncio.create_task(self._say_where(link, meter))
            try:
                report = await self._report(self._grant.amount.seconds + REPORT_S)
            finally:
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
                loop.remove_reader(link)
            self._count(link, meter)
            counted = meter.counted(udp.overflowed(link))
        return Flow("udp-down", counted, report.sent_bytes, self._began_ns, time.time_ns())

    def _count(self, link: socket.socket, meter: Meter) -> None:
        for came in udp.waiting(link):
            if wire.is_of(self._grant.session, came.data):
                meter.add(len(came.data), came.received_ns / 1e9)

    async def _say_where(self, link: socket.socket, meter: Meter) -> None:
        while not meter.bytes:
            udp.send(link, wire.datagram(self._grant.session, 0, 0))
            await asyncio.sleep(HERE_S)

    def _udp(self) -> socket.socket:
        try:
            return udp.open_towards(self._peer.address, self._peer.responder_port)
        except OSError as error:
            raise NoFlowError("unreachable", error.strerror or "") from None

    async def _report(self, within_s: float) -> Report:
        try:
            async with asyncio.timeout(within_s):
                report = wire.read_report(await exactly(self._link, wire.REPORT_BYTES), self._request.nonce, self._key)
        except TimeoutError:
            raise NoFlowError("broken", "the peer's report did not come") from None
        except (EOFError, ConnectionError):
            raise NoFlowError("broken", "the connection ended before the peer's report") from None
        if report is None:
            raise NoFlowError("broken", "the peer's report is not signed with the key")
        return report


_RUN = {
    "tcp-up": _Asker.tcp_up,
    "tcp-down": _Asker.tcp_down,
    "udp-up": _Asker.udp_up,
    "udp-down": _Asker.udp_down,
}
