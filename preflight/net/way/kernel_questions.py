"""What is asked of the uplink once a burst was silent: is the next hop alive, and which neighbour is a router?

At most a dozen small packets, on links of this node alone.
"""

import asyncio
from contextlib import suppress
from dataclasses import replace

from preflight.model.event import Listener
from preflight.model.flow import Flow
from preflight.model.kernel import Link
from preflight.model.network_state import NetworkState
from preflight.model.routing import Asked, Neighbour
from preflight.net.way.ask_neighbour import NeighbourQuestions
from preflight.net.way.ask_router import RouterQuestions
from preflight.proto.way.kernel_word import Answers, Watched
from preflight.proto.way.neighbours import next_best_hop, next_hop
from preflight.proto.way.outer import heard_on_uplinks


class KernelQuestions:
    """Asks for `observe_kernel`."""

    def __init__(self, listener: Listener | None = None) -> None:
        self._neighbours, self._routers = NeighbourQuestions(listener), RouterQuestions(listener)

    async def ask(self, state: NetworkState, watched: Watched) -> Answers:
        """Who answers for the next hop, and where nobody does, or there is no route, who else is a router.

        Inside a tunnel that asks its neighbours, such as VXLAN: who answers for the peer and for this node. Without
        CAP_NET_RAW, or where the link is gone, nobody is asked.
        """
        flow, tunnel = watched.flows[0], watched.tunnel
        link = state.link(tunnel.interface)
        peer, own, uplink = await asyncio.gather(
            self._members(link, flow.destination),
            self._members(link, tunnel.own_address(flow)),
            self._of_uplink(state, watched),
        )
        return replace(uplink, peer=peer, own=own)

    async def _members(self, link: Link | None, address: str | None) -> Asked | None:
        """Who answers inside the tunnel; None where it asks no neighbours."""
        if link is None or address is None:
            return None
        with suppress(OSError):
            return await self._neighbours.ask(link, address, every=True)
        return None

    async def _of_uplink(self, state: NetworkState, watched: Watched) -> Answers:
        try:
            asked = await self._next_hop(state, watched)
            lookup = state.lookup(watched.outer) if watched.outer else None
            lost = (asked is not None and not asked.hardware) or (lookup is not None and lookup.type == "none")
            if watched.outer is None or not lost:
                return Answers(asked=asked)
            routers, next_best = await asyncio.gather(
                self._others(state, watched, watched.outer, asked), self._next_best(state, watched, watched.outer)
            )
            return Answers(asked=asked, routers=routers, next_best=next_best)
        except OSError:
            return Answers()

    async def _next_hop(self, state: NetworkState, watched: Watched) -> Asked | None:
        hop = next_hop(state, watched.outer, watched.tunnel)
        link = state.link(hop[0]) if hop else None
        return None if hop is None or link is None else await self._neighbours.ask(link, hop[1], every=True)

    async def _next_best(self, state: NetworkState, watched: Watched, flow: Flow) -> Asked | None:
        hop = next_best_hop(state, flow, watched.tunnel)
        link = state.link(hop[0]) if hop else None
        return None if hop is None or link is None else await self._neighbours.ask(link, hop[1])

    async def _others(
        self, state: NetworkState, watched: Watched, flow: Flow, asked: Asked | None
    ) -> tuple[Neighbour, ...]:
        silent = asked.address if asked else None
        heard = [each for each in heard_on_uplinks(state, watched.tunnel, ipv6=flow.is_ipv6) if each.address != silent]
        source = flow.source or _source(state, heard, flow)
        return await self._routers.ask(heard, replace(flow, source=source))


def _source(state: NetworkState, neighbours: list[Neighbour], flow: Flow) -> str:
    """This node's address on the link of its neighbours, to which a router can answer; empty if it has none."""
    version = 6 if flow.is_ipv6 else 4
    for neighbour in neighbours:
        link = state.link(neighbour.interface)
        for interface in link.addresses if link else ():
            if interface.version == version and not interface.is_link_local:
                return str(interface.ip)
    return ""
