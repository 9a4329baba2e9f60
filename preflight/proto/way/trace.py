"""What traces to a tunnel's endpoint say: behind which hop its packets vanish, and whether only its own flow does.

Pure. Silence behind the last hop proves nothing about one flow: no daemon answers a trace. Only where another flow gets
further is a death proven, and it is somewhere behind the last hop that both have in common.
"""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

from preflight import codes
from preflight.model.facts import DeathFacts
from preflight.model.fix import WireguardPort
from preflight.model.flow import Flow
from preflight.model.host_port import join_host_port
from preflight.model.icmp import Hop, Trace
from preflight.model.network_state import NetworkState, TunnelSide
from preflight.model.remedy import Remedies, by_hand, heal, look
from preflight.proto.way.observation import Death, Observation
from preflight.proto.way.stations import Station

NETWORK, ROUTE_OUTER = Station("network", "network"), Station("route-outer")
BLOCKS: Final = tuple(
    ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
"""Networks that are only known where they are used (RFC 1918, RFC 6598, RFC 4193)."""


_APART = 2


def last_hop(trace: Trace) -> Hop | None:
    """The last that answered."""
    return next((hop for hop in reversed(trace.hops) if hop.address is not None), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """Up to three traces to a tunnel's endpoint, as `preflight.net.way.trace.OuterTrace` gives them.

    own: along the tunnel's flow. fresh: it differs in its source port only. echo: by ICMP. own_again, fresh_again: a
    second look at the hops that only the fresh flow was heard from; or fresh_again, echo_again: at those that only
    echoes were. None where there were none.
    """

    own: Trace
    fresh: Trace
    echo: Trace
    own_again: Trace | None = None
    fresh_again: Trace | None = None
    echo_again: Trace | None = None


def in_doubt(own: Trace, fresh: Trace) -> range:
    """TTLs whose answers only the fresh flow got, at most three of them; empty if there are none.

    Routers limit how many errors they send, so a missing one proves nothing until it was asked for a second time. The
    endpoint's host alone does not count: its firewall may refuse a fresh flow aloud and take the tunnel's, in silence.
    """
    dead, alive = last_hop(own), last_hop(fresh)
    if own.error is not None or alive is None or not _shared(own, fresh):
        return range(0)
    first = (dead.ttl if dead else 0) + 1
    if not any(hop.ttl >= first and hop.address is not None and not hop.reached for hop in fresh.hops):
        return range(0)
    return range(max(first, alive.ttl - 2), alive.ttl + 1)


def only_echoes(own: Trace, fresh: Trace, echo: Trace) -> range:
    """TTLs at which routers answered echoes, and no UDP from this node, at most three of them; empty if there are none.

    The endpoint's host does not count: no daemon answers a trace.
    """
    refused = own.error or fresh.error or own.reached or fresh.reached
    if refused or not _shared(own, fresh) or not _shared(fresh, echo):
        return range(0)
    end = max((hop.ttl for each in (own, fresh) if (hop := last_hop(each)) is not None), default=0)
    behind = [hop.ttl for hop in echo.hops if hop.address is not None and not hop.reached and hop.ttl > end]
    return range(behind[0], min(behind[-1], behind[0] + 2) + 1) if behind else range(0)


def observe_traces(traces: Traces, flow: Flow, tunnel: TunnelSide) -> Observation:
    """Whether the tunnel's own flow ends before one from a fresh source port does, or UDP before echoes, both times.

    Where all flows end alike, the observation is blind, and its reason says who answers last.
    """
    own, fresh = traces.own, traces.fresh
    if (routers := _circle(own)) is not None:
        return Observation(station=NETWORK, finding="killed", packets="data", death=_circling(routers, flow, tunnel))
    again = traces.fresh_again is not None and last_hop(traces.fresh_again) is not None
    still_dead = traces.own_again is not None and last_hop(traces.own_again) is None and not traces.own_again.error
    if in_doubt(own, fresh) and again and still_dead:
        death = _old_mapping(last_hop(own), last_hop(fresh), flow, tunnel)
        return Observation(station=NETWORK, finding="killed", packets="data", death=death)
    if (further := _echoes_get_on(traces)) is not None:
        death = _without_udp(last_hop(fresh) or last_hop(own), further, flow, tunnel)
        return Observation(station=NETWORK, finding="killed", packets="data", death=death)
    return Observation(station=NETWORK, finding="blind", packets="data", reason=_ends(own, fresh, traces.echo))


def _echoes_get_on(traces: Traces) -> Hop | None:
    """The last router that answered echoes both times, behind all that answered UDP."""
    doubtful, udp, echo = only_echoes(traces.own, traces.fresh, traces.echo), traces.fresh_again, traces.echo_again
    if not doubtful or udp is None or echo is None or udp.error or last_hop(udp) is not None:
        return None
    return next((hop for hop in reversed(echo.hops) if hop.address is not None and not hop.reached), None)


def _without_udp(dead: Hop | None, further: Hop, flow: Flow, tunnel: TunnelSide) -> Death:
    behind = f"behind {dead.address}" if dead else "before the first router"
    where = tunnel.endpoint or flow.destination
    return Death(
        code=codes.REACH_NO_FORWARD,
        message=f"UDP from this node to {where} vanishes {behind}, from the tunnel's port and from another one, and "
        f"echoes get on to {further.address}: a filter there does not let it through",
        facts=DeathFacts(offender=dead.address if dead else None),
        remedies=by_hand(f"Have UDP let through {behind}; where that cannot be, use another network.", where="router"),
    )


def _circle(trace: Trace) -> tuple[str, ...] | None:
    """Who answers for TTLs that lie two or more apart, in their order: packets come to that router again and again.

    Two TTLs in a row may belong to one router that has passed the first on without counting it.
    """
    heard = [(hop.ttl, hop.address) for hop in trace.hops if hop.address is not None and not hop.reached]
    for first, router in heard:
        again = next((ttl for ttl, other in heard if other == router and ttl >= first + _APART), None)
        if again is not None and not trace.reached:
            return tuple(dict.fromkeys(address for ttl, address in heard if first <= ttl < again))
    return None


def _circling(routers: tuple[str, ...], flow: Flow, tunnel: TunnelSide) -> Death:
    where, facts = tunnel.endpoint or flow.destination, DeathFacts(offender=routers[0], endpoint=tunnel.endpoint)
    if len(routers) > 1:
        return Death(
            code=codes.REACH_NO_FORWARD,
            message=f"the packets of {tunnel.interface} to {where} circle between {' and '.join(routers)} until their "
            "TTL has run out",
            facts=facts,
            remedies=by_hand(f"Correct the routes to {flow.destination} on {routers[0]} and {routers[1]}."),
        )
    return Death(
        code=codes.REACH_NO_FORWARD,
        message=f"the TTL of what this node sends to {where} has run out at {routers[0]}, whatever it was at first: "
        "something sets it again before each router, or they circle there",
        facts=facts,
        remedies=look("iptables-save -t mangle; nft list ruleset | grep -nE 'ttl|hoplimit'", root=True),
    )


def _shared(own: Trace, fresh: Trace) -> bool:
    """Whether both flows pass the same machines as long as both are heard: else they take two different ways."""
    both = zip(own.hops, fresh.hops, strict=False)
    return all(None in (one.address, other.address) or one.address == other.address for one, other in both)


def _old_mapping(dead: Hop | None, alive: Hop | None, flow: Flow, tunnel: TunnelSide) -> Death:
    behind = f"behind {dead.address}" if dead else "before the first router"
    further = alive.address if alive else None
    return Death(
        code=codes.REACH_NO_FORWARD,
        message=f"the packets of {tunnel.interface} from UDP port {flow.source_port} vanish {behind}, and those from "
        f"another port get to {further}: a NAT, a firewall or one of several parallel links there holds on to the old "
        "flow",
        facts=DeathFacts(port=flow.source_port, offender=dead.address if dead else None, endpoint=tunnel.endpoint),
        remedies=_other_port(flow, tunnel),
    )


def _other_port(flow: Flow, tunnel: TunnelSide) -> Remedies:
    if tunnel.product != "wireguard" or flow.source_port is None:
        return look(f"ss -uanp 'sport = :{flow.source_port}'", root=True)
    other = flow.source_port + 1 if flow.source_port < 65535 else flow.source_port - 1
    lasting = f"ListenPort = {other} in the tunnel's configuration"
    return heal(lambda: WireguardPort(interface=tunnel.interface, port=other), lasting=lasting)


def _ends(own: Trace, fresh: Trace, echo: Trace) -> str:
    """Who answers last on each flow, in words."""
    if fresh.reached:
        return "the endpoint's host answers this node (port), so it is alive and the way to it is open"
    if echo.reached:
        return "the endpoint's host answers this node (echo), so it is alive, and echoes pass on the way to it"
    named = (("UDP", own), ("UDP from a fresh port", fresh), ("echoes", echo))
    heard = [f"{name}: {hop.address}" for name, trace in named if (hop := last_hop(trace)) is not None]
    if not heard:
        return "no router answers a trace to the endpoint"
    return f"the last that answer a trace to the endpoint are {', '.join(heard)}; behind them nobody is heard"


def observe_private(state: NetworkState, flow: Flow, tunnel: TunnelSide, traces: Traces, *, never: bool) -> Observation:
    """Whether the endpoint is a private address of another place, which this node's networks do not hold.

    never: the tunnel never had a session. A company's routers may lead there, so an endpoint of the same private block
    as this node's uplink, or one whose host answers, is not suspected. It is proven only where no hop of any flow
    answers, not even the gateway, whose kernel answers for what expires on a way that it has; else it fits.
    """
    block = _block(flow.destination)
    lookup = state.lookup(flow)
    by_default = lookup is not None and lookup.matched is not None and lookup.matched.prefixlen == 0
    answers = traces.fresh.reached or traces.echo.reached
    near = lookup is not None and lookup.source is not None and _block(lookup.source) == block
    if block is None or not by_default or near or answers or not never:
        return Observation(station=ROUTE_OUTER, finding="clear", reason="the endpoint may be reached from here")
    endpoint = tunnel.endpoint or join_host_port(flow.destination, flow.destination_port or 0)
    gateway = lookup.gateway if lookup else None
    death = Death(
        code=codes.OVERLAY_NO_HANDSHAKE,
        message=f"the endpoint {endpoint} is a private address (of {block}), no network of this node holds it, and "
        f"nobody there answers: it is sent to {gateway}, the default gateway",
        facts=DeathFacts(endpoint=endpoint, gateway=gateway),
        remedies=look(f"wg show {tunnel.interface} endpoints", root=True),
        certain=not any(map(last_hop, (traces.own, traces.fresh, traces.echo))),
        later=True,  # the packets leave, for a place that the default gateway does not lead to
    )
    return Observation(station=ROUTE_OUTER, finding="killed", packets="handshake", death=death)


def _block(address: str) -> IPv4Network | IPv6Network | None:
    """The private block of an address: for IPv6 that of its site, whose 40 bits are drawn at random."""
    wanted = ip_address(address)
    block = next((block for block in BLOCKS if block.version == wanted.version and wanted in block), None)
    return block if block is None or block.version == 4 else ip_network((wanted, _SITE_BITS), strict=False)


_SITE_BITS = 48
"""Prefix and global identifier of a unique local address (RFC 4193 section 3.1)."""
