"""TLVs of extended STAMP packets (RFC 8972 section 4): what a sender appends, and how a reflector answers them."""

import hmac
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import ip_address

from preflight.proto.stamp.wire import HMAC_BYTES, ntp_from_ns

UNRECOGNISED = 0x80
MALFORMED = 0x40
INTEGRITY = 0x20
HEADER_BYTES = 4
MAX_TLVS = 64
"""Everything after this many TLVs is copied unread, so that no packet costs too much."""

_HEADER = struct.Struct("!BBH")
_U32 = struct.Struct("!I")
_PORTS = struct.Struct("!HH")  # destination, source
_CLASS = struct.Struct("!HH")  # DSCP1: 6 bits, DSCP2: 6, ECN: 2, RP: 2; reserved
_COUNTERS = struct.Struct("!II")
_DROPS = struct.Struct("!III")
_FOLLOW_UP = struct.Struct("!IQB3x")
_SOFTWARE_LOCAL = 2  # RFC 8972 section 4.3, table 8: a timestamp taken by software on this host
_SYNC_NTP, _SYNC_FREE_RUNNING = 1, 5


class Kind(IntEnum):
    """IANA's STAMP TLV types that this reflector knows, and one of ours."""

    EXTRA_PADDING = 1
    LOCATION = 2
    TIMESTAMP_INFORMATION = 3
    CLASS_OF_SERVICE = 4
    DIRECT_MEASUREMENT = 5
    ACCESS_REPORT = 6
    FOLLOW_UP = 7
    HMAC = 8
    DROPS = 252
    """Ours, of the range for private use: what the reflector dropped itself. Other reflectors do not know the type."""


class Place(IntEnum):
    """Types of the Location TLV's sub-TLVs (RFC 8972 section 4.2.1): three ask, the others answer."""

    SOURCE_MAC = 1
    DESTINATION_IP = 4
    DESTINATION_IPV4 = 5
    DESTINATION_IPV6 = 6
    SOURCE_IP = 7
    SOURCE_IPV4 = 8
    SOURCE_IPV6 = 9


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
    number and time of transmission (UNIX ns) of the answer before; zeros before the first. A stateless reflector has
    zeros for all three.
    traffic_class: DSCP and ECN with which the packet came; source, local: address and port it came from and to; drops:
    see `read_drops`. Where these are not known, the TLV that asks for them is not recognised.
    """

    received: int
    transmitted: int
    previous: tuple[int, int] = (0, 0)
    synchronised: bool = False
    traffic_class: int | None = None
    source: tuple[str, int] | None = None
    local: tuple[str, int] | None = None
    drops: tuple[int, int, int] | None = None

    def recognise(self, kind: int) -> bool:
        """Whether a TLV of this type can be answered."""
        if kind == Kind.LOCATION:
            return self.source is not None and self.local is not None
        if kind == Kind.CLASS_OF_SERVICE:
            return self.traffic_class is not None
        if kind == Kind.DROPS:
            return self.drops is not None
        return kind in _LENGTHS


def encode(tlvs: Iterable[Tlv], *, sequence: int = 0, key: bytes | None = None) -> bytes:
    """A sender's TLVs; with a key the HMAC TLV comes last, after it only Extra Padding (RFC 8972 section 4.8)."""
    tlvs = list(tlvs)
    padding = [tlv for tlv in tlvs if tlv.kind == Kind.EXTRA_PADDING]
    covered = b"".join(tlv.encode() for tlv in tlvs if tlv.kind != Kind.EXTRA_PADDING)
    if key is not None and covered:
        covered += Tlv(Kind.HMAC, _digest(key, sequence, covered)).encode()
    return covered + b"".join(tlv.encode() for tlv in padding)


def padding(length: int) -> bytes:
    """An Extra Padding TLV of `length` bytes in all; nothing below the four bytes of its header."""
    return Tlv(Kind.EXTRA_PADDING, bytes(length - HEADER_BYTES)).encode() if length >= HEADER_BYTES else b""


def drops() -> Tlv:
    """Ask a reflector what it dropped itself since it started."""
    return Tlv(Kind.DROPS, bytes(_DROPS.size))


def read_drops(tlv: Tlv) -> tuple[int, int, int] | None:
    """Datagrams that found its receive queue full; packets of this source dropped for their rate; answers to this
    source that its system did not send. None if the reflector does not say.
    """
    if tlv.kind != Kind.DROPS or tlv.flags or len(tlv.value) != _DROPS.size:
        return None
    overflowed, limited, unsent = _DROPS.unpack(tlv.value)
    return overflowed, limited, unsent


def parse(area: bytes) -> list[Tlv]:
    """The well-formed TLVs of a packet, up to the first that is cut short."""
    return [Tlv(area[at + 1], area[at + HEADER_BYTES : end], area[at]) for at, end, whole in _walk(area) if whole]


