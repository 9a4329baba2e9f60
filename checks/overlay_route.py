"""Does this node's routing send the peer's overlay address into the overlay?"""

from collections.abc import AsyncGenerator, Iterable
from dataclasses import replace
from ipaddress import ip_address

from preflight.api import (
    Context,
    Direction,
    Peer,
    Remedies,
    Result,
    Station,
    Status,
    check,
    codes,
    failed,
    inconclusive,
    passed,
    skipped,
)
from preflight.model.facts import DeathFacts
from preflight.model.kernel import MAIN_TABLE, Link, NeedsPlatform, Route
from preflight.model.overlay import WHOLE_BITS, IPNetwork, OverlayState
from preflight.proto.control.url import ControlUrl
from preflight.proto.tunnel.levers import admit
from preflight.proto.tunnel.members import said_of, shut_out, stranger, uncarried
from preflight.proto.tunnel.route_advice import (
    by_mark,
    give_up,
    into_the_overlay,
    look_at_marks,
    look_at_route,
    not_taken,
    take_less,
)

TUNNELS = ("wireguard", "tun", "vxlan", "gre", "ipip", "sit")
"""Kinds of links that another overlay may use."""


@check(
    "overlay.route",
    title="The route to the peer leaves through the overlay",
    subject="peer",
    needs=("overlay.interface",),
    timeout=10,
    timeout_per_peer=0.02,
    codes=(
        codes.OVERLAY_ROUTE_LEAK,
        codes.OVERLAY_SUBNET_CONFLICT,
        codes.OVERLAY_DUPLICATE_ADDRESS,
        codes.OVERLAY_PEER_LOST,
        codes.OVERLAY_NOT_AUTHORIZED,
    ),
)
async def overlay_route(ctx: Context) -> AsyncGenerator[Result, None]:
    """Asks the kernel for its route and the table entry behind it, and looks for overlapping local networks."""
    try:
        links = await ctx.net.kernel.links()
        routes = await _routes(ctx)
    except NeedsPlatform as error:
        for peer in ctx.peers:
            yield inconclusive(codes.RUN_NEEDS_PLATFORM, peer.target, Direction.FORWARD, str(error))
        return
    control, settings = _control_address(ctx), ctx.settings
    named = settings.source if settings.peers_from_file else None
    file = str(named.absolute()) if named is not None else None
    for peer in ctx.peers:
        route = routes[peer.address]
        yield of_the_flow(judge(peer, ctx.overlay, route, links, control, file), peer, ctx.overlay, route)


async def _routes(ctx: Context) -> dict[str, Route]:
    """By address, how what is sent to each peer's responder leaves."""
    found: dict[str, Route] = {}
    for port in dict.fromkeys(peer.responder_port for peer in ctx.peers):
        addresses = [peer.address for peer in ctx.peers if peer.responder_port == port]
        found |= await ctx.net.routes.routes_to(addresses, port, "udp")
    return found


def of_the_flow(result: Result, peer: Peer, overlay: OverlayState | None, route: Route) -> Result:
    """The same with what this node's firewall does to it: the kernel routes again what a rule marks.

    Skipped where a mark that nobody here may read about would send the packets into the overlay.
    """
    tunnel = overlay.tunnel_for(peer.address).interface if overlay is not None else None
    if result.code is codes.OVERLAY_ROUTE_LEAK and route.doubt is not None and route.doubt.interface == tunnel:
        return skipped(codes.RUN_NEEDS_PRIVILEGE, peer.target, Direction.FORWARD, str(route.doubt))
    if result.status is Status.PASS or not route.mark:
        return result
    return replace(result, message=f"{result.message}{by_mark(route.mark)}", remedy=None, remedies=look_at_marks())


def _control_address(ctx: Context) -> str | None:
    """The control plane's address, where the settings have one and no name."""
    url = ctx.settings.control.url
    return str(url.address) if isinstance(url, ControlUrl) and url.address is not None else None


