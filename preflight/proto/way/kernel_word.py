"""All that the kernel's word says of one burst: what to ask it before and after, and the observations of its answers.

The caller asks `questions`, hands both lists to `KernelState.snapshot` before and after its burst, and both snapshots
to `observe_kernel`. What it then may ask a neighbour is in `next_hop`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from preflight.model.flow import Flow
from preflight.model.network_state import NetworkState, TunnelSide
from preflight.model.remedy import Remedies
from preflight.model.routing import Asked, Neighbour
from preflight.proto.way.astray import arriving_astray
from preflight.proto.way.counters import (
    back_of,
    loosened,
    observe_egress,
    observe_rp,
    observe_socket_outer,
    observe_tunnel,
)
from preflight.proto.way.discovery import Rules, observe_discovery
from preflight.proto.way.ipsec import observe_ipsec
from preflight.proto.way.neighbours import observe_neighbour
from preflight.proto.way.observation import Observation, PacketClass
from preflight.proto.way.outer import observe_route_outer
from preflight.proto.way.routing import observe_address, observe_route, observe_two

_WITHOUT_ROUTE = ("Ip.OutNoRoutes", "Ip6.OutNoRoutes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One burst to one peer.

    flows: what this node sends to the peer inside the tunnel: first with an empty source, for the kernel to choose it,
    then with the chosen one, as a connected socket asks, and with the mark that a rule gives it, if one does.
    outer: the tunnel's own packets to the endpoint, with its mark and ports; None where the endpoint is not known.
    remarked: the same with the mark that a rule gives it, by which the kernel routes it again; None without one.
    sent: packets that the burst sent, of the class `packets`.
    arrives_by: devices by which the tunnel's packets were seen to come in, in addition to the one by which they leave.
    astray_by: devices by which the peer's answers were seen to come in outside the tunnel. entered, left: how many of
    the burst a tap saw behind the queue of the tunnel's device, and behind that of the uplink. came: how many of
    the tunnel's packets a tap saw coming in from the endpoint's host, if none was taken; None where none could look.
    marks_unread: the firewall, which may mark what this node sends, could not be read.
    """

    tunnel: TunnelSide
    flows: tuple[Flow, ...]
    outer: Flow | None = None
    remarked: Flow | None = None
    sent: int = 0
    packets: PacketClass = "data"
    arrives_by: frozenset[str] = frozenset()
    astray_by: frozenset[str] = frozenset()
    entered: int = 0
    left: int = 0
    came: int | None = None
    marks_unread: bool = False

    def routed(self, state: NetworkState) -> Flow | None:
        """The flow whose route counts in the end: the rules see what the first look-up does not refuse."""
        first = state.lookup(self.outer) if self.outer else None
        return self.outer if self.remarked is None or first is None or first.refused else self.remarked


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What the uplink answered (`preflight.net.way.kernel_questions`).

    asked: who answers for the next hop; None: nobody was asked. next_best: for that of the route that would count
    without the one by it. routers: neighbours that have a way to the endpoint.
    peer, own: who answers inside the tunnel for the peer's address, and for this node's, where it asks neighbours.
    """

    asked: Asked | None = None
    next_best: Asked | None = None
    routers: tuple[Neighbour, ...] = ()
    peer: Asked | None = None
    own: Asked | None = None


def questions(watched: Watched, uplink: str | None = None) -> tuple[tuple[Flow, ...], tuple[Flow, ...]]:
    """The flows to ask the kernel about: those that leave, and those that come in.

    uplink: by which the tunnel's packets come in, known once the kernel has said how they leave; None before that.
    """
    elsewhere = (arriving_astray(watched.flows[0], watched.tunnel, device) for device in sorted(watched.astray_by))
    arriving = (*_arriving(watched, uplink), *(flow for flow in elsewhere if flow is not None))
    outer = filter(None, (watched.outer, watched.remarked))
    leaving = (*watched.flows, *outer, *map(back_of, arriving))
    return tuple(dict.fromkeys(leaving)), arriving


def uplink_of(state: NetworkState, watched: Watched) -> str | None:
    """The device that the tunnel's packets leave by; None where they do not leave, or where that is not known."""
    outer = watched.routed(state)
    lookup = state.lookup(outer) if outer else None
    if lookup is None or lookup.refused or lookup.interface in watched.tunnel.interfaces:
        return None
    return lookup.interface


