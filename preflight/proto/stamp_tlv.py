"""TLVs of extended STAMP packets (RFC 8972 section 4): what a sender appends, and how a reflector answers them."""

import hmac
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum

from preflight.proto.stamp import HMAC_BYTES, ntp_from_ns

UNRECOGNISED = 0x80
MALFORMED = 0x40
INTEGRITY = 0x20
HEADER_BYTES = 4
MAX_TLVS = 64
"""What follows more TLVs than this is copied unread: no packet may cost more than its share."""

_HEADER = struct.Struct("!BBH")
_U32 = struct.Struct("!I")
_COUNTERS = struct.Struct("!II")
_FOLLOW_UP = struct.Struct("!IQB3x")
_SOFTWARE_LOCAL = 2  # RFC 8972 section 4.3, table 8: a timestamp taken by software on this host
_SYNC_NTP, _SYNC_FREE_RUNNING = 1, 5


class Kind(IntEnum):
    """IANA's STAMP TLV types that this reflector knows."""

    EXTRA_PADDING = 1
    TIMESTAMP_INFORMATION = 3
    DIRECT_MEASUREMENT = 5
    ACCESS_REPORT = 6
    FOLLOW_UP = 7
    HMAC = 8


@dataclass(frozen=True, slots=True)
class Tlv:
    """One TLV. A sender sends `flags` U=1: a reflector that knows the type clears it (RFC 8972 section 4)."""

    kind: int
    value: bytes = b""
    flags: int = UNRECOGNISED

    def encode(self) -> bytes:
        """Flags, type, length of the value, value."""
        return _HEADER.pack(self.flags, self.kind, len(self.value)) + self.value


@dataclass(frozen=True, slots=True)
class Facts:
    """What a reflector knows about the session, for the TLVs that ask for it.

    received and transmitted count this session's packets, the present one and its answer among them. previous: sequence
    number and time of transmission (UNIX ns) of the answer before; zeros before the first.
    """

    received: int
    transmitted: int
    previous: tuple[int, int] = (0, 0)
    synchronised: bool = False


def encode(tlvs: Iterable[Tlv], *, sequence: int = 0, key: bytes | None = None) -> bytes:
    """A sender's TLVs; with a key the HMAC TLV stands last, after it only Extra Padding (RFC 8972 section 4.8)."""
    tlvs = list(tlvs)
    padding = [tlv for tlv in tlvs if tlv.kind == Kind.EXTRA_PADDING]
    covered = b"".join(tlv.encode() for tlv in tlvs if tlv.kind != Kind.EXTRA_PADDING)
    if key is not None and covered:
        covered += Tlv(Kind.HMAC, _digest(key, sequence, covered)).encode()
    return covered + b"".join(tlv.encode() for tlv in padding)


def padding(length: int) -> bytes:
    """An Extra Padding TLV of `length` bytes in all; nothing below the four bytes of its header."""
    return Tlv(Kind.EXTRA_PADDING, bytes(length - HEADER_BYTES)).encode() if length >= HEADER_BYTES else b""


def parse(area: bytes) -> list[Tlv]:
    """The well-formed TLVs of a packet, up to the first that is cut short."""
    return [Tlv(area[at + 1], area[at + HEADER_BYTES : end], area[at]) for at, end, whole in _walk(area) if whole]


