"""Everything that is known of a tunnel around one burst, and what of it was with the peer: pure counting."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address

from preflight.model.flow import Flow
from preflight.model.host_port import join_host_port
from preflight.model.overlay import ConfiguredEnd, IPNetwork, OverlayPeer, OverlayState, Owners
from preflight.model.tapped import TapPacket, Tapped
from preflight.model.udp_port import UdpPort
from preflight.proto.tunnel.sessions_seen import SETTLED_NS
from preflight.proto.tunnel.wireguard import REJECT_AFTER_S
from preflight.proto.way.observation import PacketClass
from preflight.proto.way.tunnel_packets import PRODUCTS

_MOST_PORTS = 16
_MOST_ADDRESSES = 16
_ONLY_HANDSHAKES = frozenset((92, 148, 184, 240))
"""Bytes of one or two initiations (148) and responses (92) that with data, in multiples of 16, give no such sum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """Packets that were sent to the peer through the tunnel.

    flow: as this node sends them into the tunnel; length_bytes of it: of the IP packet inside. answered: how many
    answers came to the socket. answer_bytes: the length of an answer's IP packet. large: whether they are there to see
    what large packets meet.
    """

    flow: Flow
    sent: int
    answered: int = 0
    answer_bytes: int | None = None
    large: bool = False

    @property
    def answer_length(self) -> int:
        """The length of an answer's IP packet: that of a probe where nothing else is known."""
        return self.answer_bytes or self.flow.length_bytes

    @property
    def outer(self) -> PacketClass:
        """The class of the tunnel's own packets that carry it."""
        return "large" if self.large else "data"


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelView:
    """What was seen of a tunnel from before a burst until after it.

    target: the peer's name, as in results. address: the peer's overlay address. before, after: the product's state at
    both ends of the window; read_ns: when `after` was read. uplink, gateway: device and next hop of the kernel's route
    to the endpoint. own: this node's addresses. ports: its UDP sockets, None if they are not known. tunnels: its other
    tunnels of the product. others: overlay addresses of the other targets. living, silent, answering: where nobody has
    the peer's address, those of `may_lack` that answered an echo, or did not, and those of `may_be` with a responder of
    this node's. frame_errors: by how much the tunnel device's counter of frame errors grew: kernel WireGuard counts
    there what its allowed-ips drop. answers_sent: how many packets the peer says that it sent to this node meanwhile; 0
    if it says nothing; reported_sent: in the whole run. arrived: whether any of the peer has come through the tunnel in
    this run. carrier: whose packets carry the tunnel (`carrier_of`). remote: where that sends everything, if it has one
    remote end that is known. filters_read: whether this node's firewall could be read, which may drop what a tap saw
    before it. waits: the tunnel asks for the hardware address of the peer, which nobody has given: packets do not come
    to the device before. first_sent_ns: when this run first sent the peer something through the tunnel; 0 if that is
    not known. begun: the product's state before that. configured: where the tunnel's file says that the peer is; None
    if it was not asked. elsewhere: its own packets leave in another network namespace.
    """

    target: str
    address: str
    before: OverlayState
    after: OverlayState
    burst: Burst
    tapped: Tapped
    read_ns: int
    uplink: str | None = None
    gateway: str | None = None
    own: frozenset[str] = frozenset()
    ports: tuple[UdpPort, ...] | None = None
    tunnels: tuple[OverlayState, ...] = ()
    others: tuple[str, ...] = ()
    living: frozenset[str] = frozenset()
    silent: frozenset[str] = frozenset()
    answering: tuple[str, ...] = ()
    frame_errors: int = 0
    answers_sent: int = 0
    reported_sent: int = 0
    arrived: bool = False
    carrier: str | None = None
    remote: tuple[str, int] | None = None
    filters_read: bool = True
    waits: bool = False
    first_sent_ns: int = 0
    begun: OverlayState | None = None
    configured: ConfiguredEnd | None = None
    elsewhere: bool = False

    @property
    def product(self) -> str:
        """Whose packets carry the tunnel."""
        return self.carrier or self.after.product

    @property
    def name(self) -> str:
        """The tunnel device."""
        return self.after.interface or "the tunnel"

    @property
    def peer(self) -> OverlayPeer | None:
        """The tunnel's peer that owns the address."""
        return Owners(self.after.peers).of(self.address)

    @property
    def peer_before(self) -> OverlayPeer | None:
        """The same peer before the burst; None if the tunnel had no such peer."""
        peer = self.peer
        return next((each for each in self.before.peers if peer is not None and each.key == peer.key), None)

    def address_in(self, network: IPNetwork) -> bool:
        """Whether the peer's address is in a network."""
        wanted = ip_address(self.address)
        return wanted.version == network.version and wanted in network

    @property
    def received(self) -> int:
        """By how much the peer's counter of accepted bytes grew."""
        return self._grown("rx_bytes")

    @property
    def counted_sent(self) -> int:
        """By how much the peer's counter of sent bytes grew."""
        return self._grown("tx_bytes")

    @property
    def received_in_run(self) -> int | None:
        """The same since the run began; None where a handshake came meanwhile, or what it was then is not known."""
        earlier, later = Owners(self.begun.peers).of(self.address) if self.begun is not None else None, self.peer
        if earlier is None or later is None or earlier.key != later.key:
            return None
        if earlier.last_handshake_unix_s != later.last_handshake_unix_s:
            return None
        return (later.rx_bytes or 0) - (earlier.rx_bytes or 0)

    def _grown(self, counter: str) -> int:
        earlier, later = self.peer_before, self.peer
        before = getattr(earlier, counter, None) or 0
        return max(0, (getattr(later, counter, None) or 0) - before)

    @property
    def shook_hands(self) -> bool:
        """Whether a handshake was completed in the window."""
        earlier, later = self.peer_before, self.peer
        now = later.last_handshake_unix_s if later else None
        return bool(now) and now != (earlier.last_handshake_unix_s if earlier else None)

    @property
    def only_handshakes(self) -> bool:
        """Whether a handshake was completed, and the counter of accepted bytes shows that nothing else ever came."""
        peer = self.peer
        return peer is not None and bool(peer.last_handshake_unix_s) and peer.rx_bytes in _ONLY_HANDSHAKES

    @property
    def never(self) -> bool:
        """Whether the product counts handshakes, and there never was one with the peer."""
        peer = self.peer
        return peer is not None and peer.last_handshake_unix_s == 0

    @property
    def alive(self) -> bool:
        """Whether WireGuard had a session at the begin, which data could use at once."""
        peer = self.peer_before
        handshake = peer.last_handshake_unix_s if peer else None
        return bool(handshake) and self.read_ns / 1e9 - (handshake or 0) <= REJECT_AFTER_S

    @property
    def watched_s(self) -> float:
        """How long the tap looked before the product was read again."""
        return max(0.0, (self.read_ns - self.tapped.began_ns) / 1e9)

    @property
    def endpoints(self) -> frozenset[tuple[str, int]]:
        """Where the peer is, before and after the burst; of VXLAN and OpenVPN, where packets for it go."""
        if self.product in ("openvpn", "vxlan") and (sent := self._sent_to()):
            return sent
        if self.remote is not None:
            return frozenset((self.remote,))
        peers: Iterable[OverlayPeer | None] = (self.peer_before, self.after.remote_for(self.address))
        if self.product == "vxlan":
            peers = self.after.peers
        return frozenset(
            (peer.endpoint_address, peer.endpoint_port)
            for peer in peers
            if peer is not None and peer.endpoint_address and peer.endpoint_port
        )

    @property
    def supposed(self) -> bool:
        """Whether only the product's configuration says where the peer is."""
        peer = self.peer
        return (peer is None or not peer.endpoint) and self.after.remote_for(self.address) is not None

    def _sent_to(self) -> frozenset[tuple[str, int]]:
        """VXLAN shows what is for the peer; OpenVPN sends everything to one remote end."""
        return frozenset(
            (packet.destination, packet.destination_port)
            for packet in self.tapped.packets
            if packet.outgoing
            and packet.tunnel is not None
            and packet.destination_port is not None
            and (self.product == "openvpn" or packet.tunnel.inner_destination == self.address)
        )

    @property
    def endpoint(self) -> str:
        """The peer's endpoint in words."""
        peer = self.peer_before or self.peer
        if peer is not None and peer.endpoint:
            return peer.endpoint
        return next((join_host_port(*each) for each in sorted(self.endpoints)), "no endpoint")


