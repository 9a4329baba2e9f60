"""Asking a responder to trace the way back to this node: codec, and both sides of it, without I/O.

An ASK that carries the cookie of a CHALLENGE proves the asker's address; the responder traces towards that address and
no other, and sends the hops in one REPORT that is as long as the ASK. So nobody becomes a target: an unproven address
gets only a CHALLENGE, shorter than the ASK, and a proven one gets a few small packets, a few times.
"""

import struct
from collections import OrderedDict, deque
from dataclasses import dataclass, field, replace
from enum import IntEnum

from preflight.model.event import Tell, silent
from preflight.model.icmp import Hop, Trace
from preflight.model.return_path import INTERFACE_NAME, ReturnPath, ReverseTraceroute
from preflight.proto.core import Core, Datagram, Received, Refusal
from preflight.proto.responder.admission import TokenBucket
from preflight.proto.responder.cookie import COOKIE_BYTES, Cookies
from preflight.proto.responder.frame import NO_MAC, Head, pack_address, unpack_address

MAGIC = b"\xf8TRC"
VERSION = 1
TOKEN_BYTES = 8
MAX_HOPS = 12
FULL_TTL = 255
FARTHEST = 64
"""A packet that has less of its TTL left was not sent with 255: no overlay is that long."""

TRACES_PER_S = 0.5
TRACE_BURST = 4.0
ALL_TRACES_PER_S = 5.0
ALL_TRACES_BURST = 20.0
MAX_WAITING = 32
MAX_SOURCES = 1024

# Magic, token, version, kind, TTL that was left, cookie, MAC.
_HEADER = struct.Struct("!4s8sBBBx16s16s")
_HEAD = Head(MAGIC, _HEADER)
# The interfaces of the way back, its gateway, number of hops; each hop: address, microseconds, whether it is the end.
_WAY = struct.Struct("!16s16s16sB")
_HOP = struct.Struct("!16sIB")
MESSAGE_BYTES = _HEADER.size + _WAY.size + MAX_HOPS * _HOP.size
"""Length of every ASK and REPORT."""
_NO_ADDRESS = bytes(16)
_NO_TIME = 0xFFFFFFFF


class Kind(IntEnum):
    """What a datagram is."""

    ASK = 1
    CHALLENGE = 2
    REPORT = 3
    BUSY = 4


_KINDS = frozenset(map(int, Kind))
_LONG = frozenset({Kind.ASK, Kind.REPORT})


@dataclass(frozen=True, slots=True)
class Message:
    """One datagram. A REPORT has in `ttl` what was left of the TTL of the ASK; None = unknown."""

    kind: Kind
    token: bytes
    cookie: bytes = bytes(COOKIE_BYTES)
    ttl: int | None = None
    way: ReturnPath = field(default_factory=ReturnPath)
    trace: Trace = field(default_factory=lambda: Trace(()))


def hops_crossed(ttl: int | None) -> int | None:
    """The links behind a packet that was sent with a TTL of 255; None if it cannot be one."""
    return None if ttl is None or ttl <= FULL_TTL - FARTHEST else FULL_TTL - ttl + 1


def encode(message: Message, *, key: bytes | None = None) -> bytes:
    """The datagram's payload; with `key` signed by HMAC-SHA-256 cut to 128 bits."""
    data = _HEADER.pack(
        MAGIC,
        message.token,
        VERSION,
        message.kind,
        message.ttl or 0,
        message.cookie,
        NO_MAC,
    )
    if message.kind is Kind.REPORT:
        data += _body(message.way, message.trace.hops[:MAX_HOPS])
    if message.kind in _LONG:
        data = data.ljust(MESSAGE_BYTES, b"\0")
    return _HEAD.sign(data, key)


def _body(way: ReturnPath, hops: tuple[Hop, ...]) -> bytes:
    names = ((name or "").encode("ascii") for name in (way.arrival, way.interface))
    return _WAY.pack(*names, _pack(way.gateway), len(hops)) + b"".join(map(_packed_hop, hops))


