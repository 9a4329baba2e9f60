"""All observers of one burst together: what each needs to know of it, and what all of them say; pure."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from preflight.model.flow import Flow
from preflight.model.icmp import Trace
from preflight.model.network_state import NetworkState, TunnelSide
from preflight.model.overlay import ConfiguredEnd, OverlayPeer, OverlayState
from preflight.model.path import AskResult, StampStats
from preflight.model.peer import Peer
from preflight.model.tapped import EchoAnswer, Tapped
from preflight.model.udp_port import UdpPort
from preflight.proto.way.astray import arriving_astray, astray, missed, observe_astray
from preflight.proto.way.behind import observe_behind
from preflight.proto.way.counters import observe_egress
from preflight.proto.way.filtered import unless_filtered, word_of_rules
from preflight.proto.way.flows import HANDSHAKE_BYTES, PROBE_BYTES, inner_flow, outer_answer
from preflight.proto.way.inner_word import inner_word
from preflight.proto.way.kernel_word import Answers, Watched, observe_kernel, uplink_of, with_filters_behind
from preflight.proto.way.netfilter.burst import Burst as FilterBurst
from preflight.proto.way.netfilter.observe import observe_filters
from preflight.proto.way.netfilter.ruleset import FilterSnapshot
from preflight.proto.way.netfilter.trace import Dropped
from preflight.proto.way.observation import Observation, PacketClass, Passing
from preflight.proto.way.openvpn import Remote
from preflight.proto.way.outer import leaves_elsewhere
from preflight.proto.way.stations import Station
from preflight.proto.way.trace import Traces, observe_private, observe_traces
from preflight.proto.way.tunnel import observe_tunnel
from preflight.proto.way.tunnel_view import Burst, TunnelView, inside, messages, on_the_wire, only_source
from preflight.proto.way.words import counted

MANAGED = ("tailscale", "zerotier")
"""Products that write the routes themselves."""
_HEADERS = {False: 28, True: 48}
"""Bytes of IP and UDP, by whether it is IPv6."""
OVERHEAD_BYTES = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What this node says of itself at one time."""

    overlay: OverlayState
    kernel: NetworkState
    rules: FilterSnapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Everything that was read around one burst to a peer.

    stats: what its socket saw; large: of packets as large as the tunnel's MTU, None if none were sent. read_ns: when
    `after` was read, except for its rules, which are those right behind the burst. later_rules: as they were in the
    end, None if that is the same; ruled_ns: when the last ones were read.
    carrier: whose packets carry the tunnel. asked_meanwhile: the peer was asked while the tap looked. echo: of a peer
    that refuses. pings: what it answers. answers: of the uplink, None if it was not asked. others: addresses of
    further peers; heard: those that have answered. traces: to its endpoint, where nothing else showed the place; hops:
    to the peer, inside. traced: rules that were traced while the burst passed. uid: of this process. first_sent_ns:
    when this run first sent to it; begun: the overlay before that. configured: where the tunnel's file says it is.
    """

    peer: Peer
    watched: Watched
    before: Moment
    after: Moment
    stats: StampStats
    tapped: Tapped
    read_ns: int
    later_rules: FilterSnapshot | None = None
    ruled_ns: int = 0
    large: StampStats | None = None
    ports: tuple[UdpPort, ...] = ()
    carrier: str | None = None
    asked: AskResult | None = None
    asked_meanwhile: bool = False
    echo: EchoAnswer | None = None
    pings: Passing | None = None
    others: tuple[str, ...] = ()
    heard: tuple[str, ...] = ()
    living: frozenset[str] = frozenset()
    silent: frozenset[str] = frozenset()
    answering: tuple[str, ...] = ()
    traces: Traces | None = None
    hops: Trace | None = None
    traced: tuple[Dropped, ...] = ()
    answers: Answers | None = None
    uid: int = 0
    first_sent_ns: int = 0
    begun: OverlayState | None = None
    configured: ConfiguredEnd | None = None

    @property
    def tunnel(self) -> OverlayState:
        """The tunnel to the peer, after the burst."""
        return self.after.overlay.tunnel_for(self.peer.address)

    @property
    def arrives_by(self) -> frozenset[str]:
        """The devices by which the tunnel's packets came in: answers may take another uplink."""
        return frozenset(
            packet.device for packet in self.tapped.packets if packet.tunnel is not None and not packet.outgoing
        )

    @property
    def astray_by(self) -> frozenset[str]:
        """The devices by which the peer's answers came in outside the tunnel."""
        found = astray(self.tapped, self.watched.flows[0], self.watched.tunnel)
        return frozenset(packet.device for packet in found)

    @property
    def uplink(self) -> str | None:
        """The device by which the tunnel's packets leave."""
        return uplink_of(self.after.kernel, self.watched)

    @property
    def inner(self) -> Flow:
        """The burst as it goes into the tunnel."""
        address, port = self.stats.local or ("", None)
        flow = inner_flow(self.peer, self.uid)
        length = self.length_of(self.stats)
        return replace(flow, source=address, source_port=port, interface_out=self.tunnel.interface, length_bytes=length)

    def length_of(self, stats: StampStats) -> int:
        """The IP packet of a burst: an unsigned probe is smaller than a signed one, and IPv6 adds to both."""
        headers = _HEADERS[":" in self.peer.address]
        return stats.payload_bytes + headers if stats.payload_bytes else PROBE_BYTES


