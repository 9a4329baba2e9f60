"""Which overlay this node has, and its state in the common model."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING

from preflight.model.event import Listener, telling
from preflight.model.kernel import Link, NeedsPlatform, Route
from preflight.model.overlay import PRIVILEGE, WHOLE_BITS, OverlayState
from preflight.overlay import nebula, openvpn, tailscale, vxlan, wireguard, zerotier
from preflight.overlay.links import read_links, state_of

if TYPE_CHECKING:
    from preflight.settings.schema import OverlaySettings

# In order of preference, if nothing else decides.
PRODUCTS = (wireguard, tailscale, zerotier, nebula, openvpn)
TUNNELS = ("tun", "wireguard", "vxlan")
"""Kinds of devices that carry an overlay of a product that is not known here, or whose daemon cannot be asked."""
ASKED = 16
"""Of a run's peers: these few show well enough which overlay is meant."""
Asked = Callable[[Sequence[str]], Awaitable[Mapping[str, Route]]]
"""How the kernel sends to addresses."""


async def read_overlay(
    settings: "OverlaySettings",
    peers: Sequence[str] = (),
    listener: Listener | None = None,
    routes_to: Asked | None = None,
) -> OverlayState | None:
    """The state of the overlay in the settings, else of the one that is found; None if there is none.

    peers: overlay addresses of this run; of several overlays it takes the one that has them. routes_to: asked only
    where the overlays themselves do not show that. Never raises because of a daemon: see `OverlayState.condition` and
    `unreadable`.
    """
    tell = telling(listener, "overlay.read")
    try:
        links = await read_links()
    except NeedsPlatform:
        return None
    groups = await asyncio.gather(*(_read(product, links, listener) for product in PRODUCTS))
    states = [state for group in groups for state in group]
    taken = await _taken(states, links, peers, routes_to) if routes_to is not None else {}
    calling = [state for state in states if state.product == "openvpn" and state.mtu is None]
    states = found_by_route([state for state in states if state not in calling], links, taken, peers) + calling
    states += [state_of(link, "generic") for link in leading(unclaimed(states, links), states, taken)]
    state = named(settings.interface, states, links) if settings.interface is not None else choose(states, peers, taken)
    tell(
        time.monotonic(),
        "overlay-chosen",
        product=state.product if state else None,
        interface=state.interface if state else None,
        named=settings.interface,
        found=len(states),
    )
    if state is None:
        return await openvpn.stopped(settings.interface, telling(listener, "overlay.local", "openvpn"))
    others = [other for other in states if other.interface != state.interface]
    state, *further = [await _with_far_ends(each, links) for each in (state, *others)]
    # Of those whom no overlay lists, only the kernel shows which one has them.
    left = {address: route for address, route in taken.items() if all(each.claims(address) < 0 for each in states)}
    return replace(state, further=tuple(further), prefixes=settings.prefixes or state.prefixes, routes=left)


async def _taken(
    states: Sequence[OverlayState], links: Sequence[Link], peers: Sequence[str], routes_to: Asked
) -> Mapping[str, Route]:
    """How the kernel sends to a few peers, and to a few of those in the network of a device that no product has.

    Nothing where the only overlay shows by itself that it is meant.
    """
    free = unclaimed(states, links)
    if len(states) == 1 and not free and not _lost(states[0], links):
        return {}
    held = [peer for peer in peers[ASKED:] if any(link.holds(peer) for link in free)]
    return await routes_to([*peers[:ASKED], *held[:ASKED]])


async def _with_far_ends(state: OverlayState, links: Iterable[Link]) -> OverlayState:
    """The same; of a VXLAN with its remote ends, for no product has it."""
    link = next((link for link in links if link.name == state.interface), None)
    if state.product != "generic" or link is None or link.kind != "vxlan":
        return state
    return await vxlan.with_far_ends(state, link)


async def _read(product: ModuleType, links: Sequence[Link], listener: Listener | None) -> list[OverlayState]:
    """The overlays of one product, with how long reading them took."""
    name = product.__name__.rpartition(".")[2]
    tell = telling(listener, "overlay.read", name)
    began = time.monotonic()
    states: list[OverlayState] = await product.read(links, telling(listener, "overlay.local", name))
    ended = time.monotonic()
    took_ms = (ended - began) * 1000
    if not states:
        tell(ended, "product-absent", took_ms=took_ms)
    for state in states:
        tell(
            ended,
            "product-read",
            interface=state.interface,
            up=state.up,
            peers=len(state.peers),
            condition=state.condition,
            unreadable=state.unreadable,
            took_ms=took_ms,
        )
    return states


def named(interface: str, states: Iterable[OverlayState], links: Iterable[Link]) -> OverlayState | None:
    """The state of one interface; one that no product claims is still an overlay, because the settings say so."""
    for state in states:
        if state.interface == interface:
            return state
    return next((state_of(link, "generic") for link in links if link.name == interface), None)


