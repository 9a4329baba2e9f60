"""STAMP test packets (RFC 8762, RFC 8972): codec of both roles, unauthenticated and authenticated.

Times are UNIX nanoseconds outside and NTP or PTP on the wire. What follows the base packet is in `stamp_tlv`.
"""

import hmac
import struct
from dataclasses import dataclass
from math import frexp
from typing import NamedTuple

UNAUTHENTICATED_BYTES = 44
AUTHENTICATED_BYTES = 112
SHORTEST = 41
"""Bytes of a TWAMP Light answer (RFC 5357 section 4.2.1), and of a request of that size: zeros make it 44."""
HMAC_BYTES = 16
_SIGNED_BYTES = AUTHENTICATED_BYTES - HMAC_BYTES

# Sequence number, timestamp, error estimate, SSID (RFC 8972 section 3).
_REQUEST = struct.Struct("!IQHH28x")
_SIGNED_REQUEST = struct.Struct("!I12xQHH68x")
_REQUEST_HEAD = struct.Struct("!IQHH")
# The same four, then receive timestamp and the sender's sequence number, timestamp, error estimate and TTL.
_ANSWER = struct.Struct("!IQHHQIQH2xB3x")
_SIGNED_ANSWER = struct.Struct("!I12xQHH4xQ8xI12xQH6xB15x")
_MUST_BE_ZERO = bytes(12)
_NO_TIME = bytes(8)
_PROCESSING_S = 60
"""No reflector keeps a packet for so long between receiving and answering it."""

_NTP_EPOCH_S = 2_208_988_800  # 1900-01-01 to 1970-01-01 (RFC 5905 section 6)
_SECOND_NS = 1_000_000_000
_ERA_SECONDS = 1 << 32
_LARGEST_ERROR_S = 2.0**32  # a clock that is off by more is useless
_SYNCHRONISED = 0x8000
PTP = 0x4000
"""The Z bit of an error estimate (RFC 8186 section 2.3)."""


class StampError(ValueError):
    """A packet to drop. `reason` is a word for a counter: `short`, `no-key`, `bad-hmac`, `an-answer`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Request(NamedTuple):
    """A session-sender's packet. `timestamp` and `error` stay as they are on the wire: a reflector only copies them."""

    sequence: int
    timestamp: int
    error: int
    ssid: int
    authenticated: bool


class Answer(NamedTuple):
    """A session-reflector's packet, times in UNIX nanoseconds by the clock of the host that took them."""

    sequence: int
    transmitted_ns: int
    error: "ErrorEstimate"
    ssid: int
    received_ns: int
    sender_sequence: int
    sender_ns: int
    sender_ttl: int


