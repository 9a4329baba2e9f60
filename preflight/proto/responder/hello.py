"""Hellos between responders: every few seconds, each reports to the other what it has received from it. Pure.

The idea of BFD (RFC 5880): a node that receives hellos which count none of its packets knows that only its forward
direction is dead, without help from a third host. A hello is signed with the shared key, names both ends and the
time, and counts once: it cannot be reflected to its sender, sent to a third node, or replayed. Without a key there are
none. A program on the receiver's own host cannot open the port that hellos come to, so it asks the responder there.
"""

import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from math import inf

from preflight.model.event import Tell, silent
from preflight.model.heard import Heard, HelloReport
from preflight.proto.core import Core, Datagram, Received
from preflight.proto.responder.frame import MAC_BYTES, is_signed, pack_address, signature, unpack_address

MAGIC = b"\xf7HEL"
"""First four bytes of every datagram: no STAMP sender reaches such a sequence number within a session."""
VERSION = 1
INTERVAL_S = 3.0
JITTER = 0.25
"""Each interval is shorter by up to this share, so that hellos of many nodes do not fall into step (RFC 5880 6.8.7)."""
FRESH_S = 120.0
"""The clocks of two nodes may differ by this much; no recorded hello is valid for longer."""
NONCE_BYTES = 16

_LAYOUT = struct.Struct("!4sBBHQIQIIIII16s16s16sI")
_NEVER = 0xFFFFFFFF
_MOST_OVERFLOWED = 0xFFFF
_NO_NONCE = bytes(NONCE_BYTES)


class HelloError(ValueError):
    """A datagram to drop. `reason` is a word for a counter."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Kind(IntEnum):
    """QUESTION, ANSWER: between a program and the responder of the same host, about what a peer said."""

    HELLO = 1
    QUESTION = 2
    ANSWER = 3


_KINDS = frozenset(map(int, Kind))


@dataclass(frozen=True, slots=True)
class Hello:
    """What `sender` says to `receiver`, both overlay addresses.

    started_ms: when the sender's responder started; sequence: its hellos to this receiver since then, from 1;
    sent_ms: now; all by the sender's clock, UNIX milliseconds. up_s: how long it has listened, by its steady clock.
    """

    sender: str
    receiver: str
    started_ms: int = 0
    sequence: int = 0
    sent_ms: int = 0
    up_s: float = 0.0
    heard: Heard = Heard()

    @property
    def order(self) -> tuple[int, int]:
        """Grows from each hello of a sender to its next one."""
        return self.started_ms, self.sequence


@dataclass(frozen=True, slots=True)
class Message:
    """One datagram. In a QUESTION `hello` only names the sender and the receiver in question.

    In an ANSWER it is the newest one, `held_s` seconds after it came; sequence 0 means that no hello came.
    """

    kind: Kind
    hello: Hello
    nonce: bytes = _NO_NONCE
    held_s: float = 0.0


def encode(message: Message, key: bytes) -> bytes:
    """The datagram, signed by HMAC-SHA-256 cut to 128 bits; all kinds have the same length."""
    hello, heard = message.hello, message.hello.heard
    body = _LAYOUT.pack(
        MAGIC,
        VERSION,
        message.kind,
        min(heard.overflowed, _MOST_OVERFLOWED),
        hello.started_ms,
        hello.sequence,
        hello.sent_ms,
        _milliseconds(hello.up_s),
        min(heard.packets, _NEVER),
        _milliseconds(heard.packet_age_s),
        min(heard.hellos, _NEVER),
        _milliseconds(heard.hello_age_s),
        pack_address(hello.sender),
        pack_address(hello.receiver),
        message.nonce,
        _milliseconds(message.held_s),
    )
    return body + signature(key, body)


def decode(data: bytes, key: bytes) -> Message:
    """Read a datagram; its signature comes before anything else. Raises HelloError."""
    body, mac = data[: _LAYOUT.size], data[_LAYOUT.size :]
    if len(mac) != MAC_BYTES or not is_signed(body, mac, key):
        raise HelloError("bad-hello")
    magic, version, kind, overflowed, started, sequence, sent, up, packets, packet_age, *rest = _LAYOUT.unpack(body)
    if magic != MAGIC or version != VERSION or kind not in _KINDS:
        raise HelloError("bad-hello")
    hellos, hello_age, sender, receiver, nonce, held = rest
    heard = Heard(packets, _seconds(packet_age), hellos, _seconds(hello_age), overflowed)
    hello = Hello(unpack_address(sender), unpack_address(receiver), started, sequence, sent, _seconds(up) or 0.0, heard)
    return Message(Kind(kind), hello, nonce, _seconds(held) or 0.0)


def _milliseconds(seconds: float | None) -> int:
    return _NEVER if seconds is None else min(max(round(seconds * 1000), 0), _NEVER - 1)


def _seconds(milliseconds: int) -> float | None:
    return None if milliseconds == _NEVER else milliseconds / 1000


class HelloReceiver:
    """Takes the hellos of one peer to one of this node's addresses: signed, fresh, each once and in order."""

    def __init__(self, key: bytes, peer: str, local: str | None) -> None:
        self._key = key
        self._peer = peer
        self.local = local
        self.newest: Hello | None = None
        self.at = 0.0
        self.count = 0

    def take(self, data: bytes, source: str, now: float, now_ms: int) -> Hello:
        """Take a datagram. now: s of a steady clock; now_ms: UNIX ms. Raises HelloError for what must be dropped."""
        message = decode(data, self._key)
        if message.kind is not Kind.HELLO:
            raise HelloError("bad-hello")
        self.accept(message.hello, source, now, now_ms)
        return message.hello

    def accept(self, hello: Hello, source: str, now: float, now_ms: int) -> None:
        """Take a hello whose signature is good. Raises HelloError."""
        if source != self._peer or hello.sender != self._peer or hello.receiver != self.local:
            raise HelloError("misaddressed-hello")
        if abs(now_ms - hello.sent_ms) > FRESH_S * 1000:
            raise HelloError("stale-hello")
        # After twice the window no recorded hello is fresh any more: then a sender whose clock went back counts again.
        remembered = self.newest is not None and now - self.at <= 2 * FRESH_S
        if remembered and self.newest is not None and hello.order <= self.newest.order:
            raise HelloError("replayed-hello")
        self.newest, self.at, self.count = hello, now, self.count + 1