def choose(
    states: Sequence[OverlayState], peers: Sequence[str], routes: Mapping[str, Route] | None = None
) -> OverlayState | None:
    """Of several overlays: the one with most of the peers, then the one into which the kernel sends most of them, then
    a working one, then one with members, which a way to the Internet does not have, then the first that was found.
    """
    taken = [route.interface for route in (routes or {}).values()]

    def merit(state: OverlayState) -> tuple[int, int, bool, bool, bool]:
        claimed = sum(state.claims(peer) >= 0 for peer in peers)
        return claimed, taken.count(state.interface), state.condition is None, state.up, _has_members(state)

    return max(states, key=merit, default=None)


def _has_members(state: OverlayState) -> bool:
    """Whether it has somebody with a single address, as far as its product shows."""
    ends = (network for peer in state.peers if peer.member for network in peer.addresses)
    return not state.lists_owners or any(network.num_addresses == 1 for network in ends)


def found_by_route(
    states: Sequence[OverlayState], links: Sequence[Link], routes: Mapping[str, Route], peers: Iterable[str] = ()
) -> list[OverlayState]:
    """The states; one whose configuration this user may not read gets the TUN device that leads to the peers, or the
    only one whose network has them where no route does.

    Where no product is found, a tunnel's device that the kernel sends to the peers by is the overlay, or, before any
    peer is known, the only one; an uplink that is a VXLAN itself, with a router for all addresses, is not.
    """
    peers = tuple(peers)
    if not states and not peers and not routes:
        return lone(links)
    claimed = {state.interface for state in states}
    taken = {route.interface for route in routes.values()} - claimed
    if not states:
        return [state_of(link, "generic") for link in links if link.kind in TUNNELS and _leads(link, routes, peers)][:1]
    tuns = [link for link in links if link.kind == "tun" and link.name not in claimed]
    near = [link for link in tuns if any(link.holds(peer) for peer in peers)]
    tun = next((link for link in tuns if link.name in taken), near[0] if len(near) == 1 else None)
    if tun is None:
        return list(states)
    return [
        state_of(tun, state.product, unreadable=state.unreadable, health=state.health) if _lost(state, links) else state
        for state in states
    ]


def unclaimed(states: Iterable[OverlayState], links: Iterable[Link]) -> list[Link]:
    """The tunnels' devices that are up and that no product has."""
    claimed = {state.interface for state in states}
    return [link for link in links if link.up and link.kind in TUNNELS and link.name not in claimed]


def leading(free: Iterable[Link], states: Sequence[OverlayState], routes: Mapping[str, Route]) -> list[Link]:
    """Of such devices those that lead to a peer whom no product has: an overlay next to those of the products.

    Where a product has the peer, the device is in its way; where it is not known whom a product has, only a peer in the
    device's own network is the device's. A way for all addresses is not one to a peer.
    """
    if not states:
        return []
    known = all(each.lists_owners for each in states)
    left = {address: route for address, route in routes.items() if all(each.claims(address) < 0 for each in states)}
    return [
        link
        for link in free
        if any(
            route.interface == link.name and (link.holds(peer) is not None or (known and _is_narrow(route)))
            for peer, route in left.items()
        )
    ]


def _is_narrow(route: Route) -> bool:
    return route.gateway is None and route.matched is not None and route.matched.prefixlen > WHOLE_BITS


def lone(links: Sequence[Link]) -> list[OverlayState]:
    """Where nothing else shows it: the only tunnel's device that is up with an address, in addition to an uplink.

    A device for the containers of a cluster has one address alone, or none.
    """
    up = [link for link in links if link.up and not link.loopback and _own(link)]
    tunnels = [link for link in up if link.kind in TUNNELS]
    beside = any(link not in tunnels for link in up)
    return [state_of(link, "generic") for link in tunnels] if len(tunnels) == 1 and beside else []


def _own(link: Link) -> bool:
    """Whether it has an address in a network, which for a VXLAN has others too."""
    own = [each for each in link.addresses if not each.is_link_local]
    return any(link.kind != "vxlan" or each.network.num_addresses > 1 for each in own)


def _leads(link: Link, routes: Mapping[str, Route], peers: Iterable[str]) -> bool:
    """Whether a device leads to peers, and not only to a router that has all other addresses behind it."""
    by = [route for route in routes.values() if route.interface == link.name]
    beside = any(route.gateway is None for route in by) or any(link.holds(peer) for peer in peers)
    return bool(by) and (link.kind != "vxlan" or beside)


def _lost(state: OverlayState, links: Iterable[Link]) -> bool:
    """Whether its interface is not known because this user may not read its configuration."""
    return state.unreadable == PRIVILEGE and all(link.name != state.interface for link in links)
