"""What a node asks the peer's responder about a NAT between them: codec, and both sides without I/O.

WHERE: by which endpoint does the responder's tunnel reach the node with this public key? SEEN says it; the address
and port are the mapping, if a NAT makes one. AFTER: send me packets after this much time, in which nobody sends. AGREED
promises it; a node that asks again after that time learns how many left. PROBE is such a packet. With a key all
messages are signed, and the responder answers no other.
"""

import struct
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from math import inf
from typing import Protocol

from preflight.model.event import Tell, silent
from preflight.model.host_port import join_host_port, split_host_port
from preflight.model.nat import AfterSilence
from preflight.model.rejected import ECHOED, FOREIGN, UNSIGNED
from preflight.proto.core import Core, Datagram, Received, Refusal
from preflight.proto.responder.frame import MAC_BYTES, NO_MAC, is_signed, pack_address, signature, unpack_address

MAGIC = b"\xf7NAT"
"""First four bytes of every datagram: no STAMP sender reaches such a sequence number within a session."""
VERSION = 1
NONCE_BYTES = 16
KEY_BYTES = 32
MAX_DELAY_S = 300.0
PROBES = 3
"""Packets at the end of a silence: one alone may be lost for another reason."""
MAX_PROMISES, MAX_PROMISES_OF_ONE = 64, 4
MEMORY_S = 30.0
"""How long a promise is remembered after it was kept, for questions about it."""

_LAYOUT = struct.Struct("!4sBBBx16sI32s16sH2x")
SIZE = _LAYOUT.size + MAC_BYTES
ASKING_BYTES = SIZE * (1 + PROBES)
"""An AFTER is as long as all that it brings back: nobody gets more than was sent in its name."""


class Kind(IntEnum):
    """What a datagram is."""

    WHERE = 1
    SEEN = 2
    AFTER = 3
    AGREED = 4
    PROBE = 5


_KINDS = frozenset(map(int, Kind))


@dataclass(frozen=True, slots=True)
class Message:
    """One datagram.

    public_key: of the asker's tunnel, in a WHERE. endpoint: `ADDRESS:PORT` in a SEEN, empty if the responder does
    not know. delay_s: in an AFTER, from now on. sent: in an AGREED, how many probes have left.
    """

    kind: Kind
    nonce: bytes
    public_key: bytes = bytes(KEY_BYTES)
    endpoint: str = ""
    delay_s: float = 0.0
    sent: int = 0


def encode(message: Message, key: bytes | None, *, length: int = SIZE) -> bytes:
    """The datagram, padded with zeros to `length` behind its signature (HMAC-SHA-256 cut to 128 bits)."""
    host, port = split_host_port(message.endpoint) if message.endpoint else ("", 0)
    body = _LAYOUT.pack(
        MAGIC,
        VERSION,
        message.kind,
        message.sent,
        message.nonce,
        round(message.delay_s * 1000),
        message.public_key,
        pack_address(host) if host else bytes(16),
        port,
    )
    return (body + (signature(key, body) if key is not None else NO_MAC)).ljust(length, b"\0")


def decode(data: bytes, key: bytes | None) -> Message | None:
    """Read a datagram; None if it is not ours, malformed, or not signed with the key."""
    if len(data) < SIZE or data[:4] != MAGIC:
        return None
    body, mac = data[: _LAYOUT.size], data[_LAYOUT.size : SIZE]
    if key is not None and not is_signed(body, mac, key):
        return None
    _, version, kind, sent, nonce, delay_ms, public_key, host, port = _LAYOUT.unpack(body)
    if version != VERSION or kind not in _KINDS:
        return None
    return Message(Kind(kind), nonce, public_key, _endpoint(host, port) if port else "", delay_ms / 1000, sent)


def _endpoint(packed: bytes, port: int) -> str:
    return join_host_port(unpack_address(packed), port)


class TunnelView(Protocol):
    """What the responder's host knows about its own tunnel."""

    def endpoint(self, public_key: bytes) -> str | None:
        """Where the peer with this key is reached, `ADDRESS:PORT`; empty: not known. None: ask again in a moment."""


@dataclass(slots=True)
class _Promise:
    due: float
    sent: int = 0
    kept: bool = False


Promised = tuple[str, int, bytes]
"""Address and port that the question came from, and the nonce."""


