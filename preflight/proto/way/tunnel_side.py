"""This node's end of the tunnel to a peer, by the product's word and the sockets of this node: pure."""

from collections.abc import Collection
from ipaddress import ip_address

from preflight.model.network_state import TunnelSide
from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.model.peer import Peer
from preflight.model.udp_port import UdpPort

MANAGED = ("tailscale", "zerotier")


def tunnel_side(peer: Peer, tunnel: OverlayState, ports: Collection[UdpPort] | None = None) -> TunnelSide:
    """What is known of it. ports: the UDP sockets of this namespace, None if they are not known."""
    port = tunnel.listen_port
    bound = {each.port for each in ports} if ports is not None else {port}
    owner, remote = tunnel.peer_for(peer.address), tunnel.remote_for(peer.address)
    there = [each for each in ports or () if remote is not None and _is_at(each, remote) and each.port != port]
    return TunnelSide(
        peer=peer.target,
        product=tunnel.product,
        interfaces=(tunnel.interface or "",),
        addresses=tuple(str(interface.ip) for interface in tunnel.addresses),
        endpoint=remote.endpoint if remote else None,
        listen_port=tunnel.listen_port,
        owned=(owner is not None) if tunnel.lists_owners else None,
        without_address=sum(not _has_family(each, peer.address) for each in tunnel.peers),
        mark=tunnel.fwmark,
        manages_routes=tunnel.product in MANAGED or tunnel.drops(peer.address),
        elsewhere=tunnel.product == "wireguard" and bool(port) and port not in bound,
        relay=there[0] if there else None,
        unheard=ports is not None and remote is not None and remote.endpoint_port not in bound,
    )


def _has_family(owner: OverlayPeer, address: str) -> bool:
    return any((network.version == 6) == (":" in address) for network in owner.addresses)


def _is_at(bound: UdpPort, remote: OverlayPeer) -> bool:
    """Whether a socket is where the endpoint is, if that is an address of this node; one of IPv6 takes IPv4 too."""
    if bound.port != remote.endpoint_port or not (host := remote.endpoint_address):
        return False
    try:
        own, to = ip_address(bound.address), ip_address(host.partition("%")[0])
    except ValueError:  # a name
        return False
    return own == to or (own.is_unspecified and own.version >= to.version)