def tunnel_side(peer: Peer, tunnel: OverlayState, ports: Collection[UdpPort] | None = None) -> TunnelSide:
    """This node's end of the tunnel to a peer. ports: the UDP sockets of this namespace, None if they are not known."""
    port = tunnel.listen_port
    bound = {each.port for each in ports} if ports is not None else {port}
    owner = tunnel.peer_for(peer.address)
    return TunnelSide(
        peer=peer.target,
        product=tunnel.product,
        interfaces=(tunnel.interface or "",),
        addresses=tuple(str(interface.ip) for interface in tunnel.addresses),
        endpoint=remote.endpoint if (remote := tunnel.remote_for(peer.address)) else None,
        listen_port=tunnel.listen_port,
        owned=(owner is not None) if tunnel.lists_owners else None,
        without_address=sum(not _has_family(each, peer.address) for each in tunnel.peers),
        mark=tunnel.fwmark,
        manages_routes=tunnel.product in MANAGED or tunnel.drops(peer.address),
        elsewhere=tunnel.product == "wireguard" and bool(port) and port not in bound,
    )


def _has_family(owner: OverlayPeer, address: str) -> bool:
    return any((network.version == 6) == (":" in address) for network in owner.addresses)


def observe(record: Record) -> tuple[Observation, ...]:
    """What every observer says of the burst, of both ways."""
    before, after = record.before, record.after
    latest, bursts = record.later_rules or after.rules, tuple(filter_bursts(record))
    rules = word_of_rules(before.rules, after.rules, latest, bursts, record.traced)
    report = record.asked.report if record.asked else None
    tunnel, by = (report.tunnel if report else None), f"{record.peer.target} by mailbox"
    strayed = tuple(_astray(record))
    target, address = record.peer.target, record.peer.address
    own = frozenset(str(interface.ip) for link in after.kernel.links for interface in link.addresses)
    large = inner_word(record.large, target, address, "large", own=own) if record.large else ()
    return (
        *inner_word(record.stats, target, address, echo=record.echo, pings=record.pings, own=own),
        *large,
        *_watched_before(record),
        *observe_kernel(before.kernel, after.kernel, _with_passed(record), record.answers, (before.rules, latest)),
        *_queue_of_large(record),
        *strayed,
        *with_filters_behind(rules, after.kernel, record.watched),
        *(
            each
            for view in _views(record)
            for each in unless_filtered(observe_tunnel(view, tunnel, by), rules)
            if not (strayed and missed(each))
        ),
        *_along_the_way(record),
        *_behind(record),
    )


def _with_passed(record: Record) -> Watched:
    """What is watched, with what a tap saw of the burst behind this node's queues."""
    view = view_of(record)
    outer = record.watched.outer
    came = None
    if outer is not None and record.tapped.blind is None:
        arrived = (each for each in record.tapped.packets if each.tunnel is not None and not each.outgoing)
        # Where the tunnel has taken something of it in this run, what was dropped is the exception.
        came = 0 if view.received_in_run else sum(each.source == outer.destination for each in arrived)
    entered, unread = len(inside(view, outgoing=True)), record.after.rules.unreadable is not None
    return replace(record.watched, entered=entered, left=_left(view), came=came, marks_unread=unread)


def _left(view: TunnelView) -> int:
    return messages(on_the_wire(view).out, "data", carrying=view.burst.flow.length_bytes)