class NatServer:
    """The responder's side. key: the shared key; without one only provisioned sources may come here."""

    def __init__(self, key: bytes | None, view: TunnelView | None = None) -> None:
        self._key = key
        self._view = view
        self._promises: OrderedDict[Promised, _Promise] = OrderedDict()

    def handle(self, data: bytes, source: tuple[str, int], now: float) -> list[bytes] | None:
        """Answers to send back to `source`, at most as many bytes as came in; `now` in seconds of a steady clock.

        None for anything except a question. A question may get no answer: too early, or too much is promised already.
        """
        message = decode(data, self._key)
        if message is None:
            return None
        if message.kind is Kind.WHERE:
            answer = self._seen(message)
        elif message.kind is Kind.AFTER and len(data) >= ASKING_BYTES and message.delay_s <= MAX_DELAY_S:
            answer = self._agreed(message, source, now)
        else:
            return None
        return [encode(answer, self._key)] if answer else []

    def _seen(self, message: Message) -> Message | None:
        endpoint = self._view.endpoint(message.public_key) if self._view else ""
        return None if endpoint is None else Message(Kind.SEEN, message.nonce, message.public_key, endpoint)

    def _agreed(self, message: Message, source: tuple[str, int], now: float) -> Message | None:
        self._forget(now)
        name = (source[0], source[1], message.nonce)
        promise = self._promises.get(name)
        if promise is None:
            of_one = sum(address == source[0] for address, _, _ in self._promises)
            if len(self._promises) >= MAX_PROMISES or of_one >= MAX_PROMISES_OF_ONE:
                return None
            promise = self._promises[name] = _Promise(now + message.delay_s)
        return Message(Kind.AGREED, message.nonce, sent=promise.sent)

    def _forget(self, now: float) -> None:
        for name, promise in list(self._promises.items()):
            if promise.kept and now > promise.due + MEMORY_S:
                del self._promises[name]

    def due(self, now: float) -> list[tuple[Promised, Sequence[bytes]]]:
        """The promises to keep now, each once, and what to send; report with `left` how many left."""
        due = [name for name, promise in self._promises.items() if not promise.kept and promise.due <= now]
        for name in due:
            self._promises[name].kept = True
        return [(name, [encode(Message(Kind.PROBE, name[2]), self._key)] * PROBES) for name in due]

    def left(self, name: Promised, count: int) -> None:
        """This many probes of a promise left."""
        self._promises[name].sent = count

    def waits(self) -> bool:
        """Whether a promise is still to be kept."""
        return any(not promise.kept for promise in self._promises.values())

    def wants_silence(self, address: str) -> bool:
        """Whether to send nothing unrequested to an address, because its silence is being measured."""
        return any(name[0] == address and not promise.kept for name, promise in self._promises.items())


AGAIN_S = 0.2
SEEN_WITHIN_S = 1.5
AGREED_WITHIN_S = 2.0
REPORTED_WITHIN_S = 6.5
"""Also long enough for a tunnel whose first new handshake is lost to repeat it (WireGuard: after 5 s)."""
LATE_S = 3.0
"""How long a packet may be under way, and its sender busy, after the silence."""


