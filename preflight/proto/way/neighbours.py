"""Whether the next machine on the uplink answers: the station `neighbour` of a sender.

Pure: from snapshots, and from `preflight.net.way.ask_neighbour` where this process may ask. A kernel keeps a gateway
that died for 36 s and more as reachable, so its own word counts only where it says that nobody answers.
"""

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address

from preflight import codes
from preflight.codes import Code
from preflight.model.facts import DeathFacts
from preflight.model.fix import NeighbourDelete, Route
from preflight.model.flow import Flow
from preflight.model.kernel import MAIN_TABLE
from preflight.model.network_state import NetworkState, TunnelSide
from preflight.model.remedy import Remedies, heal, look
from preflight.model.routing import Asked, Entry, Neighbour, shown_network
from preflight.proto.way import reroute
from preflight.proto.way.fib import decide, explain
from preflight.proto.way.observation import Death, Observation
from preflight.proto.way.outer import ELSEWHERE, default_by, defaults
from preflight.proto.way.stations import Station

NEIGHBOUR = Station("neighbour")
ALIVE = ("reachable", "stale", "delay", "probe")
ASKED_TWICE = 2
"""Questions without an answer, a second apart, after which a neighbour is taken for dead."""


def next_hop(state: NetworkState, flow: Flow | None, tunnel: TunnelSide) -> tuple[str, str] | None:
    """The device and the address that the tunnel's packets are handed to; None where nobody has to be asked.

    For `preflight.net.way.ask_neighbour`, which may ask it, and for the observation below.
    """
    lookup = state.lookup(flow) if flow else None
    if lookup is not None and lookup.interface is not None and not lookup.refused:
        hop = (lookup.interface, lookup.next_hop)
    elif lookup is None and (entry := next((each for each in defaults(state, tunnel) if each.gateway), None)):
        hop = (entry.interface or "", entry.gateway or "")
    else:
        return None
    link = state.link(hop[0])
    return hop if link is not None and link.resolves and link.up and link.carrier else None


def observe_neighbour(
    state: NetworkState,
    flow: Flow | None,
    tunnel: TunnelSide,
    asked: Asked | None = None,
    routers: Sequence[Neighbour] = (),
    next_best: Asked | None = None,
    *,
    before: NetworkState | None = None,
) -> Observation:
    """Whether the next hop of the tunnel's packets answers. asked: who answered just now; None: nobody was asked.

    routers: neighbours that have a way to the endpoint. next_best: who answers for `next_best_hop`. flow: the tunnel's
    own packets; None where the endpoint is not known: then the default route's gateway counts, which is certain only
    if nothing leaves by another way. before: the state before the burst.
    """
    if tunnel.elsewhere:
        return Observation(station=NEIGHBOUR, finding="blind", reason=ELSEWHERE)
    hop = next_hop(state, flow, tunnel)
    if hop is None:
        return Observation(station=NEIGHBOUR, finding="clear", reason="this device asks no neighbour")
    device, address = hop
    known = state.neighbour(device, address)
    if known is not None and known.fixed:
        death = _fixed(known, tunnel, asked)
    elif asked is not None and asked.hardware:
        death = _two(asked, known, tunnel) if len(asked.hardware) > 1 else None
    elif asked is not None or _is_dead(known):
        # Nobody answered this node's question, or the kernel's.
        only = flow is not None or _is_the_only_way_out((before or state, state), tunnel, address)
        death = replace(_dead(state, flow, tunnel, hop, routers, next_best), certain=only)
    else:
        death = None
    if death is not None:
        return Observation(station=NEIGHBOUR, finding="killed", death=death)
    return _alive(asked, known, device, address)


def _alive(asked: Asked | None, known: Neighbour | None, device: str, address: str) -> Observation:
    """Nothing speaks against the next hop."""
    if asked is None and (known is None or known.state != "reachable"):
        why = f"nobody asked whether {address} on {device} is alive, which needs CAP_NET_RAW"
        return Observation(station=NEIGHBOUR, finding="blind", reason=why)
    if asked is not None and asked.hardware and _is_dead(known):
        return Observation(station=NEIGHBOUR, finding="blind", reason=f"{address} answers, and the kernel is deaf")
    return Observation(station=NEIGHBOUR, finding="clear", reason=f"{address} on {device} answers")


