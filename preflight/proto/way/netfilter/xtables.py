"""Matches and targets of iptables, by their parameters as the kernel keeps them; the same in both of its variants."""

import struct
import sys
from collections.abc import Callable, Mapping
from ipaddress import ip_address

from preflight.proto.way.netfilter.action import Action, ActionKind
from preflight.proto.way.netfilter.bits import Bits, Tri, any_of, certainly
from preflight.proto.way.netfilter.packet import (
    Packet,
    State,
    address_type,
    device_out,
    in_host_order,
    network_header,
    padded,
)

_STATES: Mapping[State, int] = {"invalid": 1, "established": 2, "new": 8, "untracked": 256}
"""As the bits of the match conntrack."""
_UNTRACKED_BEFORE = 64
"""The same in the match state."""
_STATE = 1
_ANY_ICMP = 255


def matches(packet: Packet, name: str, revision: int, data: bytes) -> Tri:
    """Whether a match fits a packet."""
    known = _MATCHES.get((name, revision))
    if known is None:
        return Tri.YES if name == "comment" else Tri.MAYBE
    try:
        return known(packet, data)
    except struct.error:
        return Tri.MAYBE


def header_matches(packet: Packet, family: str, data: bytes) -> Tri:
    """Whether the addresses, devices and protocol in front of all matches fit a packet."""
    if (family == "ip6") is not packet.flow.is_ipv6:
        return Tri.NO
    size = 16 if packet.flow.is_ipv6 else 4
    source, destination, source_mask, destination_mask = (data[size * part : size * (part + 1)] for part in range(4))
    names = size * 4
    protocol, inverted, of_fragments = _of_header(family, data[names + 64 :])
    header = network_header(packet)
    first = 8 if packet.flow.is_ipv6 else 12
    destination_bit = 0x10
    source_fits = header.part(first, size).masked(source_mask, bytes(size)).equals(source)
    target_fits = header.part(first + size, size).masked(destination_mask, bytes(size)).equals(destination)
    tests = (
        _turned(source_fits, inverted & 0x08),
        _turned(target_fits, inverted & destination_bit),
        _turned(_device(packet.flow.interface_in, data, names, names + 32), inverted & 0x01),
        _turned(_device(device_out(packet), data, names + 16, names + 48), inverted & 0x02),
        _turned(certainly(protocol in (0, packet.protocol)), inverted & 0x40),
        Tri.MAYBE if of_fragments else Tri.YES,
    )
    return min(tests)


def _of_header(family: str, data: bytes) -> tuple[int, int, bool]:
    """Protocol, the tests that are inverted, and whether it asks for more than addresses, devices and protocol."""
    if family == "ip":
        protocol, flags, inverted = struct.unpack_from("=HBB", data)
        return protocol, inverted, bool(flags & 0x01)
    protocol, _, flags, inverted = struct.unpack_from("=HBBB", data)
    return protocol, inverted, bool(flags & 0x02)


def _turned(holds: Tri, inverted: int) -> Tri:
    return ~holds if inverted else holds


def _device(name: str | None, data: bytes, at: int, mask_at: int) -> Tri:
    wanted, mask = Bits.of(data[at : at + 16]), data[mask_at : mask_at + 16]
    # What is wanted may end with a plus, which the mask leaves out.
    return Bits.of(padded(name or "")).masked(mask, bytes(16)).equals(wanted.masked(mask, bytes(16)).value)


def _in_range(port: int | None, first: int, last: int) -> Tri:
    if (first, last) == (0, 0xFFFF):
        return Tri.YES
    return Tri.MAYBE if port is None else certainly(first <= port <= last)


def _ports(packet: Packet, data: bytes, inverted: int) -> Tri:
    first, last, first_there, last_there = struct.unpack_from("=4H", data)
    source = _turned(_in_range(packet.flow.source_port, first, last), inverted & 1)
    return source & _turned(_in_range(packet.flow.destination_port, first_there, last_there), inverted & 2)


def _udp(packet: Packet, data: bytes) -> Tri:
    (inverted,) = struct.unpack_from("=B", data, 8)
    return certainly(packet.flow.protocol == "udp") & _ports(packet, data, inverted)


def _tcp(packet: Packet, data: bytes) -> Tri:
    option, mask, _, inverted = struct.unpack_from("=4B", data, 8)
    more = Tri.MAYBE if option or mask else Tri.YES
    return certainly(packet.flow.protocol == "tcp") & _ports(packet, data, inverted) & more