class HelloServer:
    """The responder's side: hellos to its provisioned peers, what it has heard, and answers about that.

    started_ms: UNIX ms, and `now`, s of a steady clock: when it begins to listen. Peers are those of the settings:
    nothing is ever sent to, or kept about, other hosts.
    """

    def __init__(self, key: bytes, peers: Iterable[str], started_ms: int, now: float) -> None:
        self._key = key
        self._started_ms = started_ms
        self._started = now
        self._receivers = {peer: HelloReceiver(key, peer, None) for peer in peers}
        self._sequence = dict.fromkeys(self._receivers, 0)

    def at(self, peer: str, local: str) -> None:
        """By which of this node's addresses hellos go to a peer, and come from it."""
        self._receivers[peer].local = local

    def hello(self, peer: str, heard: Heard, now: float, now_ms: int) -> bytes:
        """The next hello to a peer, only after `at`. heard: its packets that arrived; its hellos are counted here."""
        receiver = self._receivers[peer]
        local = receiver.local
        assert local is not None
        self._sequence[peer] += 1
        age_s = now - receiver.at if receiver.count else None
        said = replace(heard, hellos=receiver.count, hello_age_s=age_s)
        up_s = now - self._started
        hello = Hello(local, peer, self._started_ms, self._sequence[peer], now_ms, up_s, said)
        return encode(Message(Kind.HELLO, hello), self._key)

    def handle(self, data: bytes, source: str, now: float, now_ms: int) -> list[bytes]:
        """Take a hello, or answer a question with as many bytes as it has. Raises HelloError."""
        message = decode(data, self._key)
        if message.kind is Kind.HELLO:
            if (receiver := self._receivers.get(source)) is None:
                raise HelloError("misaddressed-hello")
            receiver.accept(message.hello, source, now, now_ms)
            return []
        if message.kind is Kind.QUESTION:
            return [encode(self._answer(message, now), self._key)]
        raise HelloError("bad-hello")

    def _answer(self, question: Message, now: float) -> Message:
        receiver = self._receivers.get(question.hello.sender)
        if receiver is None or receiver.newest is None:
            return Message(Kind.ANSWER, question.hello, question.nonce)
        return Message(Kind.ANSWER, receiver.newest, question.nonce, held_s=now - receiver.at)


