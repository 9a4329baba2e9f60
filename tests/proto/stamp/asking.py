"""A sender's Location and Class of Service TLVs (RFC 8972 sections 4.2, 4.4), for tests of the reflector."""

import struct
from ipaddress import ip_address

from preflight.proto.stamp.tlv import Kind, Place, Tlv, parse

_PORTS = struct.Struct("!HH")
_CLASS = struct.Struct("!HH")
_ASKED = ((Place.SOURCE_IP, 16), (Place.DESTINATION_IP, 16))


def location() -> Tlv:
    """Ask from where and to where a packet came, as its reflector saw it; behind an address translator that differs."""
    asked = [Tlv(kind, bytes(length)).encode() for kind, length in _ASKED]
    return Tlv(Kind.LOCATION, bytes(_PORTS.size) + b"".join(asked))


def read_location(tlv: Tlv) -> tuple[tuple[str, int], tuple[str, int]] | None:
    """Source and destination that a reflector reports; None unless it reports both."""
    if tlv.kind != Kind.LOCATION or tlv.flags or len(tlv.value) < _PORTS.size:
        return None
    found = {place.kind: place.value for place in parse(tlv.value[_PORTS.size :]) if not place.flags}
    source = _place(found, Place.SOURCE_IPV4, Place.SOURCE_IPV6)
    destination = _place(found, Place.DESTINATION_IPV4, Place.DESTINATION_IPV6)
    if source is None or destination is None:
        return None
    destination_port, source_port = _PORTS.unpack_from(tlv.value)
    return (source, source_port), (destination, destination_port)


def _place(places: dict[int, bytes], ipv4: Place, ipv6: Place) -> str | None:
    for kind, length in ((ipv4, 4), (ipv6, 16)):
        if len(places.get(kind, b"")) == 16:
            return str(ip_address(places[kind][:length]))
    return None


def class_of_service(dscp: int) -> Tlv:
    """Ask a reflector to answer with this DSCP, and with which class this packet arrived."""
    return Tlv(Kind.CLASS_OF_SERVICE, _CLASS.pack(dscp << 10, 0))


def read_class_of_service(tlv: Tlv) -> tuple[int, int, bool] | None:
    """DSCP and ECN with which the packet reached its reflector, and whether the answer left with the DSCP asked for."""
    if tlv.kind != Kind.CLASS_OF_SERVICE or tlv.flags or len(tlv.value) != _CLASS.size:
        return None
    fields, _ = _CLASS.unpack(tlv.value)
    return fields >> 4 & 0x3F, fields >> 2 & 3, not fields & 3
