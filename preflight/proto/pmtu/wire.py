"""Our path-MTU probe protocol on the responder's UDP port: codec, and the responder's side of it, without I/O.

Forward: the responder answers a large PROBE with a small ACK. Reverse: a small REQUEST names sizes, and the responder
sends one ANSWER of each size, only to an address that gave back the cookie of a HELLO. All sizes are IP packets in
bytes. Token and number come first, because ICMP errors quote only the start of a payload (RFC 8899 section 4.6.1 asks
to check both).
"""

import hmac
import struct
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Protocol

from preflight.proto.responder.cookie import COOKIE_BYTES, Cookies
from preflight.proto.responder.frame import NO_MAC, Head

MAGIC = b"\xf5PMT"
"""First four bytes of every datagram: no STAMP sender reaches a sequence number of 0xF5504D54 within a session."""
VERSION = 1
TOKEN_BYTES = 8
MAX_SIZES = 10
"""Answers to one request: ten full-size packets are what a new flow may send at once (RFC 6928)."""
SMALLEST = 144
LARGEST = 9216
"""Sizes that can be asked for; the smallest has room for the largest of our small messages over IPv6."""
UNKNOWN_COUNT = 0xFFFFFFFF

_HEADER = struct.Struct("!4s8sIBBHHHIB3x16s16s")
_HEAD = Head(MAGIC, _HEADER)
_QUOTED = struct.Struct("!4s8sI")
_NO_COOKIE = bytes(COOKIE_BYTES)


class Kind(IntEnum):
    """What a datagram is; odd kinds ask, the next even kind answers."""

    HELLO = 1
    WELCOME = 2
    PROBE = 3
    ACK = 4
    REQUEST = 5
    ANSWER = 6


_KINDS = frozenset(map(int, Kind))


@dataclass(frozen=True, slots=True)
class Message:
    """One datagram. `size` is the IP packet that carries a PROBE or ANSWER, in an ACK the one that arrived.

    A WELCOME describes the answering host: the cookie for REQUESTs, `device_mtu` and `path_mtu` (what its interface
    and its kernel's PMTU cache say towards the asker, 0 = unknown). WELCOME and ACK carry `reassembled`, its count of
    datagrams that came in fragments.
    """

    kind: Kind
    token: bytes
    number: int
    size: int = 0
    device_mtu: int = 0
    path_mtu: int = 0
    reassembled: int | None = None
    cookie: bytes = _NO_COOKIE
    sizes: tuple[int, ...] = ()


def overhead(address: str) -> int:
    """Bytes of IP and UDP header before our payload: 28 for IPv4 (also IPv4-mapped), 48 for IPv6."""
    return 48 if ":" in address and "." not in address else 28


def encode(message: Message, *, length: int = 0, key: bytes | None = None) -> bytes:
    """The datagram's payload, padded with zeros to `length`; with `key` signed by HMAC-SHA-256 cut to 128 bits."""
    header = _HEADER.pack(
        MAGIC,
        message.token,
        message.number,
        VERSION,
        message.kind,
        message.size,
        message.device_mtu,
        message.path_mtu,
        UNKNOWN_COUNT if message.reassembled is None else message.reassembled % UNKNOWN_COUNT,
        len(message.sizes),
        message.cookie,
        NO_MAC,
    )
    data = (header + struct.pack(f"!{len(message.sizes)}H", *message.sizes)).ljust(length, b"\0")
    return _HEAD.sign(data, key)


def decode(data: bytes, *, key: bytes | None = None) -> Message | None:
    """Read a datagram; None if it is not ours, is malformed, or does not carry the right signature for `key`."""
    if not _HEAD.accepts(data, key):
        return None
    _, token, number, version, kind, size, device_mtu, path_mtu, reassembled, count, cookie, _ = _HEADER.unpack_from(
        data
    )
    if version != VERSION or kind not in _KINDS or count > MAX_SIZES or len(data) < _HEADER.size + 2 * count:
        return None
    return Message(
        kind=Kind(kind),
        token=token,
        number=number,
        size=size,
        device_mtu=device_mtu,
        path_mtu=path_mtu,
        reassembled=None if reassembled == UNKNOWN_COUNT else reassembled,
        cookie=cookie,
        sizes=struct.unpack_from(f"!{count}H", data, _HEADER.size),
    )


def quoted_number(payload: bytes, token: bytes) -> int | None:
    """The number of our datagram that an ICMP error quotes; None unless it carries our token."""
    if len(payload) < _QUOTED.size:
        return None
    magic, quoted_token, number = _QUOTED.unpack_from(payload)
    return number if magic == MAGIC and hmac.compare_digest(quoted_token, token) else None


class HostView(Protocol):
    """What the responder's host knows about its own side of the path."""

    def device_mtu(self, address: str) -> int:
        """MTU of the interface that leads to `address`, bytes; 0 = unknown."""

    def path_mtu(self, address: str) -> int:
        """Path MTU towards `address` in the kernel's cache, bytes; 0 = unknown."""

    def reassembled(self) -> int | None:
        """How many IP datagrams this host has reassembled from fragments; None = unknown."""


class ProbeServer:
    """The responder's side: stateless, one call per datagram.

    key: the shared key; with one, it answers only datagrams signed with it, and signs the answers.
    secret: random bytes of this process, for the cookies.
    host: what this host knows; without it a peer learns less.
    """

    def __init__(self, key: bytes | None, secret: bytes, host: HostView | None = None) -> None:
        self._key = key
        self._cookies = Cookies(secret)
        self._host = host

    def handle(self, data: bytes, source: tuple[str, int], now: float) -> list[bytes]:
        """Answers to send back to `source`, at most as many bytes as came in unless the cookie proves the address.

        `now` is in seconds of any steady clock. Whatever is not ours, malformed or not signed gets no answer. The
        socket that sends the answers must not fragment (IP_PMTUDISC_PROBE), and an EMSGSIZE on one loses only that one.
        """
        message = decode(data, key=self._key)
        if message is None:
            return []
        address = source[0]
        if message.kind is Kind.REQUEST and self._cookies.prove(message.cookie, message.token, source, now):
            return self._large(message, address)
        if message.kind is Kind.PROBE:
            arrived = min(len(data) + overhead(address), 0xFFFF)
            answer = Message(Kind.ACK, message.token, message.number, size=arrived, reassembled=self._reassembled())
        elif message.kind in (Kind.HELLO, Kind.REQUEST):
            answer = self._welcome(message, source, now)
        else:
            return []
        return [encode(answer, key=self._key)]

    def _welcome(self, message: Message, source: tuple[str, int], now: float) -> Message:
        host, address = self._host, source[0]
        return Message(
            Kind.WELCOME,
            message.token,
            message.number,
            device_mtu=min(host.device_mtu(address), 0xFFFF) if host else 0,
            path_mtu=min(host.path_mtu(address), 0xFFFF) if host else 0,
            reassembled=self._reassembled(),
            cookie=self._cookies.make(message.token, source, now),
        )

    def _reassembled(self) -> int | None:
        return self._host.reassembled() if self._host else None

    def _large(self, request: Message, address: str) -> list[bytes]:
        top = min((self._host.device_mtu(address) if self._host else 0) or LARGEST, LARGEST)
        answer = Message(Kind.ANSWER, request.token, request.number)
        return [
            encode(
                replace(answer, number=(request.number + place) % 2**32, size=size),
                length=size - overhead(address),
                key=self._key,
            )
            for place, size in enumerate(request.sizes)
            if SMALLEST <= size <= top
        ]
