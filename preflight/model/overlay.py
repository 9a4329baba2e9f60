"""One model for all overlay products: what a node knows about its overlay, in the field's terms.

A product's own state is a hint about the past; only traffic through the tunnel is evidence about now.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Union

from preflight.model.complaint import Complaint
from preflight.model.host_port import split_host_port
from preflight.model.kernel import IPInterface as IPInterface
from preflight.model.kernel import IPNetwork as IPNetwork
from preflight.model.kernel import Route
from preflight.model.product_fixes import ZeroTierOption
from preflight.model.product_policy import OutPolicy

Fact = Union[bool, int, float, str, tuple[str, ...]]  # noqa: UP007 - Python 3.9 has no `|` here

PRIVILEGE = "privilege"
"""`OverlayState.unreadable` if only a privilege is missing."""

IPV6_EXTRA_BYTES = 20
LISTING_OWNERS = ("wireguard", "tailscale")
"""Products that list every address of every peer; they drop packets for any other."""
NAMING_SUBNETS = ("tailscale",)
"""Products whose members announce each network behind them, so that the whole Internet is an exit and nothing else."""
WHOLE_BITS = 1
"""Up to this length a prefix is the whole Internet, or one of its halves."""


@dataclass(frozen=True, slots=True)
class OverlayPeer:
    """One peer as the product sees it. Times are UNIX seconds, 0 = never, None = unknown; `keepalive_s` 0 = off.

    relayed: True only for a session that is in use; None if the product cannot know it now.
    last_seen_unix_s, last_sent_unix_s: when a packet of it came, and when one was sent to it.
    online, expired: from the product's control server, None if that is not current. preshared: whether WireGuard has a
    preshared key for it, which itself is never kept. tried: endpoints of a peer with whom there is no session yet.
    session: the number of the session with it, where the product shows it: each handshake gives another. member: False
    where this node is not to reach it, although the product lists it. behind: the networks that its certificate has.
    places: the endpoints of one family at which it was heard recently, where they are on several hosts.
    hardware: the addresses that a VXLAN knows to be behind this remote end. away: it was last seen more than a day ago.
    refused: why this node does not accept its handshakes, by the product's log. turns: the two places at which its
    sessions were made in turn recently, by that log, with the number of changes; the same twice where each soon ended.
    trusted: the number of ZeroTier's trusted path by which this node sends to it, without encryption; 0 for none.
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
    last_sent_unix_s: float | None = None
    key_expires_unix_s: float | None = None
    preshared: bool | None = None
    tried: tuple[str, ...] = ()
    session: int | None = None
    member: bool = True
    behind: tuple[IPNetwork, ...] | None = None
    places: tuple[str, ...] = ()
    hardware: tuple[str, ...] = ()
    away: bool = False
    refused: str = ""
    turns: tuple[str, str] | None = None
    changes: int = 0
    trusted: int = 0

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
        self._owned: dict[tuple[int, int, int], tuple[IPNetwork, OverlayPeer]] = {}
        for peer in peers:
            for network in peer.addresses:
                key = (network.version, network.prefixlen, int(network.network_address))
                self._owned.setdefault(key, (network, peer))
        self._lengths = sorted({key[:2] for key in self._owned}, reverse=True)

    def of(self, address: str) -> OverlayPeer | None:
        """The owner; None if no peer has the address."""
        return self.found(address)[1]

    def prefix(self, address: str) -> IPNetwork | None:
        """The prefix by which its owner has the address."""
        return self.found(address)[0]

    def found(self, address: str) -> tuple[IPNetwork, OverlayPeer] | tuple[None, None]:
        """Both of them."""
        wanted = ip_address(address)
        for version, length in self._lengths:
            if version == wanted.version:
                host_bits = wanted.max_prefixlen - length
                network = int(wanted) >> host_bits << host_bits
                if owned := self._owned.get((version, length, network)):
                    return owned
        return None, None


@dataclass(frozen=True, slots=True)
class Withheld:
    """A domain whose names an overlay resolves, where this node does not let it. network: ZeroTier's number."""

    domain: str
    network: str | None = None


@dataclass(frozen=True, slots=True)
class ConfiguredPeer:
    """A peer in a configuration file. endpoint: `HOST:PORT` as it is written; a peer that roams has another one."""

    key: str
    addresses: tuple[IPNetwork, ...] = ()
    keepalive_s: int = 0
    endpoint: str | None = None


@dataclass(frozen=True, slots=True)
class ConfiguredEnd:
    """Where a configuration file says that a peer is. addresses: of the host now, which may be a name."""

    file: str
    host: str
    port: int
    addresses: tuple[str, ...] = ()

    @property
    def is_address(self) -> bool:
        """Whether the host is an address, not a name."""
        return self.addresses == (self.host,)