def _icmp(packet: Packet, data: bytes) -> Tri:
    wanted, first, last, inverted = struct.unpack_from("=4B", data)
    whatever = wanted == _ANY_ICMP and (first, last) == (0, 255) and not inverted
    found = packet.flow.icmp_type
    if whatever or found is None:
        fits = Tri.YES if whatever else Tri.MAYBE
    else:
        fits = certainly((wanted in (found, _ANY_ICMP) and first == 0) != bool(inverted))
    return certainly(packet.flow.protocol == "icmp") & fits


def _multiport(packet: Packet, data: bytes) -> Tri:
    which, count, *rest = struct.unpack_from("=BB15H15BB", data)
    ports, begins, inverted = rest[:15], rest[15:30], rest[30]
    spans: list[tuple[int, int]] = []
    place = 0
    while place < min(count, 15):
        ranged = bool(begins[place])
        spans.append((ports[place], ports[place + ranged]))
        place += 1 + ranged
    asked = {0: (packet.flow.source_port,), 1: (packet.flow.destination_port,)}.get(
        which, (packet.flow.source_port, packet.flow.destination_port)
    )
    found = any_of(_in_range(port, *span) for port in asked for span in spans)
    return certainly(packet.flow.protocol in ("udp", "tcp")) & _turned(found, inverted)


def _conntrack(packet: Packet, data: bytes) -> Tri:
    wanted, inverted, states = struct.unpack_from("=3H", data, 146)
    if wanted & ~(_STATE | 1 << 13):
        return Tri.MAYBE
    now = packet.seen_state
    return Tri.MAYBE if now is None else _turned(certainly(bool(states & _STATES[now])), inverted & _STATE)


def _state(packet: Packet, data: bytes) -> Tri:
    (states,) = struct.unpack_from("=I", data)
    now = packet.seen_state
    if now is None:
        return Tri.MAYBE
    return certainly(bool(states & (_UNTRACKED_BEFORE if now == "untracked" else _STATES[now])))


def _mark(packet: Packet, data: bytes) -> Tri:
    wanted, mask, inverted = struct.unpack_from("=IIB", data)
    held = packet.mark.masked(mask.to_bytes(4, sys.byteorder), bytes(4))
    return _turned(held.equals(wanted.to_bytes(4, sys.byteorder)), inverted)


def _owner(packet: Packet, data: bytes) -> Tri:
    first, last, _, _, wanted, inverted = struct.unpack_from("=4IBB", data)
    if not packet.sent or wanted & ~1:
        return Tri.MAYBE
    return _turned(certainly(first <= packet.flow.uid <= last), inverted & 1) if wanted & 1 else Tri.YES


def _length(packet: Packet, data: bytes) -> Tri:
    least, most, inverted = struct.unpack_from("=HHB", data)
    return _turned(certainly(least <= packet.flow.length_bytes <= most), inverted)


def _address_type(packet: Packet, data: bytes) -> Tri:
    source, destination, flags = struct.unpack_from("=HHI", data)

    def fits(wanted: int, inverted: int, of_source: bool) -> Tri:
        kind = address_type(packet, of_source=of_source)
        if not wanted:
            return Tri.YES
        return Tri.MAYBE if kind is None else _turned(certainly(bool(wanted & 1 << kind)), inverted)

    return fits(source, flags & 1, True) & fits(destination, flags & 2, False)


def _address_range(packet: Packet, data: bytes) -> Tri:
    size = 16 if packet.flow.is_ipv6 else 4
    bounds = [data[16 * part : 16 * part + size] for part in range(4)]
    (flags,) = struct.unpack_from("=B", data, 64)
    if not packet.flow.source:
        return Tri.MAYBE
    source, destination = ip_address(packet.flow.source).packed, ip_address(packet.flow.destination).packed
    found = Tri.YES
    if flags & 0x01:
        found &= _turned(certainly(bounds[0] <= source <= bounds[1]), flags & 0x10)
    if flags & 0x02:
        found &= _turned(certainly(bounds[2] <= destination <= bounds[3]), flags & 0x20)
    return found


