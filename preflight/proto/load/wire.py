"""What asker and responder say about load, on one TCP connection to the port that the responder has for UDP.

1. The responder sends a challenge of 20 bytes to anyone who connects: fewer than the handshake of TCP cost the asker.
2. The asker sends a request, signed with the shared key over the challenge, so that no old request can be used again.
3. The responder sends its grant, signed over the nonce of the request: what it allows of it, or why nothing.
4. Data follow, by TCP on this connection, or by UDP as datagrams that begin with the session of the grant.
5. The end that received by request of the other reports what it counted, signed in the same way.

Only anyone who proved the key gets more bytes than it sent, at an address that TCP has proved.
"""

import struct
from dataclasses import dataclass

from preflight.model.load import Counted, FlowKind, Refusal
from preflight.proto.responder.frame import MAC_BYTES, is_signed, signature

NONCE_BYTES = 16
SESSION_BYTES = 8
MAGIC = b"\xf4LOD"
"""Of datagrams of a flow."""
DATAGRAM_BYTES = 1200
"""UDP payload of each: it fits into every tunnel that carries IPv6."""
_DATAGRAM = struct.Struct(f"!4s{SESSION_BYTES}sI")
_CHALLENGE, _REQUEST, _GRANT, _REPORT = b"\xf4CHL", b"\xf4REQ", b"\xf4GRA", b"\xf4REP"
_ASKED = struct.Struct(f"!4sB3xIQI{NONCE_BYTES}s")
_GRANTED = struct.Struct(f"!4sB3xIQI{SESSION_BYTES}s")
_COUNTED = struct.Struct("!4s4xQQQQQQQ")
CHALLENGE_BYTES = len(_CHALLENGE) + NONCE_BYTES
REQUEST_BYTES = _ASKED.size + MAC_BYTES
GRANT_BYTES = _GRANTED.size + MAC_BYTES
REPORT_BYTES = _COUNTED.size + MAC_BYTES
_KINDS: "tuple[FlowKind, ...]" = ("tcp-up", "tcp-down", "udp-up", "udp-down")
_REFUSALS: "tuple[Refusal | None, ...]" = (None, "busy", "spent")
_MOST = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Amount:
    """How much a flow may be. kbit: of a UDP flow, kilobits of payload a second."""

    seconds: float
    bytes: int
    kbit: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """What an asker wants. nonce: random, so that each grant is for one request."""

    kind: FlowKind
    amount: Amount
    nonce: bytes


@dataclass(frozen=True, slots=True)
class Grant:
    """What it gets; session: names the datagrams of a UDP flow. refusal: why it gets nothing."""

    amount: Amount
    session: bytes
    refusal: "Refusal | None" = None


@dataclass(frozen=True, slots=True)
class Report:
    """What an end has counted, and how many bytes it sent."""

    counted: Counted
    sent_bytes: int = 0


def challenge(nonce: bytes) -> bytes:
    """The responder's first words."""
    return _CHALLENGE + nonce


def read_challenge(data: bytes) -> bytes | None:
    """The nonce in it; None if these are not a responder's first words."""
    return data[len(_CHALLENGE) :] if data.startswith(_CHALLENGE) and len(data) == CHALLENGE_BYTES else None


def request(asked: Request, nonce: bytes, key: bytes) -> bytes:
    """A request, signed for the challenge with this nonce."""
    amount = asked.amount
    kind, milliseconds = _KINDS.index(asked.kind), min(round(amount.seconds * 1000), _MOST)
    body = _ASKED.pack(_REQUEST, kind, milliseconds, amount.bytes, min(amount.kbit, _MOST), asked.nonce)
    return body + signature(key, nonce + body)


def read_request(data: bytes, nonce: bytes, key: bytes) -> Request | None:
    """A request of somebody who has the key, about this challenge; None for everything else."""
    body = _signed(data, REQUEST_BYTES, nonce, key)
    if body is None:
        return None
    magic, kind, milliseconds, size, kbit, own = _ASKED.unpack(body)
    if magic != _REQUEST or kind >= len(_KINDS):
        return None
    return Request(_KINDS[kind], Amount(milliseconds / 1000, size, kbit), own)


def grant(given: Grant, nonce: bytes, key: bytes) -> bytes:
    """A grant, signed for the request with this nonce."""
    amount = given.amount
    refusal, milliseconds = _REFUSALS.index(given.refusal), round(amount.seconds * 1000)
    body = _GRANTED.pack(_GRANT, refusal, milliseconds, amount.bytes, amount.kbit, given.session)
    return body + signature(key, nonce + body)


def read_grant(data: bytes, nonce: bytes, key: bytes) -> Grant | None:
    """The grant for this request; None for everything else."""
    body = _signed(data, GRANT_BYTES, nonce, key)
    if body is None:
        return None
    magic, refusal, milliseconds, size, kbit, session = _GRANTED.unpack(body)
    if magic != _GRANT or refusal >= len(_REFUSALS):
        return None
    return Grant(Amount(milliseconds / 1000, size, kbit), session, _REFUSALS[refusal])


def report(said: Report, nonce: bytes, key: bytes) -> bytes:
    """A report, signed for the request with this nonce."""
    seen = said.counted
    times = (round(seen.seconds * 1e6), round(seen.steady_s * 1e6))
    numbers = (seen.bytes, seen.packets, times[0], seen.steady_bytes, times[1], seen.overflowed, said.sent_bytes)
    body = _COUNTED.pack(_REPORT, *numbers)
    return body + signature(key, nonce + body)


def read_report(data: bytes, nonce: bytes, key: bytes) -> Report | None:
    """The report about the flow of this request; None for everything else."""
    body = _signed(data, REPORT_BYTES, nonce, key)
    if body is None:
        return None
    magic, size, packets, micros, steady, steady_micros, overflowed, sent = _COUNTED.unpack(body)
    if magic != _REPORT:
        return None
    return Report(Counted(size, packets, micros / 1e6, steady, steady_micros / 1e6, overflowed), sent)


def datagram(session: bytes, number: int, size: int = DATAGRAM_BYTES) -> bytes:
    """A datagram of a flow."""
    head = _DATAGRAM.pack(MAGIC, session, number & _MOST)
    return head + bytes(max(size - len(head), 0))


def is_of(session: bytes, data: bytes) -> bool:
    """Whether a datagram belongs to this flow."""
    return data.startswith(MAGIC + session)


def _signed(data: bytes, size: int, nonce: bytes, key: bytes) -> bytes | None:
    """What is before the signature, if that is right for this nonce."""
    body, mac = data[:-MAC_BYTES], data[-MAC_BYTES:]
    return body if len(data) == size and is_signed(nonce + body, mac, key) else None
