"""How a responder sees one asker: its tunnel, and the flows between the two, on its host. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

from preflight.model.flow import Flow
from preflight.model.network_state import NetworkState
from preflight.model.overlay import OverlayState
from preflight.model.peer import Peer
from preflight.model.peer_tunnel import PeerTunnel
from preflight.model.tapped import TapPacket
from preflight.proto.responder.mailbox_probe import PROBE_BYTES, ProbeRequest
from preflight.proto.way.far_ends import learned_end
from preflight.proto.way.flows import HANDSHAKE_BYTES, outer_answer, outer_flow
from preflight.proto.way.kernel_word import Watched, uplink_of
from preflight.proto.way.netfilter.burst import Burst
from preflight.proto.way.netfilter.ruleset import FilterSnapshot
from preflight.proto.way.netfilter.walk import mark_of_sent
from preflight.proto.way.observation import PacketClass
from preflight.proto.way.observers import OVERHEAD_BYTES
from preflight.proto.way.told import peer_tunnel
from preflight.proto.way.tunnel_side import tunnel_side

QUESTION_BYTES = 164
"""Of the asker's datagrams: a signed test packet with this program's TLVs."""
_HEADERS = {False: 28, True: 48}
"""Bytes of IP and UDP, by whether it is IPv6."""


def is_own(request: ProbeRequest, peers: Iterable[Peer]) -> bool:
    """Whether an asker asks about its own address, as far as this host's settings know the mailboxes of its peers."""
    listed = [peer for peer in peers if peer.agent_id is not None]
    addresses = {peer.address for peer in listed if peer.agent_id == request.sender}
    mailboxes = {peer.agent_id for peer in listed if peer.address == request.address}
    return (not addresses or request.address in addresses) and (not mailboxes or request.sender in mailboxes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vantage:
    """One asker. address, port: its socket; own, own_port: the responder's, to which it sends; uid: of the responder.

    tunnel: of this host, which has the asker's address, or would have it. source: of the tunnel's own packets; empty as
    long as the kernel was not asked. mark: that a rule gives to probes, by which they are routed again. learned: the
    tunnel's own packets, where its forwarding table says where they go, as a VXLAN's does. arrives_by: the devices by
    which the asker's own were seen to come in, which need not be the one by which answers leave.
    public_key: of the asker's end of the tunnel, as it says.
    """

    address: str
    port: int
    own: str
    own_port: int
    tunnel: OverlayState
    uid: int
    source: str = ""
    mark: int = 0
    public_key: str | None = None
    learned: Flow | None = None
    arrives_by: frozenset[str] = frozenset()

    @classmethod
    def of(cls, request: ProbeRequest, own_port: int, overlay: OverlayState, uid: int) -> Self | None:
        """None where the request says nothing of the responder's address, or where no tunnel has that."""
        own = request.to
        if own is None or not overlay.has(own):
            return None
        tunnel = overlay.tunnel_for(request.address)
        if tunnel.interface is None:
            return None
        return cls(
            address=request.address,
            port=request.port,
            own=own,
            own_port=own_port,
            tunnel=tunnel,
            uid=uid,
            public_key=request.public_key,
        )

    @property
    def device(self) -> str:
        """The tunnel's device."""
        return str(self.tunnel.interface)

    @property
    def probes(self) -> Flow:
        """What the responder sends to the asker, inside the tunnel."""
        return Flow(
            source=self.own,
            destination=self.address,
            source_port=self.own_port,
            destination_port=self.port,
            uid=self.uid,
            interface_out=self.device,
            length_bytes=self.packet_bytes(PROBE_BYTES),
        )

    @property
    def questions(self) -> Flow:
        """What the asker sends to the responder, as it comes out of the tunnel."""
        return replace(self.probes.answer(), uid=0, length_bytes=self.packet_bytes(QUESTION_BYTES))

    def packet_bytes(self, datagram_bytes: int) -> int:
        """The length of the IP packet around a datagram."""
        return datagram_bytes + _HEADERS[":" in self.address]

    @property
    def watched(self) -> Watched:
        """The same with the tunnel's own packets, as the kernel's observers take it."""
        inside = replace(self.probes, interface_out=None)
        flows = tuple(dict.fromkeys((inside, replace(inside, mark=self.mark))))
        outer = outer_flow(self.tunnel, self.address, self.source)
        if outer is None and self.learned is not None:
            outer = replace(self.learned, source=self.learned.source or self.source)
        side = tunnel_side(Peer(self.address), self.tunnel)
        return Watched(tunnel=side, flows=flows, outer=outer, arrives_by=self.arrives_by)

    def marked_by(self, rules: FilterSnapshot) -> Self:
        """The same, with the mark that this host's rules give to probes."""
        mark = mark_of_sent(rules.ruleset, self.probes) if rules.unreadable is None else None
        return self if mark is None else replace(self, mark=mark)

    def learning_from(self, state: NetworkState) -> Self:
        """The same, with the end behind which the kernel knows the asker, where the tunnel does not list its peers'."""
        return replace(self, learned=learned_end(self.tunnel, state.neighbour(self.device, self.address)))

    def leaving_by(self, state: NetworkState) -> Self:
        """The same, with the source that the kernel chooses for the tunnel's own packets."""
        outer = self.watched.outer
        lookup = state.lookup(outer) if outer else None
        return replace(self, source=(lookup.source if lookup else None) or "")

    def seeing(self, packets: Iterable[TapPacket]) -> Self:
        """The same, with the devices by which packets of the asker's end of the tunnel came in."""
        return replace(self, arrives_by=frozenset(each.device for each in self._coming(packets)))

    def end_of(self, tunnel: OverlayState) -> PeerTunnel | None:
        """What of this host's end of a tunnel is about the asker; None where keys are not what counts."""
        if self.public_key is None or tunnel.product != "wireguard" or tunnel.unreadable is not None:
            return None
        return peer_tunnel(tunnel, self.public_key, self.address)

    def bursts(self, state: NetworkState, sent: int, seen: int, packets: Sequence[TapPacket] = ()) -> tuple[Burst, ...]:
        """What a firewall is asked about. sent: probes; seen: the asker's packets that came out of the tunnel.

        packets: what a tap saw, before each of the rules for what comes in.
        """
        outer, uplink = self.watched.outer, uplink_of(state, self.watched)
        outside = () if outer is None or uplink is None else self._outside(outer, uplink, packets)
        return (*self._inside(sent, seen), *outside)

    def begun_there(self, bursts: Iterable[Burst], rules: FilterSnapshot) -> tuple[Burst, ...]:
        """The same where the probes of this host have made answers of the asker's packets, which began nothing then.

        The asker counts what came before: a stateful filter has dropped that, and lets pass what comes since.
        """
        held = rules.held(self.questions)
        if held is None or not held.answers:
            return tuple(bursts)
        asked = self.questions.connection
        return tuple(replace(each, fresh=True, sent=0) if each.flow.connection == asked else each for each in bursts)

    def _inside(self, sent: int, seen: int) -> Iterator[Burst]:
        yield Burst(flow=self.probes, sent=sent)
        yield Burst(flow=self.questions, direction="reverse", sent=seen)
        if self.tunnel.mtu is not None:
            yield Burst(flow=replace(self.probes, length_bytes=self.tunnel.mtu), packets="large")
            questions = replace(self.questions, length_bytes=self.tunnel.mtu)
            yield Burst(flow=questions, direction="reverse", packets="large")

    def _outside(self, outer: Flow, uplink: str, packets: Sequence[TapPacket]) -> Iterator[Burst]:
        sizes: tuple[tuple[PacketClass, int, int], ...] = (
            ("data", self.probes.length_bytes + OVERHEAD_BYTES, self.questions.length_bytes + OVERHEAD_BYTES),
            ("handshake", HANDSHAKE_BYTES, HANDSHAKE_BYTES),
        )
        for kind, out, into in sizes:
            leaving = replace(outer, interface_out=uplink, length_bytes=out)
            yield Burst(flow=leaving, packets=kind, outer=True)
            for device in sorted({uplink, *self.arrives_by}):
                coming = replace(outer_answer(replace(leaving, interface_out=device)), length_bytes=into)
                came = sum(
                    each.device == device and (kind == "handshake") == bool(each.tunnel and each.tunnel.is_handshake)
                    for each in self._coming(packets)
                )
                yield Burst(flow=coming, direction="reverse", packets=kind, outer=True, sent=came)

    def _coming(self, packets: Iterable[TapPacket]) -> Iterator[TapPacket]:
        """What came in from the asker's end of the tunnel."""
        outer = self.watched.outer
        for each in packets:
            if outer is not None and each.tunnel is not None and not each.outgoing and each.source == outer.destination:
                yield each