_MATCHES: Mapping[tuple[str, int], Callable[[Packet, bytes], Tri]] = {
    ("udp", 0): _udp,
    ("tcp", 0): _tcp,
    ("icmp", 0): _icmp,
    ("icmp6", 0): _icmp,
    ("multiport", 1): _multiport,
    ("conntrack", 2): _conntrack,
    ("conntrack", 3): _conntrack,
    ("state", 0): _state,
    ("mark", 1): _mark,
    ("owner", 1): _owner,
    ("length", 0): _length,
    ("addrtype", 1): _address_type,
    ("iprange", 1): _address_range,
}
"""By name and revision; whatever is not here may fit or not."""

_HARMLESS = frozenset(
    (
        *(
            "LOG",
            "NFLOG",
            "ULOG",
            "TRACE",
            "AUDIT",
            "TCPMSS",
            "CLASSIFY",
            "CHECKSUM",
            "TTL",
            "HL",
            "DSCP",
            "TOS",
            "SET",
        ),
        *("TOS", "SET", "SECMARK", "CONNSECMARK", "TEE", "IDLETIMER", "LED", "ECN", "RATEEST", "TCPOPTSTRIP", "HMARK"),
    )
)
"""Targets behind which the next rule follows, and which change nothing that decides."""
_DECIDING: Mapping[str, ActionKind] = {
    **{"REJECT": "reject", "DROP": "reject", "MASQUERADE": "masquerade", "REDIRECT": "redirect", "DNAT": "dnat"},
    **{"SNAT": "snat", "NFQUEUE": "queue", "TPROXY": "proxy", "NOTRACK": "notrack"},
}


def target(packet: Packet, name: str, revision: int, data: bytes, sure: Tri) -> Action | None:
    """What a target does; None if nothing that counts. sure: whether the packet gets there."""
    if name in _HARMLESS:
        return None
    if name in ("MARK", "CONNMARK"):
        return Action("mark", sure, mark=_marked(packet, name, revision, data))
    if name == "CT":
        return Action("notrack", sure) if int.from_bytes(data[:2], sys.byteorder) & 1 else None
    kind = _DECIDING.get(name, "unknown")
    if kind == "unknown":
        return Action(kind, sure & Tri.MAYBE)
    if kind in ("snat", "dnat"):
        return _translated(packet, kind, revision, data, sure)
    if kind == "redirect":
        return Action(kind, sure, destination_port=_port_in_range(data, old=not packet.flow.is_ipv6))
    return Action(kind, sure)


def _marked(packet: Packet, name: str, revision: int, data: bytes) -> Bits:
    if name == "MARK" and revision == 2 and len(data) >= 8:
        mark, mask = struct.unpack_from("=II", data)
        kept = (~mask & 0xFFFFFFFF).to_bytes(4, sys.byteorder)
        return packet.mark.masked(kept, in_host_order(mark).value)
    # What is kept with the connection is not known here, and saving the mark there changes nothing of the packet.
    return packet.mark if name == "CONNMARK" and data[12:13] in (b"\0", b"\1") else Bits.unknown(4)


def _translated(packet: Packet, kind: ActionKind, revision: int, data: bytes, sure: Tri) -> Action:
    address = _address_in_range(packet, revision, data)
    if kind == "snat":
        return Action(kind, sure, source=address)
    old = revision == 0 and not packet.flow.is_ipv6
    # A rule may name a port alone, and leaves the address then.
    return Action(kind, sure, destination=address, destination_port=_port_in_range(data, old=old))


def _address_in_range(packet: Packet, revision: int, data: bytes) -> str | None:
    """The address of struct nf_nat_range, or of nf_nat_ipv4_multi_range_compat; None if there are several."""
    if revision == 0 and not packet.flow.is_ipv6:
        count, flags = struct.unpack_from("=II", data)
        first, last = data[8:12], data[12:16]
        return str(ip_address(first)) if count == 1 and flags & 1 and first == last else None
    (flags,) = struct.unpack_from("=I", data)
    size = 16 if packet.flow.is_ipv6 else 4
    first, last = data[4 : 4 + size], data[20 : 20 + size]
    return str(ip_address(first)) if flags & 1 and first == last else None


def _port_in_range(data: bytes, *, old: bool) -> int | None:
    """The port of struct nf_nat_range, or of the structure of old revisions; None if there is none, or several."""
    at, (flags,) = (16, struct.unpack_from("=I", data, 4)) if old else (36, struct.unpack_from("=I", data))
    if not flags & 2 or len(data) < at + 4:
        return None
    first, last = struct.unpack_from("!HH", data, at)
    return int(first) if first == last else None