def observe_kernel(
    before: NetworkState,
    after: NetworkState,
    watched: Watched,
    answers: Answers | None = None,
    rules: Rules | None = None,
) -> tuple[Observation, ...]:
    """Everything that the two snapshots say. answers: of the uplink; None: nobody was asked. rules: the firewall's."""
    answers = answers or Answers()
    tunnel, uplink, outer = watched.tunnel, uplink_of(after, watched), watched.routed(after)
    found = [
        observe_address(after, watched.flows, tunnel),
        observe_route(after, watched.flows, tunnel, marks_unread=watched.marks_unread),
        observe_egress(
            before,
            after,
            tunnel.interface,
            tunnel,
            station="egress",
            sent=watched.sent,
            passed=watched.entered,
            packets=watched.packets,
        ),
        observe_tunnel(before, after, tunnel, watched.sent, routed=watched.outer is not None),
        observe_route_outer(after, outer, tunnel, answers.routers, unrouted=_unrouted(before, after, watched.sent)),
        observe_neighbour(after, outer, tunnel, answers.asked, answers.routers, answers.next_best, before=before),
    ]
    if rules is not None:
        found.extend(observe_discovery(after, outer, tunnel, answers.asked, rules))
    if uplink is not None:
        found.append(
            observe_egress(
                before, after, uplink, tunnel, sent=watched.sent, passed=watched.left, packets=watched.packets
            )
        )
    found.extend(_by_the_way_back(before, after, watched, uplink))
    found.extend(_by_policies(before, after, watched, uplink))
    found.append(observe_socket_outer(before, after, tunnel))
    return (*found, *_twins(answers, tunnel))


def _by_the_way_back(
    before: NetworkState, after: NetworkState, watched: Watched, uplink: str | None
) -> Iterator[Observation]:
    """What the filters by the reverse path say of all that comes in."""
    for flow in _arriving(watched, uplink):
        if flow.interface_in in watched.tunnel.interfaces:
            yield observe_rp(before, after, flow, watched.tunnel)
        else:
            yield observe_rp(before, after, flow, watched.tunnel, station="rp-outer", came=watched.came)


def _twins(answers: Answers, tunnel: TunnelSide) -> Iterator[Observation]:
    """Who else has the peer's address, or this node's."""
    if answers.peer is not None:
        yield observe_two(answers.peer, tunnel)
    if answers.own is not None:
        yield observe_two(answers.own, tunnel, own=True)


def _by_policies(
    before: NetworkState, after: NetworkState, watched: Watched, uplink: str | None
) -> Iterator[Observation]:
    """What policies of IPsec stop, of what leaves and of what comes in."""
    inside = watched.tunnel.interfaces
    for flow in _arriving(watched, uplink):
        yield from observe_ipsec(before, after, flow, "in", outer=flow.interface_in not in inside)
    for leaving, outer in ((watched.flows[0], False), (watched.outer, True)):
        if leaving is not None:
            yield from observe_ipsec(before, after, _with_source(after, leaving), "out", outer=outer)


def _with_source(state: NetworkState, flow: Flow) -> Flow:
    """With the source that the kernel chooses where the sender leaves that to it."""
    lookup = state.lookup(flow)
    return flow if flow.source or lookup is None else replace(flow, source=lookup.source or "")


def with_filters_behind(
    observations: Iterable[Observation], state: NetworkState, watched: Watched
) -> tuple[Observation, ...]:
    """The same, where it is not enough to let packets pass a rule before routing: a strict filter drops them next."""
    behind: dict[str, Remedies] = {}
    for flow in _arriving(watched, uplink_of(state, watched)):
        inner = flow.interface_in in watched.tunnel.interfaces
        if inner or flow.interface_in in watched.arrives_by:
            station = "prerouting" if inner else "prerouting-outer"
            behind[station] = behind.get(station, ()) + loosened(state, flow)
    return tuple(_with(each, behind.get(each.station.id, ())) for each in observations)


def _with(each: Observation, remedies: Remedies) -> Observation:
    death = each.death
    if death is None or not remedies or not any(remedy.kind == "fix" for remedy in death.remedies):
        return each
    return replace(each, death=replace(death, remedies=(*death.remedies, *remedies)))


def _unrouted(before: NetworkState, after: NetworkState, sent: int) -> int:
    """How many packets without a route the kernel counted; fewer than the burst had may be another program's."""
    counted = sum(after.counters.since(before.counters, name) or 0 for name in _WITHOUT_ROUTE)
    return counted if 0 < sent <= counted else 0


def _arriving(watched: Watched, uplink: str | None) -> Iterator[Flow]:
    """What comes in: the peer's answers by the tunnel, and the tunnel's packets by the uplink."""
    own = watched.tunnel.own_address(watched.flows[0])
    if own is not None:
        inner = replace(watched.flows[0], source=own, interface_out=watched.tunnel.interface)
        yield inner.answer()
    if watched.outer is not None and watched.outer.source:
        for device in sorted({*watched.arrives_by, *((uplink,) if uplink else ())}):
            yield replace(watched.outer, interface_out=device).answer()