@dataclass(frozen=True, slots=True)
class ErrorEstimate:
    """How far a timestamp may be off (RFC 4656 section 4.1.2); `ptp`: the timestamps are PTP's (Z bit, RFC 8186)."""

    synchronised: bool = False
    seconds: float = 0.0
    ptp: bool = False

    def encode(self) -> int:
        """The field of 16 bits: the smallest value that is not below the estimate; its multiplier is never zero."""
        units = min(max(self.seconds, 0.0), _LARGEST_ERROR_S) * _ERA_SECONDS
        scale = max(frexp(units)[1] - 8, 0)
        multiplier = -int(-units // (1 << scale)) or 1
        if multiplier > 0xFF:
            scale, multiplier = scale + 1, 0x80
        return (_SYNCHRONISED * self.synchronised) | (PTP * self.ptp) | scale << 8 | multiplier

    @classmethod
    def decode(cls, field: int) -> "ErrorEstimate":
        """Read the field of 16 bits. A multiplier of zero, which is forbidden, means an unsynchronised clock."""
        multiplier = field & 0xFF
        seconds = multiplier * 2.0 ** ((field >> 8 & 0x3F) - 32)
        return cls(bool(field & _SYNCHRONISED and multiplier), seconds, bool(field & PTP))


def ntp_from_ns(unix_ns: int) -> int:
    """64-bit NTP timestamp of a UNIX time (RFC 5905 section 6)."""
    seconds, nanoseconds = divmod(unix_ns, _SECOND_NS)
    return (seconds + _NTP_EPOCH_S) % _ERA_SECONDS << 32 | (nanoseconds << 32) // _SECOND_NS


def ns_from_ntp(timestamp: int) -> int:
    """UNIX time of a 64-bit NTP timestamp, to the nearest nanosecond, between 1968 and 2104 (RFC 4330 section 3)."""
    seconds = timestamp >> 32
    if seconds < _ERA_SECONDS // 2:
        seconds += _ERA_SECONDS
    return (seconds - _NTP_EPOCH_S) * _SECOND_NS + (((timestamp & 0xFFFFFFFF) * _SECOND_NS + (1 << 31)) >> 32)


def ns_from_ptp(timestamp: int) -> int:
    """UNIX time of a truncated PTPv2 timestamp: 32 bits of seconds, 32 of nanoseconds (RFC 8186 section 2)."""
    return (timestamp >> 32) * _SECOND_NS + (timestamp & 0xFFFFFFFF)


def ptp_from_ns(unix_ns: int) -> int:
    """Truncated PTPv2 timestamp of a UNIX time. The seconds are this clock's, UTC's: a host does not know TAI's."""
    seconds, nanoseconds = divmod(unix_ns, _SECOND_NS)
    return seconds % _ERA_SECONDS << 32 | nanoseconds


def build_request(
    sequence: int, unix_ns: int, error: int, ssid: int, *, key: bytes | None = None, tlvs: bytes = b""
) -> bytes:
    """A session-sender's packet (RFC 8762 sections 4.2.1, 4.2.2), authenticated when there is a key.

    error: the field of an ErrorEstimate; its Z bit decides the format of the timestamp.
    """
    timestamp = ptp_from_ns(unix_ns) if error & PTP else ntp_from_ns(unix_ns)
    if key is None:
        return _REQUEST.pack(sequence, timestamp, error, ssid) + tlvs
    base = _SIGNED_REQUEST.pack(sequence, timestamp, error, ssid)
    return base + _hmac(key, base) + tlvs


def is_authenticated(data: bytes) -> bool:
    """Whether a request has the authenticated format: only that has twelve zeros at the place of the timestamp."""
    return len(data) >= AUTHENTICATED_BYTES and data[4:16] == _MUST_BE_ZERO


def parse_request(data: bytes, key: bytes | None = None) -> Request:
    """Read a request; the HMAC comes before anything else (RFC 8762 section 4.4). Raises StampError."""
    if is_authenticated(data):
        _verify(data, key)
        _refuse_answer(data[16:24], data[32:40])
        sequence, timestamp, error, ssid = _SIGNED_REQUEST.unpack_from(data)
        return Request(sequence, timestamp, error, ssid, True)
    if len(data) < SHORTEST:
        raise StampError("short")
    _refuse_answer(data[4:12], data[16:24])
    sequence, timestamp, error, ssid = _REQUEST_HEAD.unpack_from(data)
    return Request(sequence, timestamp, error, ssid, False)


def _refuse_answer(transmitted: bytes, received: bytes) -> None:
    """Two reflectors that took each other's answers for requests would loop forever, after one forged packet.

    Where a request has zeros (or padding), an answer has the time at which its request came, shortly before its own.
    """
    if received != _NO_TIME and 0 <= _seconds(transmitted) - _seconds(received) < _PROCESSING_S:
        raise StampError("an-answer")


def _seconds(timestamp: bytes) -> int:
    return int.from_bytes(timestamp[:4], "big")


def build_answer(
    request: Request,
    *,
    sequence: int,
    transmitted_ns: int,
    received_ns: int,
    ttl: int,
    error: int,
    key: bytes | None = None,
) -> bytes:
    """The base of a session-reflector's packet, in the request's format (RFC 8762 sections 4.3.1, 4.3.2).

    error: the field of an ErrorEstimate; its Z bit decides the format of the timestamps.
    """
    layout = _SIGNED_ANSWER if request.authenticated else _ANSWER
    stamped = ptp_from_ns if error & PTP else ntp_from_ns
    base = layout.pack(
        sequence,
        stamped(transmitted_ns),
        error,
        request.ssid,
        stamped(received_ns),
        request.sequence,
        request.timestamp,
        request.error,
        ttl,
    )
    return base + _hmac(key or b"", base) if request.authenticated else base


def parse_answer(data: bytes, key: bytes | None = None) -> Answer:
    """Read a reflector's packet; with a key only an authenticated one. Raises StampError."""
    if key is not None:
        if len(data) < AUTHENTICATED_BYTES:
            raise StampError("short")
        _verify(data, key)
    return read_unverified(data, signed=key is not None)


def read_unverified(data: bytes, *, signed: bool) -> Answer:
    """Read an answer without checking its signature, to find out why it does not count. Raises StampError if short."""
    if len(data) < (AUTHENTICATED_BYTES if signed else SHORTEST):
        raise StampError("short")
    if signed:
        fields = _SIGNED_ANSWER.unpack_from(data)
    else:
        fields = _ANSWER.unpack_from(data.ljust(UNAUTHENTICATED_BYTES, b"\0"))
    sequence, transmitted, error, ssid, received, sender_sequence, sender_timestamp, sender_error, ttl = fields
    read = ns_from_ptp if error & PTP else ns_from_ntp
    read_own = ns_from_ptp if sender_error & PTP else ns_from_ntp
    return Answer(
        sequence=sequence,
        transmitted_ns=read(transmitted),
        error=ErrorEstimate.decode(error),
        ssid=ssid,
        received_ns=read(received),
        sender_sequence=sender_sequence,
        sender_ns=read_own(sender_timestamp),
        sender_ttl=ttl,
    )


def _hmac(key: bytes, base: bytes) -> bytes:
    return hmac.digest(key, base, "sha256")[:HMAC_BYTES]


def _verify(data: bytes, key: bytes | None) -> None:
    if key is None:
        raise StampError("no-key")
    if not hmac.compare_digest(data[_SIGNED_BYTES:AUTHENTICATED_BYTES], _hmac(key, data[:_SIGNED_BYTES])):
        raise StampError("bad-hmac")
