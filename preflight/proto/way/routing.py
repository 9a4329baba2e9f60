"""What the kernel's tables say of packets inside the tunnel: the stations `address` and `route` of a sender.

Pure: from snapshots (`preflight.net.way.routes`) to observations. `flows` are those of the burst, each as the sender's
socket sends it, with an empty source where the kernel chooses one.
"""

from collections.abc import Sequence

from preflight import codes
from preflight.model.facts import DeathFacts
from preflight.model.fix import Route
from preflight.model.flow import Flow
from preflight.model.kernel import MAIN_TABLE, Doubt, Link
from preflight.model.network_state import NetworkState, TunnelSide
from preflight.model.remedy import Remedies, heal, look
from preflight.model.routing import Asked, Lookup, same_address, table_name
from preflight.proto.tunnel.route_advice import give_up
from preflight.proto.way import reroute
from preflight.proto.way.fib import Decision, by_a_mark, explain, missing_main_rule
from preflight.proto.way.observation import Death, Observation
from preflight.proto.way.stations import Station
from preflight.proto.way.words import counted

ADDRESS, ROUTE = Station("address"), Station("route")


def observe_address(state: NetworkState, flows: Sequence[Flow], tunnel: TunnelSide) -> Observation:
    """Who has the peer's address: this node too, nobody, or a peer of the tunnel."""
    flow = flows[0]
    for link in state.links:
        if link.has(flow.destination):
            return _killed(ADDRESS, _own(flow, link, tunnel))
    if tunnel.owned is False and tunnel.without_address == 0 and tunnel.product == "wireguard":
        return _killed(ADDRESS, _nobody(flow, tunnel))
    if tunnel.owned is False:
        why = f"no peer of {tunnel.interface} has {flow.destination}: it, or a peer's entry, is wrong"
        return Observation(station=ADDRESS, finding="blind", reason=why)
    known = state.neighbour(tunnel.interface, flow.destination)
    if known is not None and known.state == "failed":
        return _killed(ADDRESS, _unanswered(flow, tunnel))
    return Observation(station=ADDRESS, finding="clear", reason=f"{flow.destination} is not this node's address")


def _own(flow: Flow, link: Link, tunnel: TunnelSide) -> Death:
    address = flow.destination
    return Death(
        code=codes.OVERLAY_DUPLICATE_ADDRESS,
        message=f"{address}, the overlay address of {tunnel.peer}, is an address of this node too, on {link.name}: "
        f"what is for {tunnel.peer} never leaves",
        facts=DeathFacts(address=address, interface=link.name),
        remedies=give_up(link, address, tunnels=tunnel.interfaces),
    )


def _nobody(flow: Flow, tunnel: TunnelSide) -> Death:
    return Death(
        code=codes.OVERLAY_ALLOWED_IPS,
        message=f"no peer of {tunnel.interface} has {flow.destination}, and each of them has another address: "
        f"the address of {tunnel.peer} in the settings is wrong, or the peer is missing",
        facts=DeathFacts(address=flow.destination),
        remedies=look(f"wg show {tunnel.interface} allowed-ips", root=True),
    )


def _unanswered(flow: Flow, tunnel: TunnelSide) -> Death:
    # A peer that is switched off, or whose underlay is dead, is as silent as an address that nobody has.
    return Death(
        code=codes.REACH_UNREACHABLE,
        message=f"nobody on {tunnel.interface} answers to the question who has {flow.destination}",
        facts=DeathFacts(address=flow.destination, neighbour=flow.destination, interface=tunnel.interface),
        remedies=look(f"ip neighbour show to {flow.destination} dev {tunnel.interface}"),
        certain=False,
    )


