"""What counters say that moved with a burst: reverse-path filters, a daemon's full queue, and queues on the way out.

Pure: from a snapshot before and one after the burst. A counter belongs to the whole namespace, so it counts only where
the kernel's own verdict on this flow, or this port, or this device, says the same.
"""

from typing import Literal

from preflight import codes
from preflight.model.change import NamedValue
from preflight.model.facts import DeathFacts
from preflight.model.fix import KernelSettings, QueueDelete
from preflight.model.flow import Flow
from preflight.model.kernel import MAIN_TABLE
from preflight.model.network_state import NetworkState, TunnelSide
from preflight.model.remedy import Remedies, heal, look
from preflight.model.return_path import STRICT
from preflight.proto.way.observation import Death, Observation, PacketClass
from preflight.proto.way.stations import Station
from preflight.proto.way.words import counted

FILTERED = "TcpExt.IPReversePathFilter"
_MISCOUNTED = 2
"""By how much two counts of the same packets may differ, whose windows are not quite the same."""
_FULL = ("Udp.RcvbufErrors", "Udp6.RcvbufErrors")
"""What a socket had no room for; it also counts as dropped what a policy of IPsec keeps from it."""
INTERESTING = (
    *("Ip.OutDiscards", "Ip.OutNoRoutes", "Ip.InDiscards", "Ip.InAddrErrors", "Ip.InHdrErrors", "Ip.FragFails"),
    *("Udp.NoPorts", "Udp.InErrors", "Udp.RcvbufErrors", "Udp.SndbufErrors", "Udp.InCsumErrors"),
    *("Ip6.OutDiscards", "Ip6.OutNoRoutes", "Ip6.InDiscards", "Ip6.InNoRoutes", "Ip6.InTooBigErrors"),
    *("Udp6.NoPorts", "Udp6.InErrors", "Udp6.RcvbufErrors", "Udp6.InCsumErrors"),
    *(FILTERED, "IpExt.InNoRoutes"),
)
"""Counters that only move when something is dropped."""


def moved(before: NetworkState, after: NetworkState) -> dict[str, int]:
    """The counters of drops that have grown, as evidence."""
    grown = ((name, after.counters.since(before.counters, name)) for name in INTERESTING)
    return {name: by for name, by in grown if by}


def observe_rp(
    before: NetworkState,
    after: NetworkState,
    arriving: Flow,
    tunnel: TunnelSide,
    *,
    station: str = "rp",
    came: int | None = None,
) -> Observation:
    """Whether the reverse-path filter drops what comes in by `arriving.interface_in`.

    arriving: the answers of the burst, as they come in, and `rp` their station; or the tunnel's own packets on the
    uplink, with `rp-outer`. It is certain where the kernel's verdict on the flow refuses it and the counter has grown.
    came: how many such packets came to the device, if that is known: the counter is of the whole node, and the verdict
    ignores the mark that a rule may give them, so a filter that dropped far fewer let them in.
    """
    place = Station(station, "receiver")
    if arriving.is_ipv6:
        return _clear(place, "Linux filters by the reverse path for IPv4 only")
    device = arriving.interface_in or ""
    mode = after.filters.modes.get(device)
    verdict = after.arrival(arriving) or before.arrival(arriving)
    dropped = after.counters.since(before.counters, FILTERED)
    if mode == 0:
        return _clear(place, f"the reverse-path filter of {device} is off")
    if mode is None or verdict is None or dropped is None:
        return Observation(station=place, finding="blind", direction="reverse", reason="the kernel gave no verdict")
    if not verdict.refused or dropped <= 0 or (came is not None and not 0 < came <= _MISCOUNTED * dropped):
        return _clear(place, f"the reverse-path filters dropped {counted(dropped, 'packet')} meanwhile, none of these")
    kind = "strict" if mode == STRICT else "loose"
    sysctl = _sysctl(device)
    death = Death(
        code=codes.HOST_RP_FILTER,
        message=f"the {kind} reverse-path filter of {device} ({sysctl}) drops what comes from "
        f"{arriving.source}, {counted(dropped, 'packet')} while this node was asking: "
        f"{_way_back(after, arriving, device)}",
        facts=DeathFacts(sysctl=sysctl, interface=device, source=arriving.source),
        remedies=_loosen(sysctl) if mode == STRICT and _leads_back(after, arriving) else _show_back(arriving, tunnel),
    )
    return Observation(station=place, finding="killed", direction="reverse", death=death)


