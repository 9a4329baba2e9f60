"""A tunnel's own datagrams, read without keys: WireGuard, VXLAN, Nebula, OpenVPN.

Sizes and fields are those of the WireGuard paper (section 5.4), RFC 7348, Nebula's `header` package and OpenVPN's
protocol. A payload may be cut short, so that each reader also takes its whole length.
"""

import hashlib
import struct
from collections.abc import Callable, Mapping
from functools import lru_cache
from ipaddress import IPv4Address
from typing import Final

from preflight.model.tapped import Kind, TunnelPacket
from preflight.proto.way import ip_packets

INITIATION_BYTES: Final = 148
RESPONSE_BYTES: Final = 92
COOKIE_BYTES: Final = 64
DATA_BYTES: Final = 32
"""Header and tag of WireGuard's data."""
_PADDING = 16
_MAC_BYTES = 16
_INDEXES = struct.Struct("<IIQ")
_DATA = struct.Struct("<III")
_TWO_MACS = 2 * _MAC_BYTES
_ETHERNET_BYTES, _VXLAN_BYTES = 14, 8
_VLAN, _ARP, _IPS = 0x8100, 0x0806, (0x0800, 0x86DD)
_ARP_FIELDS = struct.Struct("!HHBBH6x4s")
"""Kinds of both addresses and their lengths, the operation, and the sender's address, behind its hardware address."""
_ETHERNET, _HARDWARE_BYTES, _IPV4_BYTES, _ARP_ANSWER = 1, 6, 4, 2
_HAS_VNI = 0x08
_NEBULA = struct.Struct("!BBHIQ")
_NEBULA_OVERHEAD = 32
"""Nebula's header and the tag of its data."""
_OPENVPN_OVERHEAD = (20, 100)
"""The least and the most that OpenVPN's data adds: it depends on the cipher."""


def read(product: str, payload: bytes, length: int, own_key: bytes | None = None) -> TunnelPacket | None:
    """What the payload of a datagram is for a product; None if it is not one of its packets.

    length: of the whole payload, which may be longer than what is here. own_key: this node's public key for WireGuard,
    as bytes.
    """
    if product == "wireguard":
        return _wireguard(payload, length, own_key)
    reader = _READERS.get(product)
    return reader(payload, length) if reader is not None else None


def _wireguard(payload: bytes, length: int, own_key: bytes | None) -> TunnelPacket | None:
    if len(payload) < _INDEXES.size:
        return None
    first, one, two = _INDEXES.unpack_from(payload)
    other = two & 0xFFFFFFFF
    match first & 0xFF, length:
        case 1, size if size == INITIATION_BYTES:
            return _message("initiation", sender=one, greets=_greets(payload, INITIATION_BYTES, own_key))
        case 2, size if size == RESPONSE_BYTES:
            greets = _greets(payload, RESPONSE_BYTES, own_key)
            return _message("response", sender=one, receiver=other, greets=greets)
        case 3, size if size == COOKIE_BYTES:
            return _message("cookie", receiver=one)
        case 4, size if size >= DATA_BYTES:
            return _data(payload, length, one)
    return None


def _message(
    kind: Kind, *, sender: int | None = None, receiver: int | None = None, greets: bool | None = None
) -> TunnelPacket:
    return TunnelPacket(product="wireguard", kind=kind, sender=sender, receiver=receiver, greets=greets)


