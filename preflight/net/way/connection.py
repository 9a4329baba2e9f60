"""Asks this node's kernel and firewall why a connection fails; it only reads, and tries once more."""

import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from preflight.model.event import Listener
from preflight.model.flow import Flow
from preflight.model.kernel import NeedsPlatform
from preflight.model.peer import Peer
from preflight.net.way.firewall import Firewall
from preflight.net.way.routes import KernelState
from preflight.proto.way.netfilter.burst import Burst
from preflight.proto.way.netfilter.observe import observe_filters
from preflight.proto.way.observation import Death
from preflight.proto.way.observers import tunnel_side
from preflight.proto.way.own_refusal import own_refusal

if TYPE_CHECKING:
    from preflight.model.overlay import OverlayState


async def refusal_of(
    host: Peer, port: int, overlay: "OverlayState | None", listener: Listener | None = None
) -> Death | None:
    """Why the kernel sends no TCP to a host; None if it does, or cannot be asked.

    overlay: the host is judged by the tunnel that claims its address, if one does.
    """
    flow = Flow(source="", destination=host.address, protocol="tcp", destination_port=port, uid=os.getuid())
    claimed = overlay is not None and any(each.claims(host.address) >= 0 for each in overlay.own_tunnels)
    tunnel = tunnel_side(host, overlay.tunnel_for(host.address)) if overlay is not None and claimed else None
    with suppress(NeedsPlatform, OSError):
        return own_refusal(await KernelState(listener).snapshot([flow]), flow, host.target, tunnel)
    return None


async def filtered(
    address: str, port: int, attempt: Callable[[], Awaitable[object]], listener: Listener | None = None
) -> Death | None:
    """The rule of this node's own firewall that stops connections to an address; None if none does, or nobody may look.

    attempt: sends the first packet of one connection, and no more.
    """
    flow = Flow(source="", destination=address, protocol="tcp", destination_port=port, uid=os.getuid())
    with suppress(NeedsPlatform, OSError):
        lookup = (await KernelState(listener).snapshot([flow])).lookup(flow)
        if lookup is None or lookup.refused:
            return None
        leaving = replace(flow, source=lookup.source or "", interface_out=lookup.interface)
        firewall = Firewall(listener)
        before = firewall.snapshot()
        await attempt()
        found = observe_filters(before, firewall.snapshot([leaving]), [Burst(flow=leaving, sent=1)])
        return next((each.death for each in found if each.death is not None), None)
    return None