@dataclass(frozen=True, slots=True, kw_only=True)
class OnTheWire:
    """The tunnel's own packets with the peer on the device that carries them; each message counts.

    out, into: with the peer's endpoint. elsewhere: what came in from any address that no peer of the tunnel has.
    device: where they were seen; None if none were.
    """

    out: tuple[TapPacket, ...] = ()
    into: tuple[TapPacket, ...] = ()
    elsewhere: tuple[TapPacket, ...] = ()
    device: str | None = None


@dataclass(frozen=True, slots=True)
class _Sides:
    out: list[TapPacket] = field(default_factory=list)
    into: list[TapPacket] = field(default_factory=list)


def on_the_wire(view: TunnelView) -> OnTheWire:
    """The tunnel's own packets, each once: a bridge or a pair of devices shows them on several."""
    port = view.after.listen_port or view.before.listen_port
    ours = [
        packet
        for packet in view.tapped.packets
        if packet.tunnel is not None and (view.product != "wireguard" or port in (None, packet.local[1]))
    ]
    sides = _Sides(_on_one_device(view, ours, outgoing=True), _on_one_device(view, ours, outgoing=False))
    known = {(peer.endpoint_address, peer.endpoint_port) for state in (view.before, view.after) for peer in state.peers}
    seen = [*sides.out, *sides.into]
    return OnTheWire(
        out=tuple(packet for packet in sides.out if _with_peer(view, packet)),
        into=tuple(packet for packet in sides.into if _with_peer(view, packet)),
        elsewhere=tuple(packet for packet in sides.into if packet.remote not in known and not _with_peer(view, packet)),
        device=seen[0].device if seen else None,
    )


