"""Which overlay this node has, and its state in the common model."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING

from preflight.model.event import Listener, telling
from preflight.model.kernel import Link, NeedsPlatform
from preflight.model.overlay import OverlayState
from preflight.overlay import nebula, tailscale, vxlan, wireguard, zerotier
from preflight.overlay.links import read_links, state_of

if TYPE_CHECKING:
    from preflight.settings.schema import OverlaySettings

# In order of preference, if nothing else decides.
PRODUCTS = (wireguard, tailscale, zerotier, nebula)


async def read_overlay(
    settings: "OverlaySettings", peers: Sequence[str] = (), listener: Listener | None = None
) -> OverlayState | None:
    """The state of the overlay in the settings, else of the one that is found; None if there is none.

    peers: overlay addresses of this run; of several overlays it takes the one that contains them.
    Never raises because of a daemon: see `OverlayState.condition` and `unreadable`.
    """
    tell = telling(listener, "overlay.read")
    try:
        links = await read_links()
    except NeedsPlatform:
        return None
    groups = await asyncio.gather(*(_read(product, links, listener) for product in PRODUCTS))
    states = [state for group in groups for state in group]
    state = named(settings.interface, states, links) if settings.interface is not None else choose(states, peers)
    tell(
        time.monotonic(),
        "overlay-chosen",
        product=state.product if state else None,
        interface=state.interface if state else None,
        named=settings.interface,
        found=len(states),
    )
    if state is None:
        return None
    link = next((link for link in links if link.name == state.interface), None)
    if state.product == "generic" and link is not None and link.kind == "vxlan":
        state = await vxlan.with_far_ends(state, link)
    others = tuple(_words(other) for other in states if other.interface != state.interface)
    return replace(state, others=others, prefixes=settings.prefixes or state.prefixes)


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


def choose(states: Sequence[OverlayState], peers: Sequence[str]) -> OverlayState | None:
    """Of several overlays: the one with most of the peers, then a working one, then the first that was found."""

    def merit(state: OverlayState) -> tuple[int, bool, bool]:
        return sum(map(state.covers, peers)), state.condition is None, state.up

    return max(states, key=merit, default=None)


def _words(state: OverlayState) -> str:
    """An overlay that was not chosen, in words."""
    down = "" if state.up and state.condition is None else ", down"
    return f"{state.product} on {state.interface}{down}" if state.interface else f"{state.product}{down}"
