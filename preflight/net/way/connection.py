"""Asks this node's kernel why it refuses a connection; it only reads, and only where one was refused."""

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from preflight.model.event import Listener
from preflight.model.flow import Flow
from preflight.model.kernel import NeedsPlatform
from preflight.model.peer import Peer
from preflight.net.way.routes import KernelState
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
