"""What the rules of several overlays do to each other's packets: whose come first decides. Pure.

Each overlay that has a table of its own adds rules that lead there: before all others that it finds (wg-quick), or at a
fixed place (Tailscale). A rule for all packets without one mark takes those of every other overlay, and the default
route of an exit node what is for this node's own networks.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address

from preflight import codes
from preflight.model.facts import DeathFacts
from preflight.model.fix import PolicyRule
from preflight.model.flow import Flow
from preflight.model.kernel import MAIN_TABLE, Link
from preflight.model.network_state import NetworkState
from preflight.model.overlay import OverlayState
from preflight.model.peer import Peer
from preflight.model.remedy import Remedies, heal, look
from preflight.model.routing import Lookup, Rule
from preflight.proto.tunnel.levers import tailscale_takes
from preflight.proto.way.fib import Decision, decide, explain
from preflight.proto.way.flows import outer_flow
from preflight.proto.way.observation import Death

OWN_TABLES = ("tailscale",)
"""Products that keep their routes in a separate table, to which a rule of theirs leads."""
MOST_NAMES = 3


@dataclass(frozen=True, slots=True)
class _Hop:
    """One tunnel's own packets, and the other tunnel that the kernel sends them into."""

    tunnel: OverlayState
    lookup: Lookup
    into: OverlayState


def outer_flows(tunnels: Iterable[OverlayState]) -> tuple[Flow, ...]:
    """The own packets of all tunnels, to each endpoint."""
    flows = (outer_flow(each, str(peer.addresses[0][0])) for each in tunnels for peer in each.peers if peer.addresses)
    return tuple(dict.fromkeys(flow for flow in flows if flow is not None))


def in_a_circle(state: NetworkState, tunnels: Sequence[OverlayState], peers: Iterable[Peer]) -> Death | None:
    """Tunnels that carry each other's packets, so that none of them ever leaves this node.

    peers: those of this run that answered nothing, each of which is the beginning of a walk.
    """
    here = {each.interface: each for each in tunnels}
    for peer in peers:
        start = next((each for each in tunnels if each.peer_for(peer.address) is not None), None)
        circle = _walk(state, here, start, peer.address) if start is not None else ()
        if len(circle) > 1:
            return _circle(state, circle)
    return None


def _walk(
    state: NetworkState, here: Mapping[str | None, OverlayState], start: OverlayState, address: str
) -> tuple[_Hop, ...]:
    """From tunnel to tunnel, until one comes again: the hops from its first time on; nothing where packets leave."""
    hops: list[_Hop] = []
    tunnel = start
    while tunnel not in (known := [hop.tunnel for hop in hops]):
        flow = outer_flow(tunnel, address)
        lookup = state.lookup(flow) if flow is not None else None
        other = here.get(lookup.interface) if lookup is not None and not lookup.refused else None
        if lookup is None or other is None:
            return ()
        hops.append(_Hop(tunnel, lookup, other))
        tunnel, address = other, lookup.flow.destination
    return tuple(hops[known.index(tunnel) :])


def _circle(state: NetworkState, circle: Sequence[_Hop]) -> Death:
    ordered = sorted(circle, key=lambda hop: hop.tunnel.interface or "")
    ways = ", and ".join(
        f"the packets of {hop.tunnel.interface} to {hop.lookup.flow.destination} into {hop.into.interface}"
        f"{_by(explain(state, hop.lookup))}"
        for hop in ordered
    )
    names = " and ".join(hop.tunnel.interface or "" for hop in ordered)
    show = look("ip rule; wg show all fwmark   # only one of them can have all of this node's traffic", root=True)
    return Death(
        code=codes.OVERLAY_ENDPOINT_LOOP,
        message=f"{names} carry each other's packets, and none of them leaves this node: its kernel sends {ways}",
        facts=DeathFacts(interface=names),
        remedies=_apart(state, ordered) or show,
    )


def _by(found: Decision | None) -> str:
    return f" (by the rule `{found.rule}`)" if found is not None and found.rule is not None else ""


def _apart(state: NetworkState, circle: Sequence[_Hop]) -> Remedies:
    """The tunnels' own packets, which their marks show, by the main table; nothing where that does not lead out."""
    remedies: list[Remedies] = []
    for hop in circle:
        flow = hop.lookup.flow
        rule = _first(state, flow, MAIN_TABLE, mark=hop.tunnel.fwmark)
        found = decide(replace(state, rules=(*state.rules, rule)), flow)
        inside = {each.tunnel.interface for each in circle}
        if not hop.tunnel.fwmark or found.type != "unicast" or found.interface in (None, *inside):
            return ()
        once = "as PostUp in its file; else only one of these tunnels may have all in its AllowedIPs"
        remedies.append(heal(lambda rule=rule: _added(rule), lasting=once))  # type: ignore[misc]
    return tuple(remedy for each in remedies for remedy in each)


def _first(state: NetworkState, flow: Flow, table: int, *, mark: int) -> Rule:
    """A rule for a mark that comes before all others except the one for this node's own addresses."""
    version = 6 if flow.is_ipv6 else 4
    priorities = [rule.priority for rule in state.rules if rule.version == version and rule.priority > 1]
    return Rule(version=version, priority=min(priorities, default=2) - 1, table=table, mark=mark, mask=2**32 - 1)