ASK_AGAIN_S = 0.25


@dataclass(frozen=True, slots=True)
class Ends:
    """Whose hellos to listen for, where they come from and where they come to."""

    peer: str
    peer_port: int
    local: str
    port: int


class HelloListener(Core[HelloReport]):
    """A node's side: takes the hellos of one peer, on the port they come to or by asking the responder that has it.

    began: when the node's own first packet left. nonce: random, `NONCE_BYTES` long. by_responder: ask the responder of
    this host, from `ask` until `stop_asking`. It listens until its driver stops.
    """

    def __init__(
        self, ends: Ends, key: bytes, *, began: float, nonce: bytes, by_responder: bool, tell: Tell = silent
    ) -> None:
        self._ends, self._key, self._began, self._nonce, self._tell = ends, key, began, nonce, tell
        self._by_responder = by_responder
        self._receiver = HelloReceiver(key, ends.peer, ends.local)
        self._newest: tuple[Hello, float] | None = None
        self._dropped: Counter[str] = Counter()
        self._next_at = inf
        self.answered = False
        """Whether the responder that was asked has answered."""

    @property
    def dropped(self) -> Mapping[str, int]:
        """Hellos and answers that count for nothing, by reason."""
        return self._dropped

    @property
    def result(self) -> HelloReport | None:
        """The newest hello that came after the first packet had left; None before the first."""
        if self._newest is None:
            return None
        hello, at = self._newest
        after_s = at - self._began
        return HelloReport(after_s, hello.up_s, hello.heard, by_responder=self._by_responder) if after_s > 0 else None

    def ask(self, now: float) -> None:
        """Ask the responder again and again from now on, if hellos are heard that way."""
        if self._by_responder:
            self._next_at = now

    def stop_asking(self) -> None:
        """Only listen from now on."""
        self._next_at = inf

    def datagrams_to_send(self, now: float) -> list[Datagram]:
        """A question, if one is due."""
        if now < self._next_at:
            return []
        self._next_at = now + ASK_AGAIN_S
        self._tell(now, "responder-asked")
        question = Message(Kind.QUESTION, Hello(self._ends.peer, self._ends.local), self._nonce)
        return [Datagram(encode(question, self._key))]

    def get_timer(self) -> float:
        """When to ask again."""
        return self._next_at

    def handle_timer(self, now: float) -> None:
        """Nothing is given up: hellos may come at any time."""

    def receive(self, received: Received, now: float) -> None:
        """Take a hello, or the responder's answer about one."""
        try:
            if self._by_responder:
                self._take_answer(received.data, now)
            else:
                now_ms = received.received_ns // 1_000_000
                hello = self._receiver.take(received.data, received.source[0], now, now_ms)
                self._newest = hello, now
        except HelloError as error:
            self._dropped[error.reason] += 1
            self._tell(now, "dropped", reason=error.reason)
            return
        if self._newest is not None:
            hello, at = self._newest
            heard = hello.heard.packets
            self._tell(now, "hello", sequence=hello.sequence, after_s=at - self._began, packets_heard=heard)

    def _take_answer(self, data: bytes, now: float) -> None:
        message = decode(data, self._key)
        if message.kind is not Kind.ANSWER or message.nonce != self._nonce:
            raise HelloError("bad-hello")
        self.answered = True
        named = (message.hello.sender, message.hello.receiver) == (self._ends.peer, self._ends.local)
        if named and message.hello.sequence:
            self._newest = message.hello, now - message.held_s