def loosened(state: NetworkState, arriving: Flow) -> Remedies:
    """What a strict filter needs too, where a rule before it drops what it would drop; empty if it would not."""
    verdict, device = state.arrival(arriving), arriving.interface_in or ""
    refused = verdict is not None and verdict.refused and not arriving.is_ipv6
    if not refused or state.filters.modes.get(device) != STRICT or not _leads_back(state, arriving):
        return ()
    return _loosen(_sysctl(device))


def _sysctl(device: str) -> str:
    return f"net.ipv4.conf.{device.replace('.', '/')}.rp_filter"


def _way_back(state: NetworkState, arriving: Flow, device: str) -> str:
    back = state.lookup(back_of(arriving))
    if back is None:
        return f"no route back leads by {device}"
    return "no route leads back there" if back.refused else f"the route back is {back}, not by {device}"


def _leads_back(state: NetworkState, arriving: Flow) -> bool:
    """A loose filter, too, drops what no route at all leads back to."""
    back = state.lookup(back_of(arriving))
    return back is None or not back.refused


def back_of(arriving: Flow) -> Flow:
    """The flow whose route the filter compares with: back to the source, without the mark and the ports.

    A snapshot asks for it to let the sentence name the route.
    """
    return Flow(source=arriving.destination, destination=arriving.source, protocol=arriving.protocol)


def _loosen(sysctl: str) -> Remedies:
    """The greater of an interface's value and that of `all` counts, so a strict `all` may stay."""
    return heal(
        lambda: KernelSettings(settings=(NamedValue(sysctl, "2"),)), lasting="the same in a file below /etc/sysctl.d"
    )


def _show_back(arriving: Flow, tunnel: TunnelSide) -> Remedies:
    return look(f"ip rule; ip route get {arriving.source}; ip route show dev {tunnel.interface}")


def observe_socket_outer(before: NetworkState, after: NetworkState, tunnel: TunnelSide) -> Observation:
    """Whether the tunnel's daemon reads what comes to its port; a kernel's own tunnel has no queue that fills."""
    place = Station("socket-outer", "receiver")
    port = tunnel.listen_port
    dropped = after.counters.dropped_by_socket(before.counters, port) if port else None
    if port is None or dropped is None:
        why = f"no socket of port {port} is there to look at" if port else "the tunnel's port is not known"
        return Observation(station=place, finding="blind", direction="reverse", reason=why)
    if dropped <= 0:
        return _clear(place, f"the socket of port {port} dropped nothing")
    waiting = sum(each.waiting_bytes for each in after.counters.sockets if each.port == port)
    full = sum(after.counters.since(before.counters, name) or 0 for name in _FULL)
    if not waiting and not full:
        why = f"the socket of port {port} dropped {counted(dropped, 'packet')}, and none for want of room"
        return Observation(station=place, finding="blind", direction="reverse", reason=why)
    death = Death(
        code=codes.OVERLAY_DAEMON_DOWN,
        message=f"the daemon of {tunnel.interface} does not read its socket: UDP port {port} dropped "
        f"{counted(dropped, 'packet')} meanwhile, and {waiting} bytes wait there",
        facts=DeathFacts(port=port, interface=tunnel.interface),
        remedies=look(f"ss -uapm 'sport = :{port}'", root=True),
    )
    return Observation(station=place, finding="killed", direction="reverse", death=death)


def observe_tunnel(
    before: NetworkState, after: NetworkState, tunnel: TunnelSide, sent: int = 0, *, routed: bool = False
) -> Observation:
    """Whether the daemon of a tun takes what the kernel hands to it; other devices have no queue to a daemon.

    sent: packets of the burst. Where many times more were dropped and every way out leads into the tunnel, its own
    packets go round in it. routed: the way to its endpoint was asked for, and says so itself.
    """
    place, device = Station("tunnel"), tunnel.interface
    link = after.link(device)
    dropped = after.counters.refused_by_device(before.counters, device)
    if link is None or link.kind != "tun":
        return Observation(station=place, finding="blind", reason=f"{device} has no queue to a daemon")
    if dropped <= 0:
        return Observation(station=place, finding="blind", reason=f"the queue of {device} to its daemon is not full")
    flooded = 0 < sent * _FLOOD < dropped
    if flooded and not routed and leads_round(after, tunnel):
        return _round(device, dropped, sent)
    death = Death(
        code=codes.OVERLAY_DAEMON_DOWN,
        message=f"the daemon of {device} does not take what this node sends: the queue to it dropped "
        f"{counted(dropped, 'packet')}{_FLOODED.format(sent=sent) if flooded else ''}",
        facts=DeathFacts(interface=device),
        remedies=look(f"ip -s link show dev {device}; ip route show dev {device}"),
        certain=not flooded,
    )
    return Observation(station=place, finding="killed", death=death)