def _queue_of_large(record: Record) -> Iterator[Observation]:
    """Whether the uplink's queue takes no large packets, as a shaper does whose burst is smaller."""
    if record.large is None or record.uplink is None or not record.large.sent:
        return
    left, tunnel = _left(_view(record, record.large, large=True)), record.watched.tunnel
    before, after = record.before.kernel, record.after.kernel
    found = observe_egress(before, after, record.uplink, tunnel, sent=record.large.sent, passed=left, packets="large")
    if found.finding == "killed":
        yield found


def _behind(record: Record) -> Iterator[Observation]:
    if record.stats.answered or record.pings:
        return
    alive = view_of(record).alive
    found = observe_behind(
        record.tunnel, record.peer.address, record.peer.target, record.hops, alive=alive, heard=record.heard
    )
    if found is not None:
        yield found


def _astray(record: Record) -> Iterator[Observation]:
    """Answers that came in outside the tunnel, and did not come to the socket."""
    before, after, watched = record.before, record.after, record.watched
    found = astray(record.tapped, watched.flows[0], watched.tunnel)
    if record.stats.answered or not found:
        return
    arriving = arriving_astray(watched.flows[0], watched.tunnel, found[0].device)
    bursts = [FilterBurst(flow=arriving, direction="reverse")] if arriving is not None else []
    rules = observe_filters(before.rules, after.rules, bursts, traced=record.traced)
    stopped = next((each for each in rules if each.finding == "killed"), None)
    yield from observe_astray(before.kernel, after.kernel, found, watched.flows[0], watched.tunnel, stopped)


def _along_the_way(record: Record) -> Iterator[Observation]:
    outer, traces = record.watched.outer, record.traces
    if outer is None or traces is None:
        return
    side, never = record.watched.tunnel, view_of(record).never
    yield observe_traces(traces, outer, side)
    yield observe_private(record.after.kernel, outer, side, traces, never=never)


def filter_bursts(record: Record) -> Iterator[FilterBurst]:
    """The packets that this node's firewall may have met: inside the tunnel and outside, both directions.

    What has no source was refused by the kernel's routes, which come before all rules.
    """
    inner, outer = record.inner, record.watched.outer
    whole = record.length_of(record.large) if record.large is not None else None
    if inner.source:
        yield from _bursts_inside(record, inner, whole)
    if outer is not None and outer.source and outer.destination_port and record.uplink is not None:
        yield from _bursts_outside(record, replace(outer, interface_out=record.uplink), whole)


def _bursts_inside(record: Record, inner: Flow, whole: int | None) -> Iterator[FilterBurst]:
    view = view_of(record)
    came, left_as = len(inside(view, outgoing=False)), only_source(inside(view, outgoing=True))
    refused = not record.stats.sent and bool(record.stats.send_errors.get("EPERM"))
    yield FilterBurst(flow=inner, sent=record.stats.sent, left_as=left_as, refused=refused)
    yield FilterBurst(flow=inner.answer(), direction="reverse", sent=came)
    if whole is not None and record.large is not None:
        large = replace(inner, length_bytes=whole)
        yield FilterBurst(flow=large, packets="large", sent=record.large.sent)
        yield FilterBurst(flow=large.answer(), packets="large", direction="reverse")


def _bursts_outside(record: Record, outer: Flow, whole: int | None) -> Iterator[FilterBurst]:
    wire = on_the_wire(view_of(record))
    sizes: dict[PacketClass, int] = {"data": record.inner.length_bytes + OVERHEAD_BYTES, "handshake": HANDSHAKE_BYTES}
    if whole is not None:
        sizes["large"] = whole + OVERHEAD_BYTES
    for packets, length in sizes.items():
        flow = replace(outer, length_bytes=length)
        # Another source may be meant to lead back here, unless nothing comes back.
        yield FilterBurst(flow=flow, packets=packets, outer=True, left_as=None if wire.into else only_source(wire.out))
        for device in sorted({outer.interface_out or "", *record.arrives_by}):
            answer = outer_answer(replace(flow, interface_out=device))
            seen = _came_outside(record, device, packets)
            yield FilterBurst(flow=answer, packets=packets, outer=True, direction="reverse", sent=seen)