def _is_dead(known: Neighbour | None) -> bool:
    if known is None:
        return False
    return known.state == "failed" or (known.state == "incomplete" and known.probes >= ASKED_TWICE)


def _fixed(known: Neighbour, tunnel: TunnelSide, asked: Asked | None) -> Death | None:
    """A person's entry: wrong if another hardware answers, or nobody's if nobody answers at all."""
    if asked is not None and known.hardware in asked.hardware:
        return None
    where = f"{known.address} on {known.interface}"
    said = f"a permanent entry says that {where} has the hardware address {known.hardware}"
    others = " and ".join(asked.hardware) if asked else ""
    found = f", and {others} answers for it" if others else ", and nobody answers for it" if asked else ""
    fix = heal(
        lambda: NeighbourDelete(interface=known.interface, address=known.address),
        lasting="take the entry out of the network's configuration too",
    )
    return Death(
        code=codes.HOST_GATEWAY_DEAD,
        message=f"the packets of {tunnel.interface} go to a neighbour that may be nobody: {said}{found}",
        facts=DeathFacts(gateway=known.address, neighbour=known.address, interface=known.interface),
        remedies=fix if others else look(f"ip neighbour show to {known.address} dev {known.interface}"),
        certain=bool(others),
        later=True,  # the frames leave, for a hardware address that nobody has
    )


def _two(asked: Asked, known: Neighbour | None, tunnel: TunnelSide) -> Death:
    """Two machines have the next hop's address: the kernel takes the one whose answer came last."""
    taken = f", and its packets go to {known.hardware}" if known is not None and known.hardware else ""
    return Death(
        code=codes.HOST_GATEWAY_DEAD,
        message=f"{len(asked.hardware)} machines answer for {asked.address} on {asked.interface}, by which "
        f"{tunnel.interface} sends: {' and '.join(asked.hardware)}{taken}",
        facts=DeathFacts(gateway=asked.address, neighbour=asked.address, interface=asked.interface),
        remedies=look(f"Which machine in the network of {asked.interface} has the address {asked.address} too?"),
        later=True,  # the frames leave, for whichever it is
    )


def _dead(
    state: NetworkState,
    flow: Flow | None,
    tunnel: TunnelSide,
    hop: tuple[str, str],
    routers: Sequence[Neighbour],
    next_best: Asked | None,
) -> Death:
    device, address = hop
    lookup = state.lookup(flow) if flow else None
    on_link = lookup is not None and lookup.gateway is None
    entry = _entry(state, flow, tunnel, address)
    route = "default" if entry is None else shown_network(entry.destination)
    remedies = _other_way(state, flow, tunnel, entry, next_best)
    if not remedies and flow is not None and entry is not None and entry.destination.prefixlen == 0:
        remedies = default_by([each for each in routers if each.address != address], flow)
    if on_link and not remedies and entry is not None and (gateways := _gateways(state, device, entry)):
        remedies = look(
            f"Is {address} really in {shown_network(entry.destination)}, which {device} reaches without a router? If "
            f"not, its prefix is too short here: ip route add {address} via {gateways[0]}"
        )
    whose = f"the endpoint of {tunnel.peer}" if on_link else f"the gateway of the route to {route}"
    return Death(
        code=_code(on_link=on_link),
        message=f"{address}, {whose}, does not answer on {device}: the packets of {tunnel.interface} end there",
        facts=DeathFacts(gateway=None if on_link else address, neighbour=address, interface=device),
        remedies=remedies or look(f"ip neighbour show dev {device}"),
        later=True,  # while the kernel still believes in it, the frames leave
    )