def decode(data: bytes, *, key: bytes | None = None) -> Message | None:
    """Read a datagram; None if it is not ours, is malformed, or does not carry the right signature for `key`."""
    if not _HEAD.accepts(data, key):
        return None
    _, token, version, kind, ttl, cookie, _ = _HEADER.unpack_from(data)
    if version != VERSION or kind not in _KINDS or len(data) < (MESSAGE_BYTES if kind in _LONG else 0):
        return None
    message = Message(Kind(kind), token, cookie, ttl or None)
    return _with_body(message, data) if kind == Kind.REPORT else message


def _with_body(message: Message, data: bytes) -> Message | None:
    arrival, interface, gateway, count = _WAY.unpack_from(data, _HEADER.size)
    if count > MAX_HOPS:
        return None
    names = [name.rstrip(b"\0").decode("latin-1") for name in (arrival, interface)]
    if not all(name == "" or INTERFACE_NAME.fullmatch(name) for name in names):
        return None
    start = _HEADER.size + _WAY.size
    hops = tuple(_hop(ttl, *_HOP.unpack_from(data, start + (ttl - 1) * _HOP.size)) for ttl in range(1, count + 1))
    way = ReturnPath(names[0] or None, names[1] or None, _unpack(gateway))
    return replace(message, way=way, trace=Trace(hops))


def _hop(ttl: int, address: bytes, microseconds: int, end: int) -> Hop:
    shown = _unpack(address)
    rtt_ms = None if shown is None or microseconds == _NO_TIME else microseconds / 1000
    return Hop(ttl, shown, rtt_ms, reached=shown is not None and bool(end & 1))


def _packed_hop(hop: Hop) -> bytes:
    rtt = _NO_TIME if hop.rtt_ms is None else min(max(round(hop.rtt_ms * 1000), 0), _NO_TIME - 1)
    return _HOP.pack(_pack(hop.address), rtt, hop.reached)


def _pack(address: str | None) -> bytes:
    return _NO_ADDRESS if address is None else pack_address(address)


def _unpack(packed: bytes) -> str | None:
    return None if packed == _NO_ADDRESS else unpack_address(packed)


@dataclass(frozen=True, slots=True)
class Order:
    """A trace to make towards `source`; its report goes there too, both from `local`, where the ASK came in."""

    source: tuple[str, int]
    local: str
    token: bytes
    ttl: int | None


class TraceServer:
    """The responder's side: one call per datagram. Orders wait in a short queue for `next`.

    key: the shared key; with one, it answers only datagrams signed with it, and signs the answers.
    secret: random bytes of this process, for the cookies. now: seconds of a steady clock.
    """

    def __init__(self, key: bytes | None, secret: bytes, now: float) -> None:
        self._key = key
        self._cookies = Cookies(secret)
        self._all = TokenBucket(ALL_TRACES_PER_S, ALL_TRACES_BURST, now)
        self._sources: OrderedDict[str, TokenBucket] = OrderedDict()
        self._orders: deque[Order] = deque()
        self._open: set[tuple[tuple[str, int], bytes]] = set()

    def handle(
        self, data: bytes, source: tuple[str, int], local: str, ttl: int | None, now: float
    ) -> tuple[list[bytes], str]:
        """What to send back to `source` now, and the reason where the datagram is refused.

        local: the address that the datagram came to, ttl: what was left of its TTL. An ASK that proves its source
        becomes an order; it is ignored while its trace waits or runs.
        """
        message = decode(data, key=self._key)
        if message is None or message.kind is not Kind.ASK:
            return [], "bad-trace"
        if not self._cookies.prove(message.cookie, message.token, source, now):
            cookie = self._cookies.make(message.token, source, now)
            return [encode(Message(Kind.CHALLENGE, message.token, cookie), key=self._key)], ""
        if (source, message.token) in self._open:
            return [], ""
        if len(self._open) >= MAX_WAITING or not (self._bucket(source[0], now).take(now) and self._all.take(now)):
            return [encode(Message(Kind.BUSY, message.token), key=self._key)], "trace-limited"
        self._orders.append(Order(source, local, message.token, ttl))
        self._open.add((source, message.token))
        return [], ""

    def next(self) -> Order | None:
        """The next trace to make; `report` ends it."""
        return self._orders.popleft() if self._orders else None

    def report(self, order: Order, trace: Trace, way: ReturnPath) -> bytes:
        """The answer to an order that was carried out."""
        self._open.discard((order.source, order.token))
        return encode(Message(Kind.REPORT, order.token, ttl=order.ttl, way=way, trace=trace), key=self._key)

    def _bucket(self, address: str, now: float) -> TokenBucket:
        """The source's bucket; a full table forgets the source that was not seen for longest."""
        bucket = self._sources.pop(address, None) or TokenBucket(TRACES_PER_S, TRACE_BURST, now)
        if len(self._sources) >= MAX_SOURCES:
            self._sources.popitem(last=False)
        self._sources[address] = bucket
        return bucket


