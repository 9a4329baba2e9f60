"""Asks the kernel how it sends the packets of several overlays, and which of its rules decide; it only reads."""

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from preflight.model.event import Listener
from preflight.model.flow import Flow
from preflight.model.kernel import NeedsPlatform
from preflight.model.peer import Peer
from preflight.net.way.routes import KernelState
from preflight.net.way.udp_ports import udp_ports
from preflight.proto.way.flows import inner_flow
from preflight.proto.way.observation import Death
from preflight.proto.way.rule_order import (
    OWN_TABLES,
    Outside,
    endpoints,
    in_a_circle,
    outer_flows,
    outranked,
    taken_by_the_exit,
)

if TYPE_CHECKING:
    from preflight.model.overlay import OverlayState
    from preflight.proto.control.url import ControlUrl

MOST_PEERS = 64


async def taken_by_rules(
    overlay: "OverlayState",
    peers: Sequence[Peer],
    silent: Sequence[Peer],
    control: "ControlUrl | None" = None,
    listener: Listener | None = None,
) -> tuple[Death, ...]:
    """Where the rules send an overlay's packets into another one; nothing where the kernel cannot be asked.

    silent: those of the peers that answered nothing. control: what clients of the control plane ask.
    """
    asked: list[tuple[Peer, Flow, OverlayState]] = [
        (peer, inner_flow(peer, os.getuid()), overlay.tunnel_for(peer.address)) for peer in peers[:MOST_PEERS]
    ]
    bound = {each.port for each in udp_ports(named=False)}
    # A tunnel whose socket is in another namespace sends by the routes there.
    here = [each for each in overlay.tunnels if each.product == "wireguard" and each.listen_port in bound]
    outer = outer_flows(here) if len(here) > 1 and silent else ()
    exits = next((each for each in overlay.tunnels if each.product in OWN_TABLES), None)
    others = [Outside(peer.target, flow) for peer, flow, tunnel in asked if tunnel is not exits]
    outside = (*_outside(overlay, exits, control), *others)
    flows = [*(flow for _, flow, _ in asked), *outer, *(each.flow for each in outside)]
    with suppress(NeedsPlatform, OSError):
        state = await KernelState(listener).snapshot(flows)
        circle = in_a_circle(state, here, silent) if outer else None
        lan = taken_by_the_exit(state, exits, outside) if exits is not None else None
        return (*(each for each in (circle, lan) if each is not None), *outranked(state, asked))
    return ()


def _outside(
    overlay: "OverlayState", exits: "OverlayState | None", control: "ControlUrl | None"
) -> tuple[Outside, ...]:
    """What an exit node should leave alone where it is near: the control plane, and the endpoints of other tunnels."""
    if exits is None:
        return ()
    others = endpoints(each for each in overlay.tunnels if each is not exits)[:MOST_PEERS]
    if control is None or control.address is None:
        return others
    flow = Flow(source="", destination=str(control.address), protocol="tcp", destination_port=control.port)
    return (Outside("the control plane", flow), *others)