class Question(Core[Message]):
    """The asker's side: waits for one kind of answer to a message, and asks again every `AGAIN_S` until then.

    It is over without a result when nobody listens, or `within_s` after `now`. asks: False = only wait. length: of the
    datagram, bytes.
    """

    result: Message | None = None

    def __init__(
        self,
        message: Message,
        answer: Kind,
        key: bytes | None,
        *,
        now: float,
        within_s: float,
        length: int = SIZE,
        asks: bool = True,
        tell: Tell = silent,
    ) -> None:
        self._message, self._answer, self._key, self._tell = message, answer, key, tell
        self._data = encode(message, key, length=length)
        self._next_at = now if asks else inf
        self._ends_at = now + within_s
        self._rejected: Counter[str] = Counter()
        self.over = False

    @property
    def rejected(self) -> Mapping[str, int]:
        """What came and is not the answer, by reason."""
        return dict(self._rejected)

    def datagrams_to_send(self, now: float) -> list[Datagram]:
        """The question, once more."""
        if self.over or now < self._next_at:
            return []
        self._next_at = now + AGAIN_S
        self._tell(now, "asked", kind=self._message.kind.name)
        return [Datagram(self._data)]

    def get_timer(self) -> float | None:
        """When to ask again, or to give up."""
        return None if self.over else min(self._next_at, self._ends_at)

    def handle_timer(self, now: float) -> None:
        """Give up when the answer has not come in time."""
        if not self.over and now >= self._ends_at:
            self.over = True
            self._tell(now, "timer", missing=self._answer.name)

    def receive(self, received: Received, now: float) -> None:
        """Take the answer."""
        if self.over:
            return
        message = decode(received.data, self._key)
        if message is not None and (message.kind, message.nonce) == (self._answer, self._message.nonce):
            self.result, self.over = message, True
            self._tell(now, "answered", kind=message.kind.name, endpoint=message.endpoint, sent=message.sent)
        elif reason := self._refusal(received.data, message):
            self._rejected[reason] += 1
            self._tell(now, "rejected", reason=reason)

    def refused(self, refusal: Refusal, now: float) -> None:
        """The host says that nobody listens: asking again is useless."""
        if refusal.port_unreachable and self._next_at != inf:
            self.over = True
            self._tell(now, "port-unreachable", by=refusal.offender)

    def _refusal(self, data: bytes, message: Message | None) -> str:
        """Why a datagram is not the answer; empty for an answer that came twice."""
        nonce = self._message.nonce
        if message is None:
            unsigned = self._key is not None and (read := decode(data, None)) is not None and read.nonce == nonce
            return UNSIGNED if unsigned else FOREIGN
        if message.nonce != nonce:
            return FOREIGN
        return ECHOED if message.kind in (Kind.WHERE, Kind.AFTER) else ""


class SilenceTest(Core[AfterSilence]):
    """The asker's side of AFTER: have the peer promise, keep silent, and see whether its packets get in.

    step_s: the silence that the result is about; delay_s: how long both sides send nothing. nonce: `NONCE_BYTES` random
    bytes. If nothing comes in, ask what was sent: that packet opens the way in again, if a NAT has forgotten it.
    """

    result: AfterSilence | None = None

    def __init__(
        self, nonce: bytes, key: bytes | None, *, step_s: float, delay_s: float, now: float, tell: Tell = silent
    ) -> None:
        self._message = Message(Kind.AFTER, nonce, delay_s=delay_s)
        self._key, self._step_s, self._tell = key, step_s, tell
        self._next = iter((self._agreed, self._silence_over, self._reported))
        self._question = self._ask(Kind.AGREED, AGREED_WITHIN_S, now)

    def _ask(self, answer: Kind, within_s: float, now: float, *, asks: bool = True) -> Question:
        message, key, tell = self._message, self._key, self._tell
        return Question(message, answer, key, now=now, within_s=within_s, length=ASKING_BYTES, asks=asks, tell=tell)

    def datagrams_to_send(self, now: float) -> list[Datagram]:
        """Nothing during the silence."""
        return self._question.datagrams_to_send(now)

    def get_timer(self) -> float | None:
        """When to ask again, or the next step begins."""
        return None if self.result is not None else self._question.get_timer()

    def handle_timer(self, now: float) -> None:
        """Go on to the next step when this one's time is up."""
        self._question.handle_timer(now)
        self._go_on(now)

    def receive(self, received: Received, now: float) -> None:
        """Take the promise, a packet after the silence, or what was sent."""
        self._question.receive(received, now)
        self._go_on(now)

    def refused(self, refusal: Refusal, now: float) -> None:
        """The host says that nobody listens."""
        self._question.refused(refusal, now)
        self._go_on(now)

    def _go_on(self, now: float) -> None:
        if self._question.over and self.result is None:
            next(self._next)(self._question.result, now)

    def _agreed(self, promise: Message | None, now: float) -> None:
        if promise is None:
            self._end(AfterSilence(self._step_s, False, agreed=False, rejected=self._question.rejected), now)
        else:
            self._question = self._ask(Kind.PROBE, self._message.delay_s + LATE_S, now, asks=False)

    def _silence_over(self, probe: Message | None, now: float) -> None:
        if probe is not None:
            self._end(AfterSilence(self._step_s, True), now)
        else:
            self._question = self._ask(Kind.AGREED, REPORTED_WITHIN_S, now)

    def _reported(self, report: Message | None, now: float) -> None:
        self._end(AfterSilence(self._step_s, False, sent=report.sent if report else None), now)

    def _end(self, result: AfterSilence, now: float) -> None:
        self.result = result
        self._tell(now, "concluded", arrived=result.arrived, agreed=result.agreed, sent=result.sent)
