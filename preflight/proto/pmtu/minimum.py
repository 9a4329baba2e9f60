"""What a tunnel must carry: IPv6 needs 1280 bytes on every link (RFC 8200 section 5), and IPv4 alone needs less."""

from collections.abc import Iterable

from preflight.model.overlay import OverlayState

IPV6_MINIMUM = 1280
IPV4_MINIMUM = 576
"""What every host must be able to receive (RFC 791 section 3.1)."""


def carries_ipv6(tunnel: OverlayState, members: Iterable[str] = ()) -> bool | None:
    """Whether there is IPv6 inside a tunnel; None if that is not known.

    Below 1280 bytes Linux takes IPv6 off an interface, so an interface without it proves nothing. The peers, the
    configuration and `members`, addresses that this run uses inside, show it then.
    """
    file = tunnel.configured
    inside = [
        *(interface.version for interface in (*tunnel.addresses, *(file.addresses if file is not None else ()))),
        *(network.version for peer in tunnel.peers for network in peer.addresses),
        *(network.version for network in tunnel.prefixes),
    ]
    if 6 in inside or any(":" in address for address in members):
        return True
    if tunnel.lists_owners or (tunnel.mtu or 0) >= IPV6_MINIMUM:
        return False
    # Its certificate lists all networks of the node; an interface only those that it still has.
    told = {network.version for network in tunnel.prefixes} if tunnel.product == "nebula" else set()
    return False if told and tunnel.unreadable is None else None


def least_mtu(minimum_mtu: int, ipv6: bool | None, *, fits: bool) -> int:
    """What a path through the tunnel must carry, by what the settings ask of an overlay with IPv6.

    ipv6: as `carries_ipv6`. fits: the path carries all that the interface does. A small interface is a matter of
    another check, which knows what there is under it.
    """
    if ipv6 is False or (ipv6 is None and fits):
        return min(minimum_mtu, IPV4_MINIMUM)
    return minimum_mtu