def judge(
    peer: Peer,
    overlay: OverlayState | None,
    route: Route,
    links: Iterable[Link],
    control: str | None = None,
    file: str | None = None,
) -> Result:
    """A local network as specific as the entry in use is a conflict; any other route outside is a leak.

    Of several tunnels, the peer is judged by the one that has its address. control: the control plane's address, which
    a conflict takes off the overlay too. file: the settings that name the peers.
    """
    state = overlay and replace(overlay, routes={peer.address: route}).tunnel_for(peer.address)
    if state is None or state.interface is None:
        message = "there is no overlay interface, so there is no route to compare"
        return skipped(codes.RUN_NOT_APPLICABLE, peer.target, Direction.FORWARD, message)
    if route.local and route.interface != state.interface:
        return _own_address(peer, state, links)
    rival = _rival(peer.address, state.interface, route, links)
    if rival is not None:
        return _conflict(peer, state, route, *rival, control)
    elsewhere = any(link.name == route.interface != state.interface and link.kind in TUNNELS for link in links)
    if not elsewhere and (found := stranger(state, peer.target, peer.address, file)) is not None:
        return _stranger(peer, route, *found)
    if route.interface == state.interface:
        return passed(peer.target, Direction.FORWARD, f"{route}", measurements=_measured(route))
    other = overlay.at(route.interface) if overlay is not None else None
    if other is not None and other.product != state.product and other.claims(peer.address) >= 0:
        return _two_overlays(peer, state, other, route)
    if overlay is not None and overlay.further and all(each.claims(peer.address) < 0 for each in overlay.tunnels):
        return _nobody(peer, overlay, route)
    return _leak(peer, state, route, links)


def _nobody(peer: Peer, overlay: OverlayState, route: Route) -> Result:
    """Of several overlays none has the peer: which one should is not known here."""
    names = ", ".join(f"{each.interface or 'no device'} ({each.product})" for each in overlay.tunnels)
    where = f"its packets go elsewhere: {route}" if route.error is None else f"there is no route to it: {route.error}"
    leads_on = route.error is None and (route.matched is None or route.matched.prefixlen > WHOLE_BITS)
    if not leads_on and (denied := shut_out(overlay, peer.address)) is not None:
        return _shut_out(peer, denied, route, where)
    return failed(
        codes.OVERLAY_ROUTE_LEAK,
        peer.target,
        Direction.FORWARD,
        f"none of this node's overlays has {peer.address}: {names}; {where}; the overlay of {peer.target} does not run "
        "here, or its address is another one",
        remedies=look_at_route(peer.address),
        measurements=_measured(route),
    )


def _shut_out(peer: Peer, denied: OverlayState, route: Route, where: str) -> Result:
    """None of the overlays that have admitted this node has the peer."""
    return failed(
        codes.OVERLAY_NOT_AUTHORIZED,
        peer.target,
        Direction.FORWARD,
        f"no overlay that has admitted this node has {peer.address}, and {where}; there is {said_of(denied)}",
        remedies=(*admit(denied), *look_at_route(peer.address)),
        measurements=_measured(route),
        station=Station("route"),
    )


def _stranger(peer: Peer, route: Route, said: str, remedies: Remedies) -> Result:
    """Where the kernel sends the packets does not matter then: the product has nobody to give them to."""
    return failed(
        codes.OVERLAY_PEER_LOST,
        peer.target,
        Direction.FORWARD,
        said,
        remedies=remedies,
        measurements=_measured(route),
        station=Station("route"),
    )


def _own_address(peer: Peer, state: OverlayState, links: Iterable[Link]) -> Result:
    """Packets for the peer stay on this node, and whatever answers here is not the peer."""
    link = next((link for link in links if link.has(peer.address)), None)
    holder = link.name if link else None
    return failed(
        codes.OVERLAY_DUPLICATE_ADDRESS,
        peer.target,
        Direction.FORWARD,
        f"{peer.address}, the overlay address of {peer.target}, is an address of this node too"
        f"{f', on {holder}' if holder else ''}: what is for {peer.target} never leaves",
        station=Station("address"),
        facts=DeathFacts(address=peer.address, interface=holder),
        remedies=give_up(link, peer.address, tunnels=(state.interface or "",)) if link else (),
    )


