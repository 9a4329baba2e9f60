"""How the kernel sends to addresses of an overlay, and which route into it a narrower one hides; it only reads."""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace

from preflight.model.event import Listener, telling
from preflight.model.kernel import NeedsPlatform, Route
from preflight.model.overlay import OverlayState
from preflight.net.way.openvpn_remote import openvpn_remote
from preflight.net.way.routes import KernelState
from preflight.proto.way.beneath import beneath, may_hide

RoutesTo = Callable[[Iterable[str]], Awaitable[Mapping[str, Route]]]


async def with_routes(
    overlay: OverlayState | None, addresses: Iterable[str], routes_to: RoutesTo, listener: Listener | None = None
) -> OverlayState | None:
    """The overlay, with how the kernel sends to these addresses now; unchanged where it cannot be asked."""
    wanted = [address for address in addresses if "%" not in address]
    if overlay is None or not wanted:
        return overlay
    try:
        routes = await routes_to(wanted)
        hidden = await _hidden(overlay, list(routes.values()), listener)
    except NeedsPlatform:
        return overlay
    return replace(overlay, routes={**overlay.routes, **routes}, hidden={**overlay.hidden, **hidden})


async def _hidden(overlay: OverlayState, routes: Iterable[Route], listener: Listener | None) -> dict[str, Route]:
    """The routes into a tunnel that does not say who owns what, by address; the tables are read only if any may be."""
    suspects = [route for route in routes if may_hide(overlay, route)]
    if not suspects or all(tunnel.lists_owners for tunnel in overlay.tunnels):
        return {}
    try:
        state = await KernelState(listener).snapshot()
    except OSError:
        return {}
    remote = openvpn_remote()
    ends = {peer.endpoint_address for tunnel in overlay.tunnels for peer in tunnel.peers}
    ends |= {remote[0]} if remote is not None else set()
    found = {route.address: route for route in beneath(overlay, state, suspects, {end for end in ends if end})}
    tell = telling(listener, "overlay_routes")
    for route in found.values():
        tell(time.monotonic(), "route-hidden", route=str(route))
    return found
