"""The remote end to which a VXLAN sends what is for a peer, where no packet was seen to leave.

The kernel's own tables say it once the peer has been heard: its hardware address is a neighbour's inside the tunnel,
and the tunnel's forwarding table has the end behind which that is. Otherwise all ends are asked.
"""

from dataclasses import replace

from preflight.model.flow import Flow
from preflight.model.overlay import OverlayState
from preflight.net.way.firewall import Firewall
from preflight.net.way.routes import KernelState
from preflight.proto.way.far_ends import common_end, far_ends, learned_end
from preflight.proto.way.observers import Moment


async def far_end(
    kernel: KernelState, firewall: Firewall, tunnel: OverlayState, address: str, before: Moment
) -> Flow | None:
    """The tunnel's own packets for the peer with an overlay address; None where nobody knows to which end they go.

    before: from before the burst.
    """
    known = before.kernel.neighbour(tunnel.interface, address)
    if (learned := learned_end(tunnel, known)) is not None:
        lookup = (await kernel.snapshot((learned,))).lookup(learned)
        return replace(learned, source=lookup.source or "") if lookup is not None and not learned.source else learned
    return await _common_end(kernel, firewall, tunnel, before)


async def _common_end(kernel: KernelState, firewall: Firewall, tunnel: OverlayState, before: Moment) -> Flow | None:
    """A remote end that fares as all of them do, where nobody knows which of them the peer is at."""
    asked = far_ends(tunnel)
    state = await kernel.snapshot(asked)
    looked = [(flow, state.lookup(flow)) for flow in asked]
    leaving = [
        replace(flow, source=lookup.source, interface_out=lookup.interface)
        for flow, lookup in looked
        if lookup is not None and lookup.source and not lookup.refused
    ]
    if len(leaving) < len(asked):
        return None
    found = common_end(leaving, before.rules, firewall.snapshot(leaving))
    return replace(found, interface_out=None) if found is not None else None
