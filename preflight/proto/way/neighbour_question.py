"""The question which hardware has an address on a link, and its answers: ARP (RFC 826) and neighbour discovery.

Pure bytes without the link's own header, as a packet socket takes and gives them.
"""

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from preflight.model.routing import PROTOCOLS
from preflight.proto.way.outer_packets import checksum

ARP: Final = 0x0806
IPV4: Final = 0x0800
IPV6: Final = 0x86DD
ETHERNET_BYTES: Final = 6
BROADCAST: Final = b"\xff" * ETHERNET_BYTES
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_ETHERNET, _REQUEST, _REPLY = 1, 1, 2
_IPV6_HEADER = struct.Struct("!IHBB16s16s")
_DISCOVERY = struct.Struct("!BBHI16s")
_SOLICITATION, _ADVERTISEMENT = 135, 136
_SOURCE_OPTION, _TARGET_OPTION = 1, 2
_HOP_LIMIT = 255


def question(address: str, own: str | None, hardware: str) -> tuple[int, bytes, bytes]:
    """The protocol, the hardware address to send to, and the packet.

    own: this node's address on the link; None for an address that this node has itself, as a host asks before it takes
    one: without a source, so that nobody learns anything from it. hardware: this node's on the link.
    """
    wanted = ip_address(address)
    mac = packed_hardware(hardware)
    if isinstance(wanted, IPv4Address):
        source = ip_address(own).packed if own else bytes(4)
        request = _ARP.pack(_ETHERNET, IPV4, ETHERNET_BYTES, 4, _REQUEST, mac, source, bytes(6), wanted.packed)
        return ARP, BROADCAST, request
    return IPV6, b"\x33\x33\xff" + wanted.packed[13:], _solicitation(wanted, own, mac)


def _solicitation(wanted: IPv6Address, own: str | None, mac: bytes) -> bytes:
    source = ip_address(own).packed if own else bytes(16)
    group = bytes.fromhex("ff0200000000000000000001ff") + wanted.packed[13:]
    # Who asks without an address may not say its hardware address either (RFC 4861 section 4.3).
    option = bytes((_SOURCE_OPTION, 1)) + mac if own else b""
    body = _DISCOVERY.pack(_SOLICITATION, 0, 0, 0, wanted.packed) + option
    pseudo = source + group + struct.pack("!IxxxB", len(body), PROTOCOLS["icmpv6"])
    checked = checksum(pseudo + body).to_bytes(2, "big")
    head = _IPV6_HEADER.pack(6 << 28, len(body), PROTOCOLS["icmpv6"], _HOP_LIMIT, source, group)
    return head + body[:2] + checked + body[4:]


def answer(packet: bytes, sender: bytes, address: str) -> str | None:
    """The hardware address that an answer gives for an address; None for any other packet.

    sender: the hardware address that it came from, which counts where an advertisement names none.
    """
    wanted = ip_address(address)
    if isinstance(wanted, IPv4Address):
        if len(packet) < _ARP.size:
            return None
        *_, operation, mac, said, _, _ = _ARP.unpack_from(packet)
        return shown_hardware(mac) if (operation, said) == (_REPLY, wanted.packed) else None
    if len(packet) < _IPV6_HEADER.size + _DISCOVERY.size:
        return None
    _, _, protocol, limit, _, _ = _IPV6_HEADER.unpack_from(packet)
    kind, _, _, _, target = _DISCOVERY.unpack_from(packet, _IPV6_HEADER.size)
    # A packet from beyond this link has lost some of its hops.
    if (protocol, limit, kind, target) != (PROTOCOLS["icmpv6"], _HOP_LIMIT, _ADVERTISEMENT, wanted.packed):
        return None
    option = packet[_IPV6_HEADER.size + _DISCOVERY.size :]
    named = len(option) >= 8 and option[0] == _TARGET_OPTION
    return shown_hardware(option[2:8] if named else sender)


def packed_hardware(text: str) -> bytes:
    """`02:00:00:00:00:01` as six bytes. Raises ValueError for anything else."""
    packed = bytes.fromhex(text.replace(":", ""))
    if len(packed) != ETHERNET_BYTES:
        raise ValueError(f"{text!r} is not an Ethernet address")
    return packed


def shown_hardware(packed: bytes) -> str:
    """As ip(8) shows it."""
    return packed[:ETHERNET_BYTES].hex(":")