def _came_outside(record: Record, device: str, packets: PacketClass) -> int:
    """How many packets of a class came in from the endpoint before the rules were read: the tap is before each hook."""
    outer = record.watched.outer
    came = [
        packet
        for packet in record.tapped.packets
        if packet.tunnel is not None and not packet.outgoing and packet.device == device
        if packet.received_ns <= record.ruled_ns
        if outer is not None and packet.source == outer.destination
    ]
    shakes = sum(packet.tunnel is not None and packet.tunnel.is_handshake for packet in came)
    if packets == "handshake":
        return shakes
    whole = (record.tunnel.mtu or 0) if record.large is not None else 0
    large = sum(bool(whole) and packet.length_bytes > whole for packet in came)
    return large if packets == "large" else len(came) - shakes - large


def _views(record: Record) -> Iterator[TunnelView]:
    yield view_of(record)
    if record.large is not None:
        yield _view(record, record.large, large=True)


def _answered_there(record: Record) -> int:
    """How many packets the peer sent while the tap looked: it answers what comes to it, and is asked by mailbox.

    0 where only another time is known: what it sent then, no tap could miss.
    """
    report = record.asked.report if record.asked else None
    if report is None:
        return 0
    if record.asked_meanwhile:
        return report.sent
    # What it sent when it was asked came earlier: now it answers what comes to it, and no more than that.
    return min(report.sent, record.stats.sent) if report.received else 0


def _arrived(record: Record) -> bool:
    """Whether anything of the peer came here while it was asked, or by itself: its tunnel is there."""
    asked = record.asked
    return asked is not None and bool(asked.on_interface or asked.probes_received or asked.hello)


def _watched_before(record: Record) -> Iterator[Observation]:
    """What came out of the tunnel while the peer was asked, before this burst."""
    came = record.asked.on_interface if record.asked is not None else None
    if came:
        reason = (
            f"{counted(came, 'packet')} of {record.peer.target} came in by {record.tunnel.interface} while it was asked"
        )
        yield Observation(
            station=Station("tunnel", "receiver"), finding="seen", direction="reverse", reason=reason, seen=came
        )


def _waits(record: Record) -> bool:
    """Whether nobody has given the hardware address of the peer inside a tunnel that asks for it."""
    kernel, device = record.after.kernel, record.tunnel.interface
    link, known = kernel.link(device), kernel.neighbour(device, record.peer.address)
    return link is not None and link.resolves and (known is None or known.state in ("incomplete", "failed"))


def view_of(record: Record) -> TunnelView:
    """The tunnel around the burst."""
    return _view(record, record.stats, large=False)


def _view(record: Record, stats: StampStats, *, large: bool) -> TunnelView:
    kernel = record.after.kernel
    lookup = kernel.lookup(record.watched.outer) if record.watched.outer else None
    address, port = stats.local or ("", None)
    flow = replace(record.inner, source=address, source_port=port, length_bytes=record.length_of(stats))
    return TunnelView(
        target=record.peer.target,
        address=record.peer.address,
        before=record.before.overlay.tunnel_for(record.peer.address),
        after=record.tunnel,
        burst=Burst(flow=flow, sent=stats.sent, answered=stats.answered, large=large),
        tapped=record.tapped,
        read_ns=record.read_ns,
        uplink=record.uplink,
        gateway=lookup.gateway if lookup else None,
        own=frozenset(str(interface.ip) for link in kernel.links for interface in link.addresses),
        ports=record.ports,
        tunnels=record.after.overlay.tunnels,
        others=record.others,
        living=record.living,
        silent=record.silent,
        answering=record.answering,
        answers_sent=_answered_there(record),
        reported_sent=record.asked.report.sent if record.asked and record.asked.report else 0,
        arrived=_arrived(record),
        carrier=record.carrier,
        remote=_remote(record),
        filters_read=record.before.rules.unreadable is None and record.after.rules.unreadable is None,
        waits=_waits(record),
        first_sent_ns=record.first_sent_ns,
        begun=record.begun.tunnel_for(record.peer.address) if record.begun is not None else None,
        configured=record.configured,
        elsewhere=leaves_elsewhere(kernel, record.watched.tunnel),
    )


def _remote(record: Record) -> Remote | None:
    """Where OpenVPN sends everything; other products say themselves where each peer is."""
    outer = record.watched.outer
    if record.carrier != "openvpn" or outer is None or outer.destination_port is None:
        return None
    return outer.destination, outer.destination_port
