"""Asking STUN servers from one socket (RFC 8489 section 6.2.1, over UDP)."""

import asyncio
import secrets
import socket
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from preflight.model.event import Listener
from preflight.model.host_port import join_host_port
from preflight.model.peer import Peer
from preflight.model.rejected import ECHOED, FOREIGN, UNSIGNED
from preflight.model.stun import StunAnswer
from preflight.net import udp
from preflight.proto.stun import binding as stun

RTO_S = (0.5, 1.0, 1.5)
"""Waits after each sending: an answer is given up after 3 s, where the standard would wait for 39.5 s."""


@dataclass(slots=True)
class _Asked:
    transaction: bytes
    target: udp.Address
    answer: StunAnswer
    sent_at: float = 0.0
    rejected: Counter[str] = field(default_factory=Counter)


class Stun:
    """What STUN servers see of this node. key: shared with the responders of its peers."""

    def __init__(self, key: bytes | None = None, *, listener: Listener | None = None) -> None:
        self._listener = listener
        self._key = key

    async def ask_peer(self, peer: Peer) -> StunAnswer:
        """Ask a peer's responder, inside the overlay; signed where this node has a key. Silence takes 3 s."""
        (answer,) = await self.ask([join_host_port(peer.address, peer.responder_port)], self._key)
        return answer

    async def ask(self, servers: Sequence[str], key: bytes | None = None) -> tuple[StunAnswer, ...]:
        """Ask all servers (`HOST[:PORT]`), those of one address family from the same socket; 3 s at most.

        key: sign the questions and take only signed answers. What the network does is data.
        """
        asked = await asyncio.gather(*map(_resolve, servers))
        groups: dict[int, list[_Asked]] = {}
        for each in asked:
            if each.answer.why is None:
                groups.setdefault(_family(each), []).append(each)
        await asyncio.gather(*(_Group(family, group, key).run() for family, group in groups.items()))
        return tuple(each.answer for each in asked)


def _family(asked: _Asked) -> int:
    return udp.family_of(asked.target[0])


async def _resolve(name: str) -> _Asked:
    host, port = stun.read_server(name)
    transaction = secrets.token_bytes(stun.TRANSACTION_BYTES)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:  # the latter for what cannot be a host name
        detail = getattr(error, "strerror", None) or "no host name"
        return _Asked(transaction, (host, port), StunAnswer(name, why="no-name", detail=detail))
    address = str(found[0][4][0])
    try:
        source = udp.source_address(address, port)
    except OSError as error:
        detail = udp.error_name(error.errno or 0)
        return _Asked(transaction, (address, port), StunAnswer(name, address, why="no-route", detail=detail))
    return _Asked(transaction, (address, port), StunAnswer(name, address, local=source))


class _Group:
    """The servers of one family, asked from one socket."""

    def __init__(self, family: int, asked: Sequence[_Asked], key: bytes | None) -> None:
        self._asked = asked
        self._key = key
        self._socket = udp.open_udp("::" if family == socket.AF_INET6 else "0.0.0.0")  # noqa: S104 - sends only
        udp.watch_errors(self._socket)
        port = self._socket.getsockname()[1]
        for each in asked:
            local = each.answer.local or ""
            each.answer = replace(each.answer, local=join_host_port(local, port))

    async def run(self) -> None:
        """Ask, and ask again who is silent."""
        with self._socket:
            for wait_s in RTO_S:
                for each in self._open():
                    self._send(each)
                await self._listen(wait_s)
        for each in self._open():
            each.answer = replace(each.answer, why="silent", rejected=dict(each.rejected))

    def _open(self) -> list[_Asked]:
        return [each for each in self._asked if each.answer.mapped is None and each.answer.why is None]

    def _send(self, asked: _Asked) -> None:
        asked.sent_at = time.perf_counter()
        code = udp.send(self._socket, stun.request(asked.transaction, self._key), asked.target)
        if code:
            asked.answer = replace(asked.answer, why="no-route", detail=udp.error_name(code))

    async def _listen(self, seconds: float) -> None:
        """Take answers, until all are there or the time is up."""
        loop = asyncio.get_running_loop()
        arrived = asyncio.Event()
        loop.add_reader(self._socket, arrived.set)
        try:
            async with asyncio.timeout(seconds):
                while self._open():
                    arrived.clear()
                    self._drain()
                    if self._open():
                        await arrived.wait()
        except TimeoutError:
            return
        finally:
            loop.remove_reader(self._socket)

    def _drain(self) -> None:
        for datagram in udp.waiting(self._socket):
            for asked in self._open():
                # Only the server itself may answer: an answer from elsewhere says nothing about the way to it.
                if datagram.source[:2] == asked.target[:2]:
                    self._take(asked, datagram.data)
        for error in udp.receive_errors(self._socket):
            for asked in self._open():
                told = error.port_unreachable and error.offender == asked.answer.address
                if told and error.destination is not None and error.destination[:2] == asked.target[:2]:
                    asked.answer = replace(asked.answer, why="closed")

    def _take(self, asked: _Asked, data: bytes) -> None:
        try:
            mapped = stun.mapped_address(data, asked.transaction, self._key)
        except stun.StunError as error:
            asked.answer = replace(asked.answer, why="refused", detail=str(error))
            return
        if mapped is None:
            asked.rejected[self._refusal(asked, data)] += 1
        else:
            text = join_host_port(*mapped)
            rtt_ms = (time.perf_counter() - asked.sent_at) * 1000
            asked.answer = replace(asked.answer, mapped=text, rtt_ms=round(rtt_ms, 3))

    def _refusal(self, asked: _Asked, data: bytes) -> str:
        """Why a datagram of a server is no answer."""
        if data == stun.request(asked.transaction, self._key):
            return ECHOED
        try:
            unsigned = self._key is not None and stun.mapped_address(data, asked.transaction) is not None
        except stun.StunError:
            unsigned = False
        return UNSIGNED if unsigned else FOREIGN