def leads_round(state: NetworkState, tunnel: TunnelSide) -> bool:
    """Whether all routes to outside this node's networks lead into the tunnel, and no rule or host route around it."""
    own = [each for each in state.entries if each.version == 4 and each.table == MAIN_TABLE and not each.dead]
    inside = {str(each.destination) for each in own if each.interface in tunnel.interfaces}
    whole = "0.0.0.0/0" in inside or inside >= _HALVES
    around = any(each.gateway and each.destination.prefixlen == _HOST_BITS for each in own)
    return whole and not around and not any(rule.mark or rule.inverted for rule in state.rules)


def _round(device: str, dropped: int, sent: int) -> Observation:
    message = (
        f"the own packets of {device} go into {device} again: all ways out of this node's networks lead into it, and "
        f"its queue dropped {counted(dropped, 'packet')} while this node sent {sent}"
    )
    death = Death(
        code=codes.OVERLAY_ENDPOINT_LOOP,
        message=message,
        facts=DeathFacts(interface=device),
        remedies=look(f"wg show {device} endpoints; ip route   # an endpoint needs a route around {device}", root=True),
        later=True,  # what kills is their number, in the queue before
    )
    return Observation(station=Station("route-outer"), finding="killed", death=death)


_FLOOD = 50
"""How many times more packets than this node sent go round in a loop, at least."""
_FLOODED = (
    " while this node sent {sent}: something fills it, such as the tunnel's own packets where its endpoint is in a "
    "network behind it"
)
_HALVES = {"0.0.0.0/1", "128.0.0.0/1"}
_HOST_BITS = 32


def observe_egress(
    before: NetworkState,
    after: NetworkState,
    device: str,
    tunnel: TunnelSide,
    *,
    station: str = "egress-outer",
    sent: int,
    passed: int = 0,
    packets: PacketClass = "data",
) -> Observation:
    """Whether the queue of a device dropped what was sent.

    station: `egress` of the tunnel, `egress-outer` of the uplink. sent: packets of the class in the burst. Fewer drops
    than that may be others' packets, and prove nothing. passed: how many of the burst were seen behind the queue: one
    that lets some through is full, perhaps of this run's own packets, and kills no way. A tunnel's device counts as
    dropped what dies behind it too, so only an uplink's own count is of interest.
    """
    place = Station(station)
    queued = after.counters.dropped_by_queue(before.counters, device)
    refused = after.counters.refused_by_device(before.counters, device) if station == "egress-outer" else 0
    dropped = max(queued, refused)
    if dropped <= 0:
        return _clear(place, f"the queue of {device} dropped nothing")
    if passed or dropped < sent or not sent:
        of_others = "and let others of the burst pass" if passed else "of whom nobody knows"
        why = f"{device} dropped {counted(dropped, 'packet')} meanwhile, {of_others}"
        return Observation(station=place, finding="blind", packets=packets, reason=why)
    kind = next((each.kind for each in after.counters.queues if each.interface == device and each.root), "")
    by_queue = f"its queueing discipline ({kind})" if queued >= refused else ""
    death = _eaten(device, tunnel, by_queue, packets, f"dropped {dropped} while this node sent {sent}")
    return Observation(station=place, finding="killed", packets=packets, death=death)


def _eaten(device: str, tunnel: TunnelSide, by_queue: str, packets: PacketClass, counts: str) -> Death:
    large, who = "large packets" if packets == "large" else "packets", by_queue or "the device itself"
    return Death(
        code=codes.MTU_BLACK_HOLE if packets == "large" else codes.REACH_NO_FORWARD,
        message=f"{device} drops {large} for {tunnel.peer} on their way out: {who} {counts}",
        facts=DeathFacts(interface=device, packet_class=None if packets == "inner" else packets),
        remedies=_own_queue(device, healing=bool(by_queue)),
    )


def _own_queue(device: str, *, healing: bool) -> Remedies:
    if not healing:
        return look(f"tc -s qdisc show dev {device}; ip -s link show dev {device}")
    return heal(lambda: QueueDelete(interface=device), lasting="take it out of what sets the queue up")


def _clear(place: Station, reason: str) -> Observation:
    direction: Literal["forward", "reverse"] = "forward" if place.host == "sender" else "reverse"
    return Observation(station=place, finding="clear", direction=direction, reason=reason)
