"""Hearing the hellos of a silent peer: on the port they come to, or from the responder that has it."""

import asyncio
import errno
import secrets
import socket
import time
from collections import Counter
from dataclasses import dataclass

from preflight.model.path import HelloReport
from preflight.net import udp
from preflight.proto.responder.hello import (
    INTERVAL_S,
    NONCE_BYTES,
    Hello,
    HelloError,
    HelloReceiver,
    Kind,
    Message,
    decode,
    encode,
)
from preflight.proto.responder.reach import HELLO_AFTER_S, Way, forward_by_hello

WAIT_S = HELLO_AFTER_S + INTERVAL_S + 0.5
"""One hello is on its way within this time that says something about the packets sent before."""
ASK_AGAIN_S = 0.25


class UnheardError(Exception):
    """No hello can be heard; the text says why."""


@dataclass(frozen=True, slots=True)
class Ends:
    """Whose hellos are listened for, where they come from and where they come to."""

    peer: str
    peer_port: int
    local: str
    port: int


class HelloWatch:
    """Listens from now on; `close` it. began: when the first packet leaves, by the event loop's clock.

    Raises UnheardError where nothing could be heard.
    """

    def __init__(self, ends: Ends, key: bytes | None, began: float) -> None:
        if key is None:
            raise UnheardError("hellos are signed, and this node has no key (responder.key_file)")
        self._ends = ends
        self._key = key
        self._began = began
        self._ear = HelloReceiver(key, ends.peer, ends.local)
        self._dropped: Counter[str] = Counter()
        self._nonce = secrets.token_bytes(NONCE_BYTES)
        self._answered = False
        self._held: tuple[Hello, float] | None = None
        self._socket, self._asking = _open(ends)
        self._arrived = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._socket, self._drain)

    def close(self) -> None:
        """Stop listening."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    async def wait(self) -> None:
        """Until a hello tells whether this node's packets arrive; at most as long as one may take to come."""
        loop = asyncio.get_running_loop()
        until = self._began + WAIT_S
        while forward_by_hello(self.report()) is Way.UNKNOWN and (left := until - loop.time()) > 0:
            if self._asking:
                self._ask()
            self._arrived.clear()
            try:
                async with asyncio.timeout(min(left, ASK_AGAIN_S)):
                    await self._arrived.wait()
                    # An answer comes at once: without a pause one would be asked after the other.
                    await asyncio.sleep(ASK_AGAIN_S if self._asking else 0)
            except TimeoutError:
                continue

    def report(self) -> HelloReport | None:
        """The newest hello that came after the first packet had left; None while there is none."""
        if self._held is not None:
            hello, at = self._held
        elif self._ear.newest is not None:
            hello, at = self._ear.newest, self._ear.at
        else:
            return None
        after_s = at - self._began
        return HelloReport(after_s, hello.up_s, hello.heard, by_responder=self._asking) if after_s > 0 else None

    def unheard(self) -> str:
        """Why there is no report."""
        place = f"UDP port {self._ends.port} of {self._ends.local}"
        if self._dropped:
            reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(self._dropped.items()))
            return f"hellos came to {place} and were dropped ({reasons})"
        if self._asking and not self._answered:
            return f"whoever has {place} does not tell about hellos; is it this node's responder, with the same key?"
        return f"no hello of {self._ends.peer} came to {place} within {WAIT_S:g} s"

    def _ask(self) -> None:
        question = Hello(self._ends.peer, self._ends.local)
        udp.send(self._socket, encode(Message(Kind.QUESTION, question, self._nonce), self._key))

    def _drain(self) -> None:
        for datagram in udp.waiting(self._socket):
            now = asyncio.get_running_loop().time()
            try:
                if self._asking:
                    self._take_answer(datagram.data, now)
                else:
                    self._ear.take(datagram.data, datagram.source[0], now, time.time_ns() // 1_000_000)
            except HelloError as error:
                self._dropped[error.reason] += 1
        self._arrived.set()

    def _take_answer(self, data: bytes, now: float) -> None:
        message = decode(data, self._key)
        if message.kind is not Kind.ANSWER or message.nonce != self._nonce:
            raise HelloError("bad-hello")
        self._answered = True
        named = (message.hello.sender, message.hello.receiver) == (self._ends.peer, self._ends.local)
        if named and message.hello.sequence:
            self._held = message.hello, now - message.held_s


def _open(ends: Ends) -> tuple[socket.socket, bool]:
    """A socket for the peer's hellos, or towards the responder that has their port; and whether it is the latter."""
    try:
        return _listening(ends), False
    except PermissionError:
        raise UnheardError(f"hearing hellos on UDP port {ends.port} takes root or CAP_NET_BIND_SERVICE") from None
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise _impossible(ends, error) from None
    try:
        return udp.open_towards(ends.local, ends.port), True
    except OSError as error:
        raise _impossible(ends, error) from None


def _listening(ends: Ends) -> socket.socket:
    listening = udp.open_udp(ends.local, ends.port, shared=True)
    try:
        # Connected, so that what others send to this port is refused as it is while nobody listens.
        listening.connect((ends.peer, ends.peer_port))
    except BaseException:
        listening.close()
        raise
    return listening


def _impossible(ends: Ends, error: OSError) -> UnheardError:
    name = udp.error_name(error.errno or 0)
    return UnheardError(f"hellos cannot be heard on UDP port {ends.port} of {ends.local} ({name})")