def _data(payload: bytes, length: int, receiver: int) -> TunnelPacket:
    """Data pads the packet inside to 16 bytes, or less where that would exceed the tunnel's MTU."""
    step = _step(payload, length)
    padded = step - DATA_BYTES
    if padded == 0:
        return TunnelPacket(product="wireguard", kind="keepalive", receiver=receiver)
    least = (padded - 1) // _PADDING * _PADDING + 1
    messages = -(-length // step)
    return TunnelPacket(
        product="wireguard", kind="data", messages=messages, inner_bytes=(least, padded), receiver=receiver
    )


def _step(payload: bytes, length: int) -> int:
    """The length of one message: segmentation offload joins messages of one session with counters in a row.

    They are joined only where the kernel does the work of the card; the next message then begins in the same payload.
    """
    first, receiver, _ = _DATA.unpack_from(payload)
    counter = int.from_bytes(payload[8:16], "little")
    following = _INDEXES.pack(first, receiver, (counter + 1) & 0xFFFFFFFFFFFFFFFF)
    at = payload.find(following, DATA_BYTES)
    return at if at > 0 else length


def _greets(payload: bytes, size: int, own_key: bytes | None) -> bool | None:
    """Whether the first MAC of a handshake was made for this node's public key: it needs no secret."""
    if own_key is None or len(payload) < size:
        return None
    signed = size - _TWO_MACS
    mac = hashlib.blake2s(payload[:signed], digest_size=_MAC_BYTES, key=_mac_key(own_key)).digest()
    return mac == payload[signed : signed + _MAC_BYTES]


@lru_cache(maxsize=8)
def _mac_key(public_key: bytes) -> bytes:
    return hashlib.blake2s(b"mac1----" + public_key).digest()


def _vxlan(payload: bytes, length: int) -> TunnelPacket | None:
    if len(payload) < _VXLAN_BYTES + _ETHERNET_BYTES or not payload[0] & _HAS_VNI:
        return None
    vni = int.from_bytes(payload[4:7], "big")
    at = _VXLAN_BYTES + _ETHERNET_BYTES
    ethernet_type = int.from_bytes(payload[at - 2 : at], "big")
    if ethernet_type == _VLAN:
        at += 4
        ethernet_type = int.from_bytes(payload[at - 2 : at], "big")
    if ethernet_type == _ARP:
        return TunnelPacket(product="vxlan", kind="neighbours", vni=vni, inner_source=_answers(payload[at:]))
    inner = ip_packets.read(payload[at:]) if ethernet_type in _IPS else None
    if inner is None:
        return TunnelPacket(product="vxlan", kind="control", vni=vni)
    return TunnelPacket(
        product="vxlan",
        kind="data",
        inner_bytes=(inner.length_bytes, inner.length_bytes),
        vni=vni,
        inner_source=inner.source,
        inner_destination=inner.destination,
        inner_hardware=payload[_VXLAN_BYTES : _VXLAN_BYTES + _HARDWARE_BYTES].hex(":"),
    )


def _answers(arp: bytes) -> str | None:
    """The address that an answer of ARP is about (RFC 826): the frame comes from the host that has it."""
    if len(arp) < _ARP_FIELDS.size:
        return None
    hardware, protocol, _, width, kind, sender = _ARP_FIELDS.unpack_from(arp)
    known = (hardware, protocol, width, kind) == (_ETHERNET, _IPS[0], _IPV4_BYTES, _ARP_ANSWER)
    return str(IPv4Address(sender)) if known else None


_NEBULA_KINDS: Mapping[int, Kind] = {1: "data", 2: "refusal", 3: "control", 4: "keepalive", 5: "control", 6: "control"}


def _nebula(payload: bytes, length: int) -> TunnelPacket | None:
    """A handshake's first message has counter 1, its second one 2."""
    if len(payload) < _NEBULA.size:
        return None
    first, _, _, index, counter = _NEBULA.unpack_from(payload)
    version, kind = first >> 4, first & 0x0F
    if version != 1:
        return None
    if kind == 0:
        return TunnelPacket(product="nebula", kind="initiation" if counter <= 1 else "response", receiver=index)
    known = _NEBULA_KINDS.get(kind)
    if known is None:
        return None
    inner = length - _NEBULA_OVERHEAD
    return TunnelPacket(
        product="nebula",
        kind=known,
        receiver=index,
        inner_bytes=(inner, inner) if known == "data" and inner > 0 else None,
    )


_OPENVPN_KINDS: Mapping[int, Kind] = {
    **dict.fromkeys((1, 7, 10), "initiation"),
    **dict.fromkeys((2, 8), "response"),
    **dict.fromkeys((3, 4, 5, 11), "control"),
    **dict.fromkeys((6, 9), "data"),
}


def _openvpn(payload: bytes, length: int) -> TunnelPacket | None:
    """The first byte is the opcode and the key's number: resets of the client and the server, control, data."""
    kind = _OPENVPN_KINDS.get(payload[0] >> 3) if payload else None
    if kind is None:
        return None
    least, most = (max(0, length - added) for added in reversed(_OPENVPN_OVERHEAD))
    return TunnelPacket(product="openvpn", kind=kind, inner_bytes=(least, most) if kind == "data" else None)


_READERS: Mapping[str, Callable[[bytes, int], TunnelPacket | None]] = {
    "vxlan": _vxlan,
    "nebula": _nebula,
    "openvpn": _openvpn,
}
PRODUCTS: Final = ("wireguard", *_READERS)
"""The products whose datagrams can be read."""
