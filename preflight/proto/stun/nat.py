"""What a node asks the peer's responder about a NAT between them: codec, and the responder's side without I/O.

WHERE: by which endpoint does the responder's tunnel reach the node with this public key? SEEN tells; the address and
port are the mapping, if a NAT makes one. AFTER: send me packets when this long has passed, during which nobody speaks.
AGREED promises it; asked again after that time, it tells how many left. PROBE is what the promise was about. With a
key everything is signed, and nothing else is answered.
"""

import hmac
import struct
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv6Address, ip_address
from typing import Protocol

from preflight.model.host_port import join_host_port

MAGIC = b"\xf7NAT"
"""First four bytes of every datagram: no STAMP sender reaches such a sequence number within a session."""
VERSION = 1
NONCE_BYTES = MAC_BYTES = 16
KEY_BYTES = 32
MAX_DELAY_S = 300.0
PROBES = 3
"""Packets at the end of a silence: one alone may be lost for another reason."""
MAX_PROMISES, MAX_PROMISES_OF_ONE = 64, 4
MEMORY_S = 30.0
"""How long a promise that was kept is remembered, for who asks what became of it."""

_LAYOUT = struct.Struct("!4sBBBx16sI32s16sH2x")
SIZE = _LAYOUT.size + MAC_BYTES
ASKING_BYTES = SIZE * (1 + PROBES)
"""An AFTER is padded to what it brings back: nobody gets more than was sent in its name."""
_NO_MAC = bytes(MAC_BYTES)


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

    public_key: of the asker's tunnel, in a WHERE. endpoint: `ADDRESS:PORT` in a SEEN, empty if the responder cannot
    tell. delay_s: in an AFTER, from now on. sent: in an AGREED, how many probes have left.
    """

    kind: Kind
    nonce: bytes
    public_key: bytes = bytes(KEY_BYTES)
    endpoint: str = ""
    delay_s: float = 0.0
    sent: int = 0


def encode(message: Message, key: bytes | None, *, length: int = SIZE) -> bytes:
    """The datagram, padded with zeros to `length` behind its signature (HMAC-SHA-256 cut to 128 bits)."""
    host, _, port = message.endpoint.rpartition(":")
    body = _LAYOUT.pack(
        MAGIC,
        VERSION,
        message.kind,
        message.sent,
        message.nonce,
        round(message.delay_s * 1000),
        message.public_key,
        _packed(host) if host else bytes(16),
        int(port or 0),
    )
    return (body + (_mac(key, body) if key is not None else _NO_MAC)).ljust(length, b"\0")


def decode(data: bytes, key: bytes | None) -> Message | None:
    """Read a datagram; None if it is none of ours, malformed, or not signed with the key."""
    if len(data) < SIZE or data[:4] != MAGIC:
        return None
    body, mac = data[: _LAYOUT.size], data[_LAYOUT.size : SIZE]
    if key is not None and not hmac.compare_digest(mac, _mac(key, body)):
        return None
    _, version, kind, sent, nonce, delay_ms, public_key, host, port = _LAYOUT.unpack(body)
    if version != VERSION or kind not in _KINDS:
        return None
    return Message(Kind(kind), nonce, public_key, _endpoint(host, port) if port else "", delay_ms / 1000, sent)


def _mac(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, body, "sha256")[:MAC_BYTES]


def _packed(host: str) -> bytes:
    packed = ip_address(host.strip("[]").partition("%")[0]).packed
    return packed if len(packed) == 16 else bytes(10) + b"\xff\xff" + packed


def _endpoint(packed: bytes, port: int) -> str:
    address = IPv6Address(packed)
    return join_host_port(str(address.ipv4_mapped or address), port)


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
"""Address and port of who asked, and the nonce."""


class NatServer:
    """The responder's side. key: the shared key; without one only provisioned sources may come here."""

    def __init__(self, key: bytes | None, view: TunnelView | None = None) -> None:
        self._key = key
        self._view = view
        self._promises: OrderedDict[Promised, _Promise] = OrderedDict()

    def handle(self, data: bytes, source: tuple[str, int], now: float) -> list[bytes] | None:
        """Answers to send back to `source`, at most as many bytes as came in; `now` in seconds of a steady clock.

        None for what is no question. A good one may get no answer either: it is asked again, or too much was promised.
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
        """The promises to keep now, each once, and what to send; say with `left` how much of it left."""
        due = [name for name, promise in self._promises.items() if not promise.kept and promise.due <= now]
        for name in due:
            self._promises[name].kept = True
        return [(name, [encode(Message(Kind.PROBE, name[2]), self._key)] * PROBES) for name in due]

    def left(self, name: Promised, count: int) -> None:
        """So many probes of a promise left."""
        self._promises[name].sent = count

    def waits(self) -> bool:
        """Whether a promise is still to be kept."""
        return any(not promise.kept for promise in self._promises.values())

    def wants_silence(self, address: str) -> bool:
        """Whether nothing should be said to an address of one's own accord: a silence of its is being measured."""
        return any(name[0] == address and not promise.kept for name, promise in self._promises.items())