def reflect(
    area: bytes, facts: Facts, *, request: int, answer: int, key: bytes | None = None, authenticated: bool = False
) -> bytes:
    """The TLVs of the answer, as many bytes as came. request, answer: the two packets' sequence numbers.

    authenticated: the packet has the authenticated format, so its TLVs must have an HMAC too; otherwise the HMAC is
    checked if there is one.

    An unknown type comes back with U; a malformed TLV with M, and what follows it unread; if the HMAC does not fit,
    all come back with I and nothing else is done with them (RFC 8972 sections 4, 4.8).
    """
    out = bytearray(area)
    places = _walk(area)
    if key is not None and not _intact(area, places, request, key, authenticated):
        for at, _, _ in places:
            out[at] = INTEGRITY | (0 if facts.recognise(area[at + 1]) else UNRECOGNISED)
        return bytes(out)
    for at, end, whole in places:
        kind, value = area[at + 1], area[at + HEADER_BYTES : end]
        if not facts.recognise(kind):
            out[at] = UNRECOGNISED if whole else UNRECOGNISED | MALFORMED
        elif not whole or len(value) not in _LENGTHS[kind]:
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


def _location(value: bytes, facts: Facts) -> bytes:
    """Ports and addresses as they were here; a request for the link layer's source gets zeros, a tunnel has none."""
    assert facts.source is not None
    assert facts.local is not None
    out = bytearray(value)
    out[: _PORTS.size] = _PORTS.pack(facts.local[1], facts.source[1])
    places = out[_PORTS.size :]
    for at, end, whole in _walk(bytes(places)):
        kind = places[at + 1]
        if kind not in _PLACE_BYTES:
            places[at] = UNRECOGNISED if whole else UNRECOGNISED | MALFORMED
        elif not whole or end - at != HEADER_BYTES + _PLACE_BYTES[kind]:
            places[at] = MALFORMED
            break
        elif kind == Place.SOURCE_MAC:
            places[at:end] = Tlv(kind, bytes(_PLACE_BYTES[kind]), 0).encode()
        else:
            places[at:end] = _address(kind, (facts.local if kind == Place.DESTINATION_IP else facts.source)[0])
    return bytes(out[: _PORTS.size] + places)


def _address(asked: int, address: str) -> bytes:
    """The sub-TLV that answers the generic one: its type names the family, zeros fill what IPv4 leaves over."""
    ip = ip_address(address.partition("%")[0])
    kind = asked + (1 if ip.version == 4 else 2)
    return Tlv(kind, ip.packed.ljust(_PLACE_BYTES[asked], b"\0"), 0).encode()


def _dropped(value: bytes, facts: Facts) -> bytes:
    assert facts.drops is not None
    return _DROPS.pack(*(count % 2**32 for count in facts.drops))


def _class_of_service(value: bytes, facts: Facts) -> bytes:
    """DSCP1 as asked, DSCP2 and ECN as they came; RP 0, for the answer leaves with DSCP1 (RFC 8972 section 4.4)."""
    assert facts.traffic_class is not None
    asked, _ = _CLASS.unpack(value)
    return _CLASS.pack(asked & 0xFC00 | facts.traffic_class << 2, 0)


def answer_class(area: bytes) -> int | None:
    """The traffic class with which an answer with these TLVs must leave; None if the sender asked for none."""
    if _ACCEPTED_CLASS not in area:  # nearly all packets end here, without a walk
        return None
    for tlv in parse(area):
        if tlv.kind == Kind.CLASS_OF_SERVICE and not tlv.flags:
            return tlv.value[0] & 0xFC
    return None


_ACCEPTED_CLASS = _HEADER.pack(0, Kind.CLASS_OF_SERVICE, 4)

_LENGTHS: dict[int, range] = {
    Kind.EXTRA_PADDING: range(0x10000),
    Kind.LOCATION: range(_PORTS.size, 0x10000),
    Kind.TIMESTAMP_INFORMATION: range(4, 5),
    Kind.CLASS_OF_SERVICE: range(4, 5),
    Kind.DIRECT_MEASUREMENT: range(12, 13),
    Kind.ACCESS_REPORT: range(4, 5),
    Kind.FOLLOW_UP: range(_FOLLOW_UP.size, _FOLLOW_UP.size + 1),
    Kind.HMAC: range(HMAC_BYTES, HMAC_BYTES + 1),
    Kind.DROPS: range(_DROPS.size, _DROPS.size + 1),
}
"""How long the value of each known type may be."""

_PLACE_BYTES: dict[int, int] = {Place.SOURCE_MAC: 8, Place.DESTINATION_IP: 16, Place.SOURCE_IP: 16}
"""How long the value of each asking sub-TLV is."""

_ANSWERS: dict[int, Callable[[bytes, Facts], bytes]] = {
    Kind.LOCATION: _location,
    Kind.TIMESTAMP_INFORMATION: _timestamp_information,
    Kind.CLASS_OF_SERVICE: _class_of_service,
    Kind.DIRECT_MEASUREMENT: _direct_measurement,
    Kind.FOLLOW_UP: _follow_up,
    Kind.DROPS: _dropped,
}
"""What goes into the value of the answer; every other known type is copied."""