@dataclass(frozen=True, slots=True)
class ConfiguredTunnel:
    """The set-up in a configuration file. `saves`: the product overwrites the file with the live state.

    table: the routing table of its routes; `off` if it makes none, None for what wg-quick takes by itself.
    """

    path: str
    mtu: int | None = None
    listen_port: int | None = None
    addresses: tuple[IPInterface, ...] = ()
    public_key: str | None = None
    saves: bool = False
    table: str | None = None
    peers: tuple[ConfiguredPeer, ...] = ()


@dataclass(frozen=True, slots=True)
class OverlayState:
    """The overlay on this node. `condition` is a finding code's slug when the product itself says what is wrong.

    unreadable: why the product's state (its peers) could not be read although the interface exists: `PRIVILEGE`, or one
    sentence. health: the product's own warnings, in its words.
    overhead_bytes: bytes that the tunnel adds to a packet over IPv4; an IPv6 underlay costs `IPV6_EXTRA_BYTES` more.
    public_key: this node's own, as its peers must know it. fwmark: the mark of the tunnel's own packets, which policy
    routing may route differently. configured: the set-up in its configuration file, if there is a readable one.
    key_expires_unix_s: when this node's key or certificate expires. further: this node's further overlays, and further
    tunnels of the same one. routes: how the kernel sends to each address about which it was asked; hidden: how it would
    send into a tunnel, without the narrower route that leads out, where it is not known who owns what.
    datagram_bytes: over IPv4, the largest packet of a product that splits larger ones itself. lists_members:
    False if the peers are only those that this node has met by chance, so they are not a list of targets.
    lists_sessions: False if the product does not show its sessions, so that a peer may have one that is not in peers.
    complaints: what the product says is wrong although it runs. network: its number, where a node joins several.
    withheld: addresses that the product's controller gives and this node does not take, by the setting withheld_by.
    untaken: networks to which its controller gives a route that this node does not take, each with the setting. lost:
    addresses that the product has set, and that are not on its interface. control_server: the product's
    own, if it is not its maker's. login_options: what else its log-in asks for again. policy: what the product
    itself lets this node send; None: everything, or that is not known. shielded: it lets nothing in that a peer begins.
    called: members with the one endpoint that its configuration names for them, which they may have left since.
    met: where the product lists no members, addresses in it at which this node has met others, one for each machine.
    asks_none: why the product asks nobody where a member is. routed: the networks behind members that its configuration
    leads to them, each with the member's address. source: with which the tunnel's own packets leave, where it is set.
    one_end: all that goes in goes to one remote end, as in a client of OpenVPN. announces: the networks behind this
    node that it offers to the others.
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
    further: tuple["OverlayState", ...] = ()
    routes: Mapping[str, Route] = field(default_factory=dict, hash=False)
    hidden: Mapping[str, Route] = field(default_factory=dict, hash=False)
    _owners: list[Owners] = field(default_factory=list, init=False, repr=False, compare=False)
    datagram_bytes: int | None = None
    lists_members: bool = True
    complaints: tuple[Complaint, ...] = ()
    network: str | None = None
    withheld: tuple[str, ...] = ()
    withheld_by: ZeroTierOption = "allowManaged"
    untaken: tuple[tuple[IPNetwork, ZeroTierOption], ...] = ()
    lost: tuple[str, ...] = ()
    asks_none: str | None = None
    routed: tuple[tuple[IPNetwork, str], ...] = ()
    lists_sessions: bool = True
    control_server: str | None = None
    login_options: tuple[str, ...] = ()
    policy: OutPolicy | None = None
    shielded: bool = False
    called: tuple[OverlayPeer, ...] = ()
    source: str | None = None
    one_end: bool = False
    met: tuple[str, ...] = ()
    announces: tuple[IPNetwork, ...] = ()

    @property
    def tunnels(self) -> tuple["OverlayState", ...]:
        """This one, then the further ones."""
        return (self, *self.further)

    @property
    def own_tunnels(self) -> tuple["OverlayState", ...]:
        """This one, and further ones of the same overlay: they share one of this node's addresses."""
        own = {interface.ip for interface in self.addresses}
        shared = (each for each in self.further if any(interface.ip in own for interface in each.addresses))
        return (self, *shared)

    @property
    def lists_owners(self) -> bool:
        """Whether it is known which peer owns which address."""
        return self.product in LISTING_OWNERS and self.unreadable is None

    @property
    def owners(self) -> Owners:
        """Which of its peers owns what; built when it is first asked."""
        if not self._owners:
            self._owners.append(Owners(self.peers))
        return self._owners[0]

    def peer_for(self, address: str) -> OverlayPeer | None:
        """The peer that owns the address: longest prefix wins, as in cryptokey routing."""
        return self.owners.of(address)

    def remote_for(self, address: str) -> OverlayPeer | None:
        """The peer that owns the address, with its endpoint: that of the configuration if no other is known."""
        peer = self.peer_for(address)
        if peer is not None and (peer.endpoint or peer.relayed):
            return peer
        return Owners(self.called).of(address) or peer

    @property
    def only_member(self) -> OverlayPeer | None:
        """The one member that this node knows in addition to roots, if the product does not say who has an address."""
        members = [peer for peer in self.peers if peer.name == "leaf"] if not self.lists_members else []
        return members[0] if len(members) == 1 else None

    def claims(self, address: str) -> int:
        """How specifically this tunnel has the address, in bits of the prefix; -1: not, or only as part of the whole.

        Where it is not known who owns what, or one peer owns all, the networks of the interface's addresses and of the
        product count.
        """
        owned, wanted = self.owners.prefix(address), ip_address(address)
        networks = [owned] if owned is not None else []
        if not self.lists_owners or (owned is not None and owned.prefixlen <= WHOLE_BITS):
            networks += (*self.prefixes, *(interface.network for interface in self.addresses))
        hidden = self.hidden.get(address)
        if hidden is not None and hidden.matched is not None and hidden.interface == self.interface:
            networks.append(hidden.matched)
        bits = (network.prefixlen for network in networks if _inside(wanted, network))
        return max((length for length in bits if length > WHOLE_BITS), default=-1)

    def drops(self, address: str) -> bool:
        """Whether the product drops what the kernel leads to it: Nebula does where its configuration leads nowhere."""
        if self.product != "nebula" or not self.addresses:
            return False
        networks = (*(own.network for own in self.addresses), *(network for network, _ in self.routed))
        return not any(_inside(ip_address(address), each) for each in networks)

    def tunnel_for(self, address: str) -> "OverlayState":
        """The tunnel that has an address: the most specific one, of equal ones the one that the kernel takes.

        Without any it is the one that the kernel takes, else this one.
        """
        route = self.routes.get(address)
        taken = route.interface if route is not None else None
        if not self.further:
            return self
        return max(self.tunnels, key=lambda each: (each.claims(address), each.interface == taken, each is self))

    def tunnels_for(self, addresses: Iterable[str]) -> tuple["OverlayState", ...]:
        """The tunnels that have one of the addresses, each once; this one if there is none."""
        found = {id(tunnel): tunnel for tunnel in map(self.tunnel_for, addresses)}
        return tuple(tunnel for tunnel in self.tunnels if id(tunnel) in found) or (self,)

    def used_for(self, peers: Iterable[str], control: str | None) -> tuple["OverlayState", ...]:
        """The tunnels that have one of the peers, and that with the control plane's address: its remote end, or one of
        the same overlay, which is this one where that address is not known.
        """
        used = self.tunnels_for(peers)
        tunnel = self.tunnel_for(control) if control is not None else self
        end = tunnel.owners.prefix(control) if control is not None else None
        near = self.tunnels if end is not None and end.num_addresses == 1 else self.own_tunnels
        return (*used, *(each for each in near if each is tunnel and all(each is not one for one in used)))

    def carries(self, peer: str) -> bool:
        """Whether a peer of the run is on the overlay: it covers it, or the peer is on one that does not list owners.

        The kernel leads to it there, and not only to all addresses.
        """
        route = self.routes.get(peer)
        if route is None or route.error is not None or route.local:
            return False
        tunnel, bits = self.at(route.interface), route.matched.prefixlen if route.matched is not None else 0
        unlisted = tunnel is not None and not tunnel.lists_owners and self.tunnel_for(peer) is tunnel
        return self.covers(peer) or (unlisted and bits > WHOLE_BITS)

    def at(self, interface: str | None) -> "OverlayState | None":
        """The tunnel of an interface."""
        return next((tunnel for tunnel in self.tunnels if tunnel.interface == interface), None)

    def has(self, address: str) -> bool:
        """Whether an address is this node's own on the overlay."""
        return any(str(own.ip) == address for tunnel in self.own_tunnels for own in tunnel.addresses)

    def covers(self, address: str) -> bool:
        """Whether an address is on the overlay: the kernel sends packets for it into a tunnel and a peer owns it there.

        False where the kernel was not asked. What a tunnel has only as part of the whole Internet is not, if it is a
        public address or only an exit leads there: the node that sends it on does so outside the overlay. Of another
        owner's tunnel only its remote end is.
        """
        route = self.routes.get(address)
        if route is None or route.error is not None:
            return False
        if route.local:
            return self.has(address)
        tunnel = self.at(route.interface)
        if tunnel is None:
            return False
        owned = tunnel.owners.prefix(address)
        if owned is None and tunnel.lists_owners:
            return False
        prefix = owned or route.matched
        bits = prefix.prefixlen if prefix is not None else 0
        if bits <= WHOLE_BITS and (ip_address(address).is_global or tunnel.product in NAMING_SUBNETS):
            return False
        ours = any(tunnel is each for each in self.own_tunnels)
        return ours or (owned is not None and owned.num_addresses == 1)


def _inside(address: IPv4Address | IPv6Address, network: IPNetwork) -> bool:
    return address.version == network.version and address in network
