"""What the kernel says of the route of a tunnel's own packets: the station `route-outer` of a sender.

Pure: from snapshots to observations. The flow is that of the tunnel's own packets, with its mark and its ports; None
where the endpoint cannot be read, for which the default routes answer as far as they can.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from ipaddress import ip_address

from preflight import codes
from preflight.model.facts import DeathFacts
from preflight.model.fix import LinkUp, Route, RouteAround
from preflight.model.flow import Flow
from preflight.model.host_port import join_host_port
from preflight.model.kernel import MAIN_TABLE, Link
from preflight.model.network_state import NetworkState, TunnelSide
from preflight.model.remedy import Remedies, by_hand, heal, look, to_try
from preflight.model.routing import Entry, Lookup, Neighbour
from preflight.proto.way import reroute
from preflight.proto.way.fib import decide, explain
from preflight.proto.way.observation import Death, Observation
from preflight.proto.way.routing import refusal_type, why_refused
from preflight.proto.way.stations import Station
from preflight.proto.way.words import counted

ROUTE_OUTER = Station("route-outer")
ELSEWHERE = "the tunnel's own packets leave in another network namespace, whose routes and neighbours nobody here sees"
NO_UPLINK = ("wireguard", "tun", "vxlan", "gre", "ipip", "sit", "ip6tnl", "dummy", "vrf", "ifb", "nlmon")
"""Kinds of devices that are tunnels themselves, or lead nowhere."""
_CARRIERS = ("vxlan", "gre", "ipip", "sit", "ip6tnl")
"""Tunnels that one configures by hand as a link to elsewhere, and whose device stays when it is switched off."""
_HALF = 1
"""The length of one of two routes that together are as good as a default route."""
SWITCHES = ("bridge",)
"""Devices for machines within this one, which are up whatever happens outside."""


def observe_route_outer(
    state: NetworkState,
    flow: Flow | None,
    tunnel: TunnelSide,
    routers: Sequence[Neighbour] = (),
    *,
    unrouted: int = 0,
) -> Observation:
    """Where the tunnel's own packets go: out, nowhere, into the tunnel itself, or to a link that is down.

    routers: neighbours that have a way to the endpoint (`preflight.net.way.ask_router`). unrouted: packets without a
    route that the kernel counted while all of a burst passed into the tunnel; 0 where it was only a part of a burst.
    """
    if leaves_elsewhere(state, tunnel):
        return Observation(station=ROUTE_OUTER, finding="blind", reason=ELSEWHERE)
    lookup = state.lookup(flow) if flow else None
    death = _of_route(state, lookup, tunnel, routers) if lookup else _of_links(state, tunnel, unrouted)
    if death is not None:
        return Observation(station=ROUTE_OUTER, finding="killed", death=death)
    if lookup is None:
        return Observation(station=ROUTE_OUTER, finding="blind", reason="the tunnel's endpoint is not known")
    return Observation(station=ROUTE_OUTER, finding="clear", reason=f"the kernel sends it {lookup}")


def _of_route(state: NetworkState, lookup: Lookup, tunnel: TunnelSide, routers: Sequence[Neighbour]) -> Death | None:
    link = state.link(lookup.interface)
    if link is not None and lookup.type == "unicast" and not (link.up and link.carrier) and not _is_own(link, tunnel):
        return _down((link,), tunnel, lookup.flow.destination)
    leaves = not lookup.refused and lookup.interface not in tunnel.interfaces
    if not leaves and (dead := dead_uplinks(state, tunnel, ipv6=lookup.flow.is_ipv6)):
        return _down(dead, tunnel, lookup.flow.destination)
    if lookup.type == "none" and (carrier := _dead_carrier(state, tunnel, ipv6=lookup.flow.is_ipv6)):
        return _down((carrier,), tunnel, lookup.flow.destination)
    if lookup.refused:
        return _refused(state, lookup, tunnel, routers)
    if lookup.type == "local":
        return None if tunnel.relay else _comes_back(state, lookup, tunnel)
    return None if leaves else _loops(state, lookup, tunnel, routers)


def _is_own(link: Link, tunnel: TunnelSide) -> bool:
    return link.name in tunnel.interfaces


def dead_uplinks(state: NetworkState, tunnel: TunnelSide, *, ipv6: bool) -> tuple[Link, ...]:
    """The links that this node would reach the world by, if none of them works; empty if one does.

    After a link went down its routes are gone, so only what is left counts: its addresses (IPv4's stay), or that it is
    the only one of its kind.
    """
    version = 6 if ipv6 else 4
    links = [link for link in state.links if _may_be_uplink(state, link, tunnel)]
    working = [link for link in links if link.up and link.carrier and link.kind not in SWITCHES]
    if any(_has_address(link, version) for link in working):
        return ()
    dead = [link for link in links if not (link.up and link.carrier)]
    addressed = [link for link in dead if _has_address(link, version)]
    outside = [link for link in addressed if link.kind not in SWITCHES]
    plain = [link for link in dead if link.kind not in SWITCHES and (not link.up or link.kind is None)]
    return tuple(outside or addressed or plain)


def _dead_carrier(state: NetworkState, tunnel: TunnelSide, *, ipv6: bool) -> Link | None:
    """The only tunnel beneath this one, where it is switched off and took the default route with it.

    The link that it runs over works, so no uplink is dead; a default route by that link would lead around the tunnel.
    """
    version = 6 if ipv6 else 4
    if any(each.version == version and each.destination.prefixlen == 0 for each in state.entries):
        return None
    found = [
        link
        for link in state.links
        if link.kind in _CARRIERS and not link.up and not _is_own(link, tunnel) and _has_address(link, version)
    ]
    return found[0] if len(found) == 1 else None


def leaves_elsewhere(state: NetworkState, tunnel: TunnelSide) -> bool:
    """Whether its own packets leave in another network namespace: this one has no uplink, or not the socket."""
    return tunnel.elsewhere or not any(_may_be_uplink(state, link, tunnel) for link in state.links)


def _may_be_uplink(state: NetworkState, link: Link, tunnel: TunnelSide) -> bool:
    """A tunnel may be the uplink of another one: where the default route leads by it."""
    if link.loopback or _is_own(link, tunnel):
        return False
    return link.kind not in NO_UPLINK or any(
        entry.table == MAIN_TABLE and entry.destination.prefixlen == 0 and link.name in _devices(entry)
        for entry in state.entries
    )


def _devices(entry: Entry) -> set[str | None]:
    return {entry.interface, *(device for device, _ in entry.hops)}


def _has_address(link: Link, version: int) -> bool:
    return any(each.version == version and not each.is_link_local for each in link.addresses)


def _down(links: Sequence[Link], tunnel: TunnelSide, to: str | None = None) -> Death:
    """to: the endpoint's address, if it is known."""
    names = " or ".join(link.name for link in links)
    link, only = links[0], len(links) == 1
    state = "has no carrier" if link.up else "is switched off"
    return Death(
        code=codes.HOST_UPLINK_DOWN,
        message=f"{names}, by which the packets of {tunnel.interface} leave this node, {state}",
        facts=DeathFacts(interface=link.name if only else names),
        remedies=_switched_on(link, to) if only else look("ip -brief link"),
        certain=only,
    )


def _switched_on(link: Link, to: str | None) -> Remedies:
    """Switching it on heals alone only where the endpoint is next to it: its other routes have gone with it."""
    if link.up:
        return by_hand(f"Plug in the cable of {link.name}, or join its network again.")
    if to is not None and link.holds(to) is not None:
        return heal(lambda: LinkUp(interface=link.name))
    return look(f"ip link set dev {link.name} up; ip route show default   # its routes must come back too", root=True)


def _refused(state: NetworkState, lookup: Lookup, tunnel: TunnelSide, routers: Sequence[Neighbour]) -> Death:
    found, flow = explain(state, lookup), lookup.flow
    leads = reroute.around(tunnel)
    kind = refusal_type(lookup, found)
    if kind == "none":
        remedies = reroute.lost(state, flow, tunnel, leads).remedies or _default_by(state, flow, tunnel, routers)
    else:
        remedies = reroute.without(state, flow, found, leads) if found else ()
    return Death(
        code=codes.REACH_NO_FORWARD,
        message=f"this node's kernel refuses the packets of {tunnel.interface} to {_endpoint(flow)}: "
        f"{why_refused(state, lookup, found)}",
        facts=DeathFacts(route_type=kind, endpoint=tunnel.endpoint),
        remedies=remedies or reroute.show(flow),
        certain=found is not None or lookup.type == "none",
    )


def _default_by(state: NetworkState, flow: Flow, tunnel: TunnelSide, routers: Sequence[Neighbour]) -> Remedies:
    """A default route by the neighbour that has a way; where none is known, the only neighbour is shown."""
    heard = list(heard_on_uplinks(state, tunnel, ipv6=flow.is_ipv6))
    if remedies := default_by(routers, flow):
        return remedies
    family = "-6" if flow.is_ipv6 else "-4"
    if len(heard) == 1:
        (only,) = heard
        return look(f"ip {family} route add default via {only.address} dev {only.interface}   # if that is the router")
    return ()


def default_by(routers: Sequence[Neighbour], flow: Flow) -> Remedies:
    """The default route by the only router that is known; nothing if there are several, or none.

    With IPv6 one machine is a neighbour by several addresses, of which the link-local one says least to a reader.
    """
    if len({(each.interface, each.hardware) for each in routers}) != 1:
        return ()
    router = next((each for each in routers if not ip_address(each.address).is_link_local), routers[0])
    everywhere = "::/0" if flow.is_ipv6 else "0.0.0.0/0"
    return heal(
        lambda: Route(action="replace", destination=everywhere, gateway=router.address, interface=router.interface),
        lasting="in the network's configuration",
    )


def heard_on_uplinks(state: NetworkState, tunnel: TunnelSide, *, ipv6: bool) -> Iterable[Neighbour]:
    """Whom this node has heard of on the links that may be an uplink: they may be asked whether they are routers."""
    links = {link.name for link in state.links if _may_be_uplink(state, link, tunnel)}
    for each in state.neighbours:
        heard = each.hardware is not None and each.state in ("reachable", "stale", "delay", "probe")
        if heard and each.interface in links and (":" in each.address) == ipv6:
            yield each


def _loops(state: NetworkState, lookup: Lookup, tunnel: TunnelSide, routers: Sequence[Neighbour]) -> Death:
    flow, found = lookup.flow, explain(state, lookup)
    entry, unmarked = found.entry if found else None, reroute.by_its_mark(state, flow, tunnel, found)
    remedies = unmarked.remedies or _out_of_the_loop(state, flow, tunnel, entry, routers)
    why = f", {unmarked.why}" if unmarked.why else ""
    endpoint = tunnel.endpoint or _endpoint(flow)
    return Death(
        code=codes.OVERLAY_ENDPOINT_LOOP,
        message=f"this node's kernel sends the packets of {tunnel.interface} to {endpoint} into "
        f"{lookup.interface} itself: {f'the route `{entry}` decides' if entry else lookup}{why}",
        facts=DeathFacts(endpoint=endpoint, interface=lookup.interface),
        remedies=remedies or reroute.show(flow),
    )


def _comes_back(state: NetworkState, lookup: Lookup, tunnel: TunnelSide) -> Death:
    """The endpoint is this node: its own address in place of the peer's, or one that both have."""
    to = lookup.flow.destination
    device = next((link.name for link in state.links if any(str(each.ip) == to for each in link.addresses)), None)
    endpoint = tunnel.endpoint or _endpoint(lookup.flow)
    own = f"the endpoint {endpoint} of {tunnel.peer} is an address of this node itself"
    back = f"{f', on {device}' if device else ''}: the packets of {tunnel.interface} come back to it"
    whose = look(f"ip address show to {to}   # is it {tunnel.peer}'s? Then one of the two has it wrongly")
    if ip_address(to).is_loopback and tunnel.unheard:
        back = ", and nothing listens on that port: a program that carries the tunnel's packets on would"
        whose = look(
            f"ss -ulpn 'sport = :{lookup.flow.destination_port}'   # start the program that should listen there "
            f"(wstunnel, udp2raw), or give {tunnel.interface} the endpoint of {tunnel.peer} itself"
        )
    return Death(
        code=codes.OVERLAY_ENDPOINT_LOOP,
        message=own + back,
        facts=DeathFacts(endpoint=endpoint, interface=device),
        later=True,  # they are seen to leave by the loopback device
        remedies=whose,
    )


def _out_of_the_loop(
    state: NetworkState, flow: Flow, tunnel: TunnelSide, entry: Entry | None, routers: Sequence[Neighbour]
) -> Remedies:
    """Delete the route if it is for the endpoint alone; any other carries more, so the endpoint gets a way around it.

    A private address in a network behind the peer may exist only there: a way around is then only worth a try.
    """
    leads, endpoint = reroute.around(tunnel), ip_address(flow.destination)
    alone = entry is not None and entry.destination.prefixlen == endpoint.max_prefixlen
    if entry is not None and alone and leads(decide(state, flow, without=entry)):
        return heal(lambda: _delete(entry), lasting="take it out of the network's configuration too")
    if not leads(decide(state, flow, beyond=lambda each: each.interface in tunnel.interfaces)):
        return ()
    around = heal(lambda: RouteAround(interface=tunnel.interface, endpoint=flow.destination))
    everything = entry is not None and entry.destination.prefixlen <= _HALF
    return around if everything or endpoint.is_global or routers else to_try(around)


def _delete(entry: Entry) -> Route:
    return Route(
        action="del",
        destination=str(entry.destination),
        gateway=entry.gateway,
        interface=entry.interface,
        table=None if entry.table == MAIN_TABLE else entry.table,
    )


def _of_links(state: NetworkState, tunnel: TunnelSide, unrouted: int) -> Death | None:
    """What holds for any endpoint: no link works, or no route leads outside this node's own networks.

    The endpoint may be in one of these: certain only where the kernel found no route for all that the tunnel sent.
    """
    dead = [dead_uplinks(state, tunnel, ipv6=ipv6) for ipv6 in (False, True)]
    if all(dead):
        return _down(tuple(dict.fromkeys((*dead[0], *dead[1]))), tunnel)
    if not _only_networks(state, tunnel):
        return None
    carriers = dict.fromkeys(filter(None, (_dead_carrier(state, tunnel, ipv6=ipv6) for ipv6 in (False, True))))
    if len(carriers) == 1:
        return replace(_down(tuple(carriers), tunnel), certain=bool(unrouted))
    found = f", and its kernel found none for {counted(unrouted, 'packet')} while {tunnel.interface} had to send"
    return Death(
        code=codes.REACH_NO_FORWARD,
        message=f"none of this node's routes leads outside its own networks{found if unrouted else ''}",
        facts=DeathFacts(route_type="none"),
        remedies=look("ip route show default; ip -6 route show default"),
        certain=bool(unrouted),
    )


def _only_networks(state: NetworkState, tunnel: TunnelSide) -> bool:
    """Whether this node has uplinks and no default route by one: an endpoint in its networks is still reached."""
    uplinks = {link.name for link in state.links if _may_be_uplink(state, link, tunnel)}
    everywhere = (
        each
        for each in state.entries
        if each.destination.prefixlen <= _HALF and uplinks & _devices(each) and not each.dead
    )
    return bool(uplinks) and state.complete and not any(True for _ in everywhere)


def defaults(state: NetworkState, tunnel: TunnelSide) -> Iterable[Entry]:
    """The default routes of the main table that leave by an uplink, the one that counts first in each family."""
    for version in (4, 6):
        found = [
            each
            for each in state.entries
            if (each.version, each.table, each.destination.prefixlen) == (version, MAIN_TABLE, 0)
            and each.type == "unicast"
            and not each.dead
            and (link := state.link(each.interface)) is not None
            and _may_be_uplink(state, link, tunnel)
        ]
        yield from sorted(found, key=lambda entry: entry.metric)[:1]


def _endpoint(flow: Flow) -> str:
    return join_host_port(flow.destination, flow.destination_port or 0)