def reflect(
    area: bytes, facts: Facts, *, request: int, answer: int, key: bytes | None = None, authenticated: bool = False
) -> bytes:
    """The TLVs of the answer, as many bytes as came. request, answer: the two packets' sequence numbers.

    authenticated: the packet has the authenticated format, so its TLVs must have an HMAC too; else it is looked at
    where there is one.

    An unknown type comes back with U; a malformed TLV with M, and what follows it unread; if the HMAC does not fit,
    all come back with I and nothing else is done with them (RFC 8972 sections 4, 4.8).
    """
    out = bytearray(area)
    places = _walk(area)
    if key is not None and not _intact(area, places, request, key, authenticated):
        for at, _, _ in places:
            out[at] = INTEGRITY | (0 if area[at + 1] in _VALUE_BYTES else UNRECOGNISED)
        return bytes(out)
    for at, end, whole in places:
        kind, value = area[at + 1], area[at + HEADER_BYTES : end]
        if kind not in _VALUE_BYTES:
            out[at] = UNRECOGNISED if whole else UNRECOGNISED | MALFORMED
        elif not whole or _VALUE_BYTES[kind] not in (None, len(value)):
            out[at] = MALFORMED
            break
        elif kind == Kind.HMAC and key is None:
            out[at] = UNRECOGNISED
        else:
            out[at] = 0
            if kind == Kind.HMAC and key is not None:
                value = _digest(key, answer, bytes(out[:at]))
            elif kind in _ANSWERS:
                value = _ANSWERS[kind](value, facts)
            out[at + HEADER_BYTES : end] = value
    return bytes(out)


def _walk(area: bytes) -> list[tuple[int, int, bool]]:
    """Start, end and whether it is whole, of each TLV. Type 0 is reserved: zeros are a TWAMP Light sender's padding."""
    places: list[tuple[int, int, bool]] = []
    at = 0
    while at + HEADER_BYTES <= len(area) and area[at + 1] and len(places) < MAX_TLVS:
        end = at + HEADER_BYTES + (area[at + 2] << 8 | area[at + 3])
        places.append((at, min(end, len(area)), end <= len(area)))
        at = end
    return places


def _intact(area: bytes, places: list[tuple[int, int, bool]], sequence: int, key: bytes, required: bool) -> bool:
    """Whether the HMAC TLV fits; only Extra Padding may always do without one, and only that may follow it."""
    kinds = [area[at + 1] for at, _, _ in places]
    if Kind.HMAC not in kinds:
        return not required or all(kind == Kind.EXTRA_PADDING for kind in kinds)
    index = kinds.index(Kind.HMAC)
    at, end, whole = places[index]
    if not whole or end - at != HEADER_BYTES + HMAC_BYTES or set(kinds[index + 1 :]) - {Kind.EXTRA_PADDING}:
        return False
    return hmac.compare_digest(area[at + HEADER_BYTES : end], _digest(key, sequence, area[:at]))


def _digest(key: bytes, sequence: int, covered: bytes) -> bytes:
    """HMAC over the packet's sequence number and the TLVs before (RFC 8972 section 4.8)."""
    return hmac.digest(key, _U32.pack(sequence) + covered, "sha256")[:HMAC_BYTES]


def _timestamp_information(value: bytes, facts: Facts) -> bytes:
    source = _SYNC_NTP if facts.synchronised else _SYNC_FREE_RUNNING
    return bytes((source, _SOFTWARE_LOCAL, source, _SOFTWARE_LOCAL))


def _direct_measurement(value: bytes, facts: Facts) -> bytes:
    return value[:4] + _COUNTERS.pack(facts.received % 2**32, facts.transmitted % 2**32)


def _follow_up(value: bytes, facts: Facts) -> bytes:
    sequence, unix_ns = facts.previous
    return _FOLLOW_UP.pack(sequence, ntp_from_ns(unix_ns), _SOFTWARE_LOCAL) if unix_ns else bytes(_FOLLOW_UP.size)


_VALUE_BYTES: dict[int, int | None] = {
    Kind.EXTRA_PADDING: None,
    Kind.TIMESTAMP_INFORMATION: 4,
    Kind.DIRECT_MEASUREMENT: 12,
    Kind.ACCESS_REPORT: 4,
    Kind.FOLLOW_UP: _FOLLOW_UP.size,
    Kind.HMAC: HMAC_BYTES,
}
"""How long the value of each known type is; None: any length."""

_ANSWERS: dict[int, Callable[[bytes, Facts], bytes]] = {
    Kind.TIMESTAMP_INFORMATION: _timestamp_information,
    Kind.DIRECT_MEASUREMENT: _direct_measurement,
    Kind.FOLLOW_UP: _follow_up,
}
"""What goes into the value of the answer; every other known type is copied."""
