"""How a peer may be given: by the address of one machine, under a name that a report can call it by."""

from ipaddress import IPv4Address, ip_address

from preflight.model.peer import CONTROL, NODE

LONGEST_NAME = 253
"""Characters of a peer's name; that of a host has no more (RFC 1035 section 2.3.4)."""
_BROADCAST = IPv4Address("255.255.255.255")


def peer_address(value: str) -> str:
    """The overlay address of a single peer, in its shortest form. Raises ValueError."""
    try:
        address = ip_address(value.strip().strip("[]"))
    except ValueError:
        raise ValueError(f"{value!r} is not an IP address") from None
    plain = getattr(address, "ipv4_mapped", None) or address
    if plain.is_unspecified or plain.is_multicast or plain == _BROADCAST:
        raise ValueError(f"{address} is not the address of one peer")
    return str(address)


def peer_name(value: str) -> str:
    """What results call a peer. Raises ValueError for a name that would be taken for something else in a report."""
    name = value.strip()
    if not name.isprintable() or "/" in name or len(name) > LONGEST_NAME:
        raise ValueError(f"a peer's name is printable, without a slash, and no longer than {LONGEST_NAME} characters")
    if name in (NODE, CONTROL):
        raise ValueError(f"{name!r} is what results call this node or the control plane; give the peer another name")
    return name