def _on_one_device(view: TunnelView, packets: list[TapPacket], *, outgoing: bool) -> list[TapPacket]:
    found = [packet for packet in packets if packet.outgoing == outgoing]
    counts = Counter(packet.device for packet in found)
    if not counts:
        return []
    device = view.uplink if view.uplink in counts else counts.most_common(1)[0][0]
    return [packet for packet in found if packet.device == device]


def _with_peer(view: TunnelView, packet: TapPacket) -> bool:
    if view.product == "vxlan":  # it sends each flow from another port
        inside = {packet.tunnel.inner_source, packet.tunnel.inner_destination} if packet.tunnel else set()
        return view.address in inside or packet.remote[0] in {address for address, _ in view.endpoints}
    return packet.remote in view.endpoints


def inside(view: TunnelView, *, outgoing: bool) -> tuple[TapPacket, ...]:
    """The burst's packets on the tunnel device: on the way out, or their answers on the way in.

    Addresses are not compared: a packet that something rewrote counts too.
    """
    flow = view.burst.flow
    wanted = (flow.source_port, flow.destination_port)
    return tuple(
        packet
        for packet in view.tapped.packets
        if packet.device == view.after.interface
        and packet.outgoing == outgoing
        and packet.tunnel is None
        and packet.error is None
        and _same_ports(packet, wanted if outgoing else wanted[::-1])
        and (packet.destination if outgoing else packet.source) == view.address
    )


def only_source(packets: Iterable[TapPacket]) -> str | None:
    """The one source that packets have behind all rules; None if they have several, or none was seen."""
    found = {packet.source for packet in packets}
    return found.pop() if len(found) == 1 else None


def _same_ports(packet: TapPacket, wanted: tuple[int | None, int | None]) -> bool:
    return all(
        port in (None, seen) for port, seen in zip(wanted, (packet.source_port, packet.destination_port), strict=True)
    )


def messages(packets: Iterable[TapPacket], *kinds: str, carrying: int | None = None) -> int:
    """How many messages of these kinds are among the packets. carrying: only data that may hold this length."""
    return sum(
        packet.tunnel.messages
        for packet in packets
        if packet.tunnel is not None
        and packet.tunnel.kind in kinds
        and (carrying is None or packet.tunnel.carries(carrying))
    )


def settled(view: TunnelView, packets: Iterable[TapPacket]) -> tuple[TapPacket, ...]:
    """Those that came early enough to be in the state that was read after the burst."""
    return tuple(packet for packet in packets if packet.received_ns <= view.read_ns - SETTLED_NS)


def carrier_of(state: OverlayState, kind: str | None, ports: Iterable[UdpPort]) -> str | None:
    """Whose packets carry an overlay, where they can be read: of a device that no product claims, by what it is.

    kind: of the device, as the kernel names it.
    """
    if state.product != "generic":
        return state.product if state.product in PRODUCTS else None
    if kind == "vxlan":
        return kind
    return "openvpn" if kind == "tun" and any(each.program == "openvpn" for each in ports) else None


def tunnel_ports(state: OverlayState, carrier: str | None, ports: Iterable[UdpPort]) -> frozenset[int]:
    """The UDP ports by which the tunnel's own packets are known.

    Its own port is in each of them; where it is not known, those of its endpoints are.
    """
    if carrier == "openvpn":
        return frozenset(each.port for each in ports if each.program == "openvpn")
    if state.listen_port is not None:
        return frozenset((state.listen_port,))
    theirs = sorted({port for peer in (*state.peers, *state.called) if (port := peer.endpoint_port)})
    return frozenset(theirs[:_MOST_PORTS])


def fragments_between(state: OverlayState, address: str) -> frozenset[str]:
    """The endpoints whose later fragments a tap takes, for these have no ports: first that of the address's owner.

    A kernel's filter has room for a few, and a large mesh has hundreds of peers.
    """
    owner = state.remote_for(address)
    first = (owner, *state.peers) if owner is not None else state.peers
    known = dict.fromkeys(each.endpoint_address for each in first if each.endpoint_address)
    return frozenset(list(known)[:_MOST_ADDRESSES])
