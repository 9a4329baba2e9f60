"""The peers of a run, from the command line, the settings file or the overlay: each has one address and one name."""

from collections import Counter
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from preflight.model.overlay import OverlayState
from preflight.model.peer import CONTROL, NODE, Peer

IPAddress = IPv4Address | IPv6Address

LONGEST_NAME = 253
"""Characters of a peer's name; that of a host has no more (RFC 1035 section 2.3.4)."""
_BROADCAST = IPv4Address("255.255.255.255")


def parse_peer(text: str) -> Peer:
    """`ADDRESS[=NAME]`, as the command line has it. Raises ValueError."""
    address, _, name = text.partition("=")
    return Peer(address=peer_address(address), name=peer_name(name))


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


def distinct(peers: tuple[Peer, ...]) -> tuple[Peer, ...]:
    """The peers unchanged. Raises ValueError if two share an address or a name: their results could not be
    distinguished.
    """
    for attribute, words in (("address", "have the address"), ("target", "are called")):
        values = [getattr(peer, attribute) for peer in peers]
        twin = next((value for value in values if values.count(value) > 1), None)
        if twin is not None:
            raise ValueError(f"two peers {words} {twin}; each needs its own address and name")
    return peers


def overlay_peers(configured: tuple[Peer, ...], overlay: OverlayState | None) -> tuple[Peer, ...]:
    """The configured peers, or, without any, the members that the overlay names by a single address, else those that
    this node has met in it.

    This node itself is left out, so one settings file can serve every node of a cluster. An address of this node that
    belongs to another peer is not this node: that is a fault, and the peer stays. A member that has been away for long
    is left out too, if others are there.
    """
    if overlay is None:
        return configured
    if configured or not overlay.lists_members:
        return tuple(peer for peer in configured if not _is_this_node(peer.address, overlay))
    found: dict[str, str] = {}
    members = [peer for tunnel in overlay.own_tunnels for peer in tunnel.peers if peer.member]
    for member in [peer for peer in members if not peer.away] or members:
        single = next((network for network in member.addresses if network.prefixlen == network.max_prefixlen), None)
        if single is not None:
            address = str(single.network_address)
            found.setdefault(address, _overlay_name(member.name))
    if not found:
        found = {address: "" for tunnel in overlay.own_tunnels for address in tunnel.met if not overlay.has(address)}
    # Two members of a tailnet may have one host name: results would not say which is meant.
    names = Counter(found.values())
    return tuple(Peer(address, name if names[name] == 1 else "") for address, name in found.items())


def _is_this_node(address: str, overlay: OverlayState) -> bool:
    """Whether an address is this node's by right: its tunnel has it, and no peer of the tunnel owns it.

    Where nobody lists who owns what, only the oldest address of each family is by right.
    """
    for tunnel in overlay.own_tunnels:
        addresses = [interface.ip for interface in tunnel.addresses]
        own = next((each for each in addresses if str(each) == address), None)
        if own is not None:
            return tunnel.peer_for(address) is None if tunnel.lists_owners else own == _oldest(addresses, own)
    return False


def _oldest(addresses: Sequence[IPAddress], alike: IPAddress) -> IPAddress:
    """The address of a family that its interface has had for longest.

    Linux lists addresses of IPv4 as they came, and of each scope of IPv6 the newest first.
    """
    family = [each for each in addresses if each.version == alike.version and each.is_link_local == alike.is_link_local]
    return family[0] if alike.version == 4 else family[-1]


def _overlay_name(name: str) -> str:
    """The name that the overlay has for a peer; empty where results cannot use it."""
    try:
        return peer_name(name)
    except ValueError:
        return ""