def _rival(address: str, overlay: str, route: Route, links: Iterable[Link]) -> tuple[Link, IPNetwork] | None:
    """A local network that contains the address and is at least as specific as the entry in use.

    A tunnel's own table comes before the networks of the main one, so there is none.
    """
    if route.matched is None or (route.interface == overlay and route.table != MAIN_TABLE):
        return None
    for link in links:
        if link.up and not link.loopback and link.name != overlay:
            network = link.holds(address)
            if network is not None and network.prefixlen >= route.matched.prefixlen:
                return link, network
    return None


def _conflict(
    peer: Peer, state: OverlayState, route: Route, link: Link, network: IPNetwork, control: str | None
) -> Result:
    renumber = "renumber one of the two networks"
    held = [peer.address, *([control] if control is not None and _in_both(state, network, control) else ())]
    around = [into_the_overlay(state, address, route.table, renumber) for address in dict.fromkeys(held)]
    return failed(
        codes.OVERLAY_SUBNET_CONFLICT,
        peer.target,
        Direction.FORWARD,
        f"{link.name}'s network {network} also contains the overlay address {peer.address}; "
        f"the kernel now sends its packets to {route.interface}",
        remedies=tuple(remedy for remedies in around for remedy in remedies),
        measurements=_measured(route),
        station=Station("route"),
    )


def _two_overlays(peer: Peer, state: OverlayState, other: OverlayState, route: Route) -> Result:
    """Another product of this node has a network with the address, and its route comes before this one's."""
    network = other.owners.prefix(peer.address) or route.matched
    return failed(
        codes.OVERLAY_SUBNET_CONFLICT,
        peer.target,
        Direction.FORWARD,
        f"{other.product} on {other.interface} has the network {network}, with the address {peer.address} of "
        f"{peer.target} on {state.interface} ({state.product}), and the kernel sends its packets there: {route}",
        remedies=take_less(other, str(network)),
        measurements=_measured(route),
        station=Station("route"),
    )


def _in_both(state: OverlayState, network: IPNetwork, address: str) -> bool:
    """Whether an address is in the local network and on the overlay."""
    wanted = ip_address(address)
    return wanted.version == network.version and wanted in network and state.claims(address) >= 0


def _leak(peer: Peer, state: OverlayState, route: Route, links: Iterable[Link]) -> Result:
    overlay = state.interface
    if route.error is not None:
        message = f"this node has no route to {peer.address}, neither through {overlay} nor elsewhere: {route.error}"
    elif route.matched is not None and route.matched.prefixlen == 0:
        message = f"the default route applies to {peer.address}, and none into {overlay}: {route}"
    else:
        message = f"the route {route.matched} sends {peer.address} outside {overlay}: {route}"
    if (option := not_taken(state, peer.address)) is not None:
        message += f"; the controller gives a route for it, and this node does not take that ({option} is off)"
    tunnel = any(link.name == route.interface and link.kind in TUNNELS for link in links)
    # Another tunnel may be the right way to this peer: a route past it would cut the peer off.
    remedies = look_at_route(peer.address) if tunnel else into_the_overlay(state, peer.address, route.table)
    if not tunnel and (found := uncarried(state, peer.address)) is not None:
        message, remedies = f"{message}; {found[0]}", (*found[1], *remedies)
    return failed(
        codes.OVERLAY_ROUTE_LEAK,
        peer.target,
        Direction.FORWARD,
        message,
        remedies=remedies,
        measurements=_measured(route),
    )


def _measured(route: Route) -> dict[str, str | None]:
    return {
        "interface": route.interface,
        "gateway": route.gateway,
        "source": route.source,
        "matched": str(route.matched) if route.matched else None,
    }