def outranked(state: NetworkState, asked: Iterable[tuple[Peer, Flow, OverlayState]]) -> tuple[Death, ...]:
    """Rules that come before that of an overlay which has the peers' routes in its own table; one death for each.

    asked: the peers, with what this node sends to them, and the tunnel that has them.
    """
    taken: dict[tuple[Rule, str | None], list[tuple[Peer, Lookup, Decision, Decision, OverlayState]]] = {}
    for peer, flow, tunnel in asked:
        lookup = state.lookup(flow)
        found = explain(state, lookup) if lookup is not None and not lookup.refused else None
        if lookup is None or found is None or found.rule is None or tunnel.product not in OWN_TABLES:
            continue
        behind = decide(state, flow, without=found.rule)
        own = behind.entry is not None and behind.entry.table not in (MAIN_TABLE, found.rule.table)
        if own and behind.interface == tunnel.interface and lookup.interface != tunnel.interface:
            taken.setdefault((found.rule, tunnel.interface), []).append((peer, lookup, found, behind, tunnel))
    return tuple(_outranked(state, each) for each in taken.values())


def _outranked(state: NetworkState, peers: Sequence[tuple[Peer, Lookup, Decision, Decision, OverlayState]]) -> Death:
    _, lookup, found, behind, tunnel = peers[0]
    names = [peer.target for peer, *_ in peers]
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    who = f"{' and '.join(names[:MOST_NAMES])}{more}"
    lines = {_before(state, each, tunnel): None for each in peers}
    return Death(
        code=codes.OVERLAY_ROUTE_LEAK,
        message=f"the rule `{found.rule}` comes before `{behind.rule}`, which leads to the routes of "
        f"{tunnel.product}: what is for {who} goes out by {lookup.interface} (`{found.entry}`), not by "
        f"{tunnel.interface}",
        facts=DeathFacts(interface=lookup.interface, gateway=lookup.gateway, route_type=lookup.type),
        remedies=tuple(remedy for remedies in lines for remedy in remedies)
        or look("ip rule   # which program added the one that comes first?"),
    )


def _before(
    state: NetworkState, one: tuple[Peer, Lookup, Decision, Decision, OverlayState], tunnel: OverlayState
) -> Remedies:
    """The overlay's own networks by its own table, right before the rule that takes them now."""
    _, lookup, found, behind, _ = one
    address = ip_address(lookup.flow.destination)
    network = next((each for each in tunnel.prefixes if each.version == address.version and address in each), None)
    if found.rule is None or behind.rule is None or network is None:
        return ()
    rule = Rule(version=network.version, priority=found.rule.priority - 1, table=behind.rule.table, destination=network)
    led = decide(replace(state, rules=(*state.rules, rule)), lookup.flow)
    if rule.priority < 1 or led.interface != tunnel.interface:
        return ()
    return heal(
        lambda: _added(rule),
        lasting=f"let what adds the other rule start before {tunnel.product}",
    )


def _added(rule: Rule) -> PolicyRule:
    return PolicyRule(
        action="add",
        family="-6" if rule.version == 6 else "-4",
        priority=rule.priority,
        does="lookup",
        table=rule.table,
        destination=str(rule.destination) if rule.destination else None,
        mark=rule.mark or None,
    )


@dataclass(frozen=True, slots=True)
class Outside:
    """What this node sends past an exit node: the control plane's packets, another tunnel's, or what is for its peers.

    name: in a sentence.
    """

    name: str
    flow: Flow


def endpoints(tunnels: Iterable[OverlayState]) -> tuple[Outside, ...]:
    """The own packets of tunnels, by where their peers are."""
    known = [(each, peer, peer.endpoint_address) for each in tunnels for peer in each.peers]
    return tuple(
        Outside(
            f"the endpoint of {tunnel.interface}",
            Flow(source="", destination=host, destination_port=peer.endpoint_port, mark=tunnel.fwmark),
        )
        for tunnel, peer, host in known
        if host is not None
    )


def taken_by_the_exit(state: NetworkState, exits: OverlayState, asked: Iterable[Outside]) -> Death | None:
    """What is in a network of this node's links, and goes to its exit node. exits: the overlay that has one."""
    for outside in asked:
        lookup = state.lookup(outside.flow)
        if lookup is None or lookup.interface != exits.interface or lookup.matched is None or lookup.matched.prefixlen:
            continue
        link = next((each for each in state.links if _has(each, outside.flow.destination, exits)), None)
        if link is not None:
            return _in_the_lan(outside, link, exits, explain(state, lookup))
    return None


def _has(link: Link, address: str, exits: OverlayState) -> bool:
    return link.up and not link.loopback and link.name != exits.interface and link.holds(address) is not None


def _in_the_lan(outside: Outside, link: Link, exits: OverlayState, found: Decision | None) -> Death:
    address = outside.flow.destination
    return Death(
        code=codes.OVERLAY_EXIT_NODE_LAN,
        message=f"{outside.name} ({address}) is in {link.name}'s own network {link.holds(address)}, and what is for it "
        f"goes to the exit node by {exits.interface}{_by(found)}: {exits.product} lets this node use an exit node "
        "without access to its LAN",
        facts=DeathFacts(interface=exits.interface, address=address),
        remedies=tailscale_takes(exits, "exit-node-allow-lan-access"),
    )
