"""Which overlay this node has, and its state in the common model."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING

from preflight.model.event import Listener, telling
from preflight.model.kernel import Link, NeedsPlatform, Route
from preflight.model.overlay import PRIVILEGE, OverlayState
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
    taken: Mapping[str, Route] = {}
    if routes_to is not None and (len(states) != 1 or any(_lost(state, links) for state in states)):
        taken = await routes_to(peers[:ASKED])
    calling = [state for state in states if state.product == "openvpn" and state.mtu is None]
    states = found_by_route([state for state in states if state not in calling], links, taken, peers) + calling
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
    link = next((link for link in links if link.name == state.interface), None)
    if state.product == "generic" and link is not None and link.kind == "vxlan":
        state = await vxlan.with_far_ends(state, link)
    further = tuple(other for other in states if other.interface != state.interface)
    return replace(state, further=further, prefixes=settings.prefixes or state.prefixes)


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
