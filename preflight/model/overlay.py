"""One model for all overlay products: what a node knows about its overlay, in the field's terms.

A product's own state is a hint about the past; only traffic through the tunnel is evidence about now.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network, ip_address

from preflight.model.host_port import split_host_port

IPInterface = IPv4Interface | IPv6Interface
IPNetwork = IPv4Network | IPv6Network

Fact = bool | int | float | str | tuple[str, ...]

PRIVILEGE = "privilege"
"""`OverlayState.unreadable` if only a privilege is missing."""

IPV6_EXTRA_BYTES = 20


@dataclass(frozen=True, slots=True)
class OverlayPeer:
    """One peer as the product sees it. Times are UNIX seconds, 0 = never, None = unknown; `keepalive_s` 0 = off.

    relayed: True only for a session that is in use; None if the product cannot know it now.
    online, expired: from the product's control server, None if that is not current. preshared: whether WireGuard has a
    preshared key for it, which itself is never kept.
    """

    key: str
    endpoint: str | None = None
    addresses: tuple[IPNetwork, ...] = ()
    name: str = ""
    last_handshake_unix_s: float | None = None
    rx_bytes: int | None = None
    tx_bytes: int | None = None
    keepalive_s: int | None = None
    relayed: bool | None = None
    relay: str | None = None
    online: bool | None = None
    expired: bool | None = None
    last_seen_unix_s: float | None = None
    key_expires_unix_s: float | None = None
    preshared: bool | None = None

    @property
    def endpoint_address(self) -> str | None:
        """The endpoint's IP address without port and zone."""
        if not self.endpoint:
            return None
        return split_host_port(self.endpoint)[0].partition("%")[0]

    @property
    def endpoint_port(self) -> int | None:
        """The endpoint's UDP port."""
        return split_host_port(self.endpoint)[1] if self.endpoint else None


class Owners:
    """Which peer owns an address, by longest prefix as in cryptokey routing; built once for many look-ups."""

    def __init__(self, peers: Iterable[OverlayPeer]) -> None:
        self._peers: dict[tuple[int, int, int], OverlayPeer] = {}
        for peer in peers:
            for network in peer.addresses:
                key = (network.version, network.prefixlen, int(network.network_address))
                self._peers.setdefault(key, peer)
        self._lengths = sorted({key[:2] for key in self._peers}, reverse=True)

    def of(self, address: str) -> OverlayPeer | None:
        """The owner; None if no peer has the address."""
        wanted = ip_address(address)
        for version, length in self._lengths:
            if version == wanted.version:
                host_bits = wanted.max_prefixlen - length
                network = int(wanted) >> host_bits << host_bits
                if owner := self._peers.get((version, length, network)):
                    return owner
        return None


@dataclass(frozen=True, slots=True)
class ConfiguredPeer:
    """A peer in a configuration file; without its endpoint, which may roam."""

    key: str
    addresses: tuple[IPNetwork, ...] = ()
    keepalive_s: int = 0


@dataclass(frozen=True, slots=True)
class ConfiguredTunnel:
    """The set-up in a configuration file. `saves`: the product overwrites the file with the live state."""

    path: str
    mtu: int | None = None
    listen_port: int | None = None
    addresses: tuple[IPInterface, ...] = ()
    public_key: str | None = None
    saves: bool = False
    peers: tuple[ConfiguredPeer, ...] = ()


@dataclass(frozen=True, slots=True)
class OverlayState:
    """The overlay on this node. `condition` is a finding code's slug when the product itself says what is wrong.

    unreadable: why the product's state (its peers) could not be read although the interface exists: `PRIVILEGE`, or one
    sentence. health: the product's own warnings, in its words.
    overhead_bytes: bytes that the tunnel adds to a packet over IPv4; an IPv6 underlay costs `IPV6_EXTRA_BYTES` more.
    public_key: this node's own, as its peers must know it. fwmark: the mark of the tunnel's own packets, which policy
    routing may route differently. configured: the set-up in its configuration file, if there is a readable one.
    key_expires_unix_s: when this node's key or certificate expires. others: this node's further overlays, in words.
    datagram_bytes: over IPv4, the largest packet of a product that splits larger ones itself. lists_members:
    False if the peers are only those that this node has met by chance, so they are not a list of targets.
    """

    product: str
    interface: str | None
    up: bool
    mtu: int | None
    addresses: tuple[IPInterface, ...] = ()
    prefixes: tuple[IPNetwork, ...] = ()
    peers: tuple[OverlayPeer, ...] = ()
    listen_port: int | None = None
    overhead_bytes: int | None = None
    version: str | None = None
    condition: str | None = None
    health: tuple[str, ...] = field(default_factory=tuple)
    unreadable: str | None = None
    public_key: str | None = None
    fwmark: int = 0
    configured: ConfiguredTunnel | None = None
    key_expires_unix_s: float | None = None
    others: tuple[str, ...] = ()
    datagram_bytes: int | None = None
    lists_members: bool = True

    def covers(self, address: str) -> bool:
        """Whether an address belongs to the overlay."""
        wanted = ip_address(address)
        networks = [*self.prefixes, *(interface.network for interface in self.addresses)]
        return any(wanted.version == network.version and wanted in network for network in networks)

    def peer_for(self, address: str) -> OverlayPeer | None:
        """The peer that owns the address: longest prefix wins, as in cryptokey routing. For many: `Owners`."""
        wanted = ip_address(address)
        owners = [
            (network.prefixlen, peer)
            for peer in self.peers
            for network in peer.addresses
            if network.version == wanted.version and wanted in network
        ]
        return max(owners, key=lambda owner: owner[0])[1] if owners else None