def observe_two(asked: Asked, tunnel: TunnelSide, *, own: bool = False) -> Observation:
    """Who answered the question for an address inside a tunnel that asks its neighbours, such as VXLAN.

    own: the question was for this node's address, which nobody else may have: then the peer's answers go elsewhere.
    """
    direction, most = ("reverse", 0) if own else ("forward", 1)
    if len(asked.hardware) <= most:
        clear = f"{counted(len(asked.hardware), 'answer')} to the question who has {asked.address}"
        return Observation(station=ADDRESS, finding="clear", direction=direction, reason=clear)  # type: ignore[arg-type]
    others = " and ".join(asked.hardware)
    what = f"{others} has {asked.address}, the overlay address of this node, too" if own else f"{others} both have it"
    death = Death(
        code=codes.OVERLAY_DUPLICATE_ADDRESS,
        message=what if own else f"{asked.address}, the overlay address of {tunnel.peer}: {what}",
        facts=DeathFacts(address=asked.address, interface=asked.interface),
        remedies=look(f"bridge fdb show dev {asked.interface}"),
        later=True,  # packets leave, and come to the wrong one of them
    )
    return Observation(station=ADDRESS, finding="killed", direction=direction, death=death)  # type: ignore[arg-type]


def observe_route(
    state: NetworkState, flows: Sequence[Flow], tunnel: TunnelSide, *, marks_unread: bool = False
) -> Observation:
    """What the kernel does with packets for the peer: refuse them, send them elsewhere, or with a wrong source.

    marks_unread: whether a firewall marks them is not known, and a mark may decide.
    """
    asked = [lookup for flow in flows if (lookup := state.lookup(flow)) is not None]
    if not asked:
        return Observation(station=ROUTE, finding="blind", reason="the kernel was not asked for a route")
    for lookup in asked:
        death = _of_route(state, lookup, tunnel)
        marked = by_a_mark(state, lookup.flow, reroute.into(tunnel)) if death is not None and marks_unread else None
        if marked is not None:
            return Observation(station=ROUTE, finding="blind", reason=str(Doubt(str(marked), tunnel.interface)))
        # What a rule marks on its way out is routed again, wherever it went before.
        again = asked[-1].flow.mark != lookup.flow.mark
        if death is not None and not (again and death.code == codes.OVERLAY_ROUTE_LEAK):
            return _killed(ROUTE, death)
    return Observation(station=ROUTE, finding="clear", reason=f"the kernel sends it {asked[0]}")


def _of_route(state: NetworkState, lookup: Lookup, tunnel: TunnelSide) -> Death | None:
    if lookup.type == "local" or any(link.has(lookup.flow.destination) for link in state.links):
        return None  # a death of the station `address`, also while IPv6 still looks for a duplicate
    if lookup.refused:
        return refused(state, lookup, tunnel)
    if lookup.interface not in tunnel.interfaces:
        return _leaks(state, lookup, tunnel)
    fitting = [each for each in tunnel.addresses if (":" in each) == lookup.flow.is_ipv6]
    if lookup.source and fitting and not any(same_address(lookup.source, each) for each in fitting):
        return _wrong_source(state, lookup, tunnel)
    return None


def refused(state: NetworkState, lookup: Lookup, tunnel: TunnelSide) -> Death:
    """The kernel refuses packets for the peer, by a rule or a route, or because it finds none."""
    found, flow = explain(state, lookup), lookup.flow
    leads, lost = reroute.into(tunnel), reroute.Lost(())
    kind = refusal_type(lookup, found)
    if kind == "none":
        lost = reroute.lost(state, flow, tunnel, leads)
        remedies = lost.remedies or reroute.to_tunnel(state, flow, tunnel, found)
    else:
        remedies = reroute.without(state, flow, found, leads) if found else ()
        remedies = remedies or (reroute.to_tunnel(state, flow, tunnel, found) if found and found.entry else ())
    bare = f", and {lost.why}" if lost.why else ""
    if kind == "none" and not remedies and reroute.lacks_ipv6(state, flow, tunnel):
        bare = f", and {tunnel.interface} has no IPv6 address"
        shown = f"sysctl net.ipv6.conf.{tunnel.interface.replace('.', '/')}.disable_ipv6"
        remedies = look(f"{shown}; ip -6 address show dev {tunnel.interface}   # 0, and this node's own address")
    return Death(
        code=codes.REACH_NO_FORWARD,
        message=f"this node's kernel refuses {_what(flow)} for {tunnel.peer} ({flow.destination}): "
        f"{why_refused(state, lookup, found)}{bare}",
        facts=DeathFacts(route_type=kind, address=flow.destination),
        remedies=remedies or reroute.show(flow),
        certain=found is not None or lookup.type == "none",
    )


