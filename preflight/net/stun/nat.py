"""Asking a peer's responder about a NAT on the way: which endpoint it sees, and whether it gets in after a silence."""

import asyncio
import secrets
import socket
from base64 import b64decode
from collections import Counter
from typing import TYPE_CHECKING

from preflight.model.event import Listener
from preflight.model.nat import AfterSilence
from preflight.model.peer import Peer
from preflight.model.rejected import ECHOED, FOREIGN, UNSIGNED
from preflight.net import udp
from preflight.proto.stun.nat import ASKING_BYTES, NONCE_BYTES, SIZE, Kind, Message, decode, encode

if TYPE_CHECKING:
    from preflight.settings.load import Settings

AGAIN_S = 0.2
SEEN_WITHIN_S = 1.5
AGREED_WITHIN_S = 2.0
TOLD_WITHIN_S = 6.5
"""Also long enough for a tunnel whose first new handshake is lost to repeat it (WireGuard: after 5 s)."""
LATE_S = 3.0
"""How long a packet may be under way, and its sender busy, after the silence."""


class NatProbes:
    """What a run can learn about NATs from the responders of its peers."""

    def __init__(self, settings: "Settings", *, listener: Listener | None = None) -> None:
        self._listener = listener
        self._key = settings.secrets.responder_key

    async def seen_as(self, peer: Peer, public_key: str) -> str | None:
        """The endpoint `ADDRESS:PORT` by which the peer's tunnel reaches this node; None if the peer does not tell.

        public_key: of this node's tunnel, base64 as `wg` shows it. Takes 1.5 s where nobody answers.
        """
        question = Message(Kind.WHERE, secrets.token_bytes(NONCE_BYTES), public_key=b64decode(public_key))
        try:
            with udp.open_towards(peer.address, peer.responder_port) as link:
                answer = await _Exchange(link, self._key).ask(question, Kind.SEEN, SIZE, SEEN_WITHIN_S)
        except OSError:
            return None
        return (answer.endpoint or None) if answer else None

    async def after_silence(self, peer: Peer, step_s: float, tail_s: float) -> AfterSilence:
        """Have the peer send when `tail_s + step_s` have passed in silence, if it agrees to do it.

        tail_s: how long the tunnel itself still speaks after the last packet.
        """
        delay_s = tail_s + step_s
        question = Message(Kind.AFTER, secrets.token_bytes(NONCE_BYTES), delay_s=delay_s)
        try:
            with udp.open_towards(peer.address, peer.responder_port) as link:
                exchange = _Exchange(link, self._key)
                if await exchange.ask(question, Kind.AGREED, ASKING_BYTES, AGREED_WITHIN_S) is None:
                    return AfterSilence(step_s, arrived=False, agreed=False, rejected=dict(exchange.rejected))
                if await exchange.wait(question.nonce, Kind.PROBE, delay_s + LATE_S) is not None:
                    return AfterSilence(step_s, arrived=True)
                # It is this packet that opens the way in again, if a NAT has forgotten it.
                told = await exchange.ask(question, Kind.AGREED, ASKING_BYTES, TOLD_WITHIN_S)
        except OSError:
            return AfterSilence(step_s, arrived=False, agreed=False)
        return AfterSilence(step_s, arrived=False, sent=told.sent if told else None)


class _Exchange:
    """Questions and answers over one connected socket."""

    def __init__(self, link: socket.socket, key: bytes | None) -> None:
        self._link = link
        self._key = key
        self._refused = False
        self.rejected: Counter[str] = Counter()

    async def ask(self, question: Message, kind: Kind, length: int, within_s: float) -> Message | None:
        """The answer of a kind, asked for again and again; None if it did not come, or nobody listens."""
        data = encode(question, self._key, length=length)
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        while (left := until - loop.time()) > 0:
            udp.send(self._link, data)
            answer = await self.wait(question.nonce, kind, min(left, AGAIN_S))
            if answer is not None or self._refused:
                return answer
        return None

    async def wait(self, nonce: bytes, kind: Kind, within_s: float) -> Message | None:
        """A message of this kind and nonce."""
        loop = asyncio.get_running_loop()
        arrived = asyncio.Event()
        loop.add_reader(self._link, arrived.set)
        try:
            async with asyncio.timeout(within_s):
                while True:
                    for datagram in udp.waiting(self._link):
                        message = decode(datagram.data, self._key)
                        if message is not None and (message.kind, message.nonce) == (kind, nonce):
                            return message
                        self._reject(datagram.data, message, nonce)
                    # What is left in the error queue would wake this up for ever.
                    self._refused |= any(error.port_unreachable for error in udp.receive_errors(self._link))
                    arrived.clear()
                    await arrived.wait()
        except TimeoutError:
            return None
        finally:
            loop.remove_reader(self._link)

    def _reject(self, data: bytes, message: Message | None, nonce: bytes) -> None:
        """Count what is not the answer, by why it is not; an answer that came twice is none of that."""
        if message is None:
            unsigned = self._key is not None and (read := decode(data, None)) is not None and read.nonce == nonce
            self.rejected[UNSIGNED if unsigned else FOREIGN] += 1
        elif message.nonce != nonce:
            self.rejected[FOREIGN] += 1
        elif message.kind in (Kind.WHERE, Kind.AFTER):
            self.rejected[ECHOED] += 1