def _is_the_only_way_out(states: tuple[NetworkState, NetworkState], tunnel: TunnelSide, gateway: str) -> bool:
    """Whether all that the tunnel sends has to pass this gateway, wherever its endpoint is.

    No route leads out by another one or by another tunnel, and no machine on a link was sent anything meanwhile, which
    may be the endpoint. states: before the burst and after it. The first packet to a neighbour whose entry is stale
    makes the kernel ask again, so an entry that stays stale was not used.
    """
    state = states[1]
    outside = [link for link in state.links if not link.loopback and link.name not in tunnel.interfaces]
    asking = {link.name for link in outside if link.resolves}
    routes = [each for each in state.entries if each.type == "unicast" and not each.dead]
    leaving = [each for each in routes if each.interface in {link.name for link in outside}]
    others = any(each.hops or each.gateway not in (None, gateway) or each.interface not in asking for each in leaving)
    on_link = any(each.gateway is None and each.destination.prefixlen == 0 for each in leaving)
    known = (each for moment in states for each in moment.neighbours)
    used = (each for each in known if each.interface in asking and each.state in _MAY_BE_USED)
    return not others and not on_link and all(ip_address(each.address).is_link_local for each in used)


_MAY_BE_USED = ("reachable", "delay", "probe", "permanent")


def _is_own_network(state: NetworkState, entry: Entry) -> bool:
    """Whether it is the route that comes with an address of this node: without it all neighbours are lost."""
    link = state.link(entry.interface)
    return link is not None and any(own.network == entry.destination for own in link.addresses)


def _gateways(state: NetworkState, device: str, entry: Entry) -> list[str]:
    """The routers on a device whose own network is so wide that it may hold what is behind them."""
    if entry.destination.prefixlen >= _USUAL_LENGTH[entry.version]:
        return []
    found = (each.gateway for each in state.entries if each.interface == device and each.version == entry.version)
    return list(dict.fromkeys(gateway for gateway in found if gateway))


_USUAL_LENGTH = {4: 24, 6: 64}
"""How long the prefix of a network with a router usually is."""


def _entry(state: NetworkState, flow: Flow | None, tunnel: TunnelSide, address: str) -> Entry | None:
    """The route that leads to a next hop."""
    lookup = state.lookup(flow) if flow else None
    found = explain(state, lookup) if lookup is not None else None
    if found is not None and found.entry is not None:
        return found.entry
    return next((each for each in defaults(state, tunnel) if each.gateway == address), None)


def next_best_hop(state: NetworkState, flow: Flow, tunnel: TunnelSide) -> tuple[str, str] | None:
    """The device and the gateway of the route that would count without the one by the next hop; None without one."""
    hop = next_hop(state, flow, tunnel)
    entry = _entry(state, flow, tunnel, hop[1]) if hop is not None else None
    other = _next_best(state, flow, tunnel, entry)
    return (other.interface or "", other.gateway or "") if other is not None else None


def _next_best(state: NetworkState, flow: Flow, tunnel: TunnelSide, entry: Entry | None) -> Entry | None:
    if entry is None or entry.hops or _is_own_network(state, entry):
        return None
    left = decide(state, flow, without=entry)
    other = left.entry
    by_another = other is not None and other.gateway not in (None, entry.gateway)
    return other if by_another and reroute.around(tunnel)(left) else None


def _code(*, on_link: bool) -> Code:
    # That a question has no answer shows both ways to the endpoint's host to be dead together.
    return codes.REACH_UNREACHABLE if on_link else codes.HOST_GATEWAY_DEAD


def _other_way(
    state: NetworkState, flow: Flow | None, tunnel: TunnelSide, entry: Entry | None, next_best: Asked | None
) -> Remedies:
    """Delete the route by a dead gateway, where the next one leads out by a gateway that has answered."""
    other = _next_best(state, flow, tunnel, entry) if flow is not None else None
    if entry is None or other is None:
        return ()
    known = state.neighbour(other.interface, other.gateway or "")
    answers = next_best is not None and next_best.address == other.gateway and bool(next_best.hardware)
    if not answers and (known is None or known.state not in ALIVE):
        return ()
    return heal(
        lambda: Route(
            action="del",
            destination=str(entry.destination),
            gateway=entry.gateway,
            interface=entry.interface,
            table=None if entry.table == MAIN_TABLE else entry.table,
        ),
        lasting="take it out of the network's configuration too",
    )