def refusal_type(lookup: Lookup, found: Decision | None) -> str | None:
    """What refuses: by the rule or the route where the dumps lead to it, as two refusals have one error."""
    if found is not None:
        return found.type
    return None if lookup.type == "other" else lookup.type


def why_refused(state: NetworkState, lookup: Lookup, found: Decision | None) -> str:
    """One clause that names the rule or the route, and contains the type."""
    kind = refusal_type(lookup, found)
    if kind == "none":
        if missing_main_rule(state, lookup.flow):
            return "none of its routes counts, because the rule that leads to its main table is gone"
        return f"none of its routes leads there ({lookup.error})"
    if found is None:
        return f"{lookup.error}, as for a route of type {kind}"
    if found.entry is not None:
        return f"its route `{found.entry}` is of type {kind}"
    return f"its rule `{found.rule}` is of type {kind}"


def _leaks(state: NetworkState, lookup: Lookup, tunnel: TunnelSide) -> Death:
    flow, found = lookup.flow, explain(state, lookup)
    lost = reroute.lost(state, flow, tunnel, reroute.into(tunnel))
    because = f", because {lost.why}" if lost.why else ""
    return Death(
        code=codes.OVERLAY_ROUTE_LEAK,
        message=f"this node's kernel sends {_what(flow)} for {tunnel.peer} ({flow.destination}) out by "
        f"{lookup.interface}, not by {tunnel.interface}: {_by(lookup, found)}{because}",
        facts=DeathFacts(interface=lookup.interface, gateway=lookup.gateway, route_type=lookup.type),
        remedies=lost.remedies or reroute.to_tunnel(state, flow, tunnel, found) or reroute.show(flow),
    )


def _by(lookup: Lookup, found: Decision | None) -> str:
    if found is None or found.entry is None or found.rule is None:
        matched = "its default route" if lookup.matched and lookup.matched.prefixlen == 0 else f"its {lookup.matched}"
        return f"{matched} of the table {table_name(lookup.table)} decides"
    decides = f"the route `{found.entry}` decides"
    return f"{decides}, to which the rule `{found.rule}` leads" if found.rule.selectors else decides


def _wrong_source(state: NetworkState, lookup: Lookup, tunnel: TunnelSide) -> Death:
    flow, own = lookup.flow, tunnel.own_address(lookup.flow)
    holder = next((link.name for link in state.links if lookup.source and link.has(lookup.source)), None)
    whose = f"that of {holder}" if holder else "another one"
    return Death(
        code=codes.OVERLAY_WRONG_SOURCE,
        message=f"{_what(flow)} for {tunnel.peer} ({flow.destination}) leaves with the source {lookup.source}, "
        f"{whose}, which {tunnel.interface} does not have: no answer comes back through the tunnel",
        facts=DeathFacts(source=lookup.source, interface=lookup.interface),
        later=True,
        remedies=_source(lookup, tunnel, own) or reroute.show(flow),
    )


def _source(lookup: Lookup, tunnel: TunnelSide, own: str | None) -> Remedies:
    if own is None or lookup.matched is None or tunnel.manages_routes:
        return ()
    return heal(
        lambda: Route(
            action="replace",
            destination=str(lookup.matched),
            gateway=lookup.gateway,
            interface=lookup.interface,
            source=own,
            table=None if lookup.table == MAIN_TABLE else lookup.table,
        ),
        lasting="the same source in the tunnel's configuration",
    )


def _what(flow: Flow) -> str:
    """The flow in a sentence."""
    if flow.protocol == "icmp":
        return "ICMP"
    port = f" port {flow.destination_port}" if flow.destination_port else ""
    return f"{flow.protocol.upper()}{port}"


def _killed(station: Station, death: Death) -> Observation:
    return Observation(station=station, finding="killed", death=death)