TRIES = 3
CHALLENGE_WITHIN_S = 0.4
REPORT_AGAIN_S = 1.0
REPORT_WITHIN_S = 4.0


class TraceQuestion(Core[ReverseTraceroute]):
    """The asker's side: one question to one responder. All times are seconds of one steady clock.

    here: this node's own address on the socket. A responder that answers none of a few ASKs does not trace, and one
    that is BUSY is not worth waiting for: the question is then over without a result.
    """

    result: ReverseTraceroute | None = None

    def __init__(self, token: bytes, key: bytes | None, here: str, now: float, tell: Tell = silent) -> None:
        self._token = token
        self._key = key
        self._here = here
        self._tell = tell
        self._cookie: bytes | None = None
        self._send_at = now
        self._ends_at = now + TRIES * CHALLENGE_WITHIN_S
        self._over = False

    def get_timer(self) -> float | None:
        """When to ask again, or to give up."""
        return None if self._over else min(self._send_at, self._ends_at)

    def handle_timer(self, now: float) -> None:
        """Give up when nothing has come in time."""
        if now >= self._ends_at and not self._over:
            self._end(now, "nothing came in time")

    def datagrams_to_send(self, now: float) -> list[Datagram]:
        """An ASK, again after a while; with the cookie as soon as there is one."""
        if self._over or now < self._send_at:
            return []
        self._send_at = now + (CHALLENGE_WITHIN_S if self._cookie is None else REPORT_AGAIN_S)
        self._tell(now, "asked", with_cookie=self._cookie is not None)
        return [Datagram(encode(Message(Kind.ASK, self._token, self._cookie or bytes(COOKIE_BYTES)), key=self._key))]

    def receive(self, received: Received, now: float) -> None:
        """Take a CHALLENGE, the REPORT, or BUSY."""
        message = decode(received.data, key=self._key)
        if self._over or message is None or message.token != self._token:
            return
        if message.kind is Kind.CHALLENGE and self._cookie is None:
            self._cookie = message.cookie
            self._send_at, self._ends_at = now, now + REPORT_WITHIN_S
            self._tell(now, "challenged")
        elif message.kind is Kind.REPORT and self._cookie is not None:
            there, back = hops_crossed(message.ttl), hops_crossed(received.ttl)
            self.result = ReverseTraceroute(self._here, message.trace, message.way, there, back)
            self._end(now, "reported")
        elif message.kind is Kind.BUSY:
            self._end(now, "busy")

    def refused(self, refusal: Refusal, now: float) -> None:
        """The host says that nobody listens."""
        if refusal.port_unreachable:
            self._end(now, "port unreachable")

    def _end(self, now: float, because: str) -> None:
        self._over = True
        hops = len(self.result.trace.hops) if self.result else None
        self._tell(now, "concluded", because=because, hops=hops)
