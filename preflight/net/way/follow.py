"""Follows one burst to one peer: every observer's word before, during and after it.

What only reads comes first; the burst is ten packets at most. A tunnel without a session is given the time that its
product takes to try again, unless something has shown before that the packets die on this node.
"""

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from preflight.model.event import Listener, telling
from preflight.model.flow import Flow
from preflight.model.kernel import NeedsPlatform
from preflight.model.network_state import NetworkState, TunnelSide
from preflight.model.overlay import OverlayPeer, OverlayState, Owners
from preflight.model.path import AskResult, StampStats
from preflight.model.peer import Peer
from preflight.model.routing import Asked
from preflight.model.tapped import Tapped
from preflight.net.way.ask_neighbour import ask_neighbour
from preflight.net.way.firewall import Firewall
from preflight.net.way.routes import KernelState
from preflight.net.way.tap import Tap, Wanted
from preflight.net.way.udp_ports import read_udp_ports
from preflight.overlay.read import read_tunnels
from preflight.proto.way.inner_word import inner_word
from preflight.proto.way.kernel_word import Watched, observe_kernel, questions, uplink_of
from preflight.proto.way.neighbours import next_hop
from preflight.proto.way.netfilter import burst as filter_burst
from preflight.proto.way.netfilter.observe import observe_filters
from preflight.proto.way.netfilter.ruleset import FilterSnapshot
from preflight.proto.way.observation import Observation, PacketClass
from preflight.proto.way.peer_word import peer_word
from preflight.proto.way.tunnel import observe_tunnel
from preflight.proto.way.tunnel_view import Burst, TunnelView, carrier_of, tunnel_ports
from preflight.proto.way.verdict import conclude

if TYPE_CHECKING:
    from preflight.net.stamp.path import PathProbes
    from preflight.settings.load import Settings

COUNT: Final = 6
LARGE_COUNT: Final = 4
INTERVAL_S: Final = 0.02
ANSWER_S: Final = 0.5
RETRY_S: Final = 5.6
"""WireGuard sends its next initiation within this time (REKEY_TIMEOUT is 5 s, with a third of a second of jitter)."""
LOOK_S: Final = 0.1
UDP_HEADERS: Final = {4: 28, 6: 48}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Readings:
    """Everything that was read around one burst."""

    watched: Watched
    before: NetworkState
    after: NetworkState
    rules_before: FilterSnapshot
    rules_after: FilterSnapshot
    stats: StampStats
    large: StampStats | None
    view: TunnelView
    asked: Asked | None


class PacketWays:
    """The ways of packets to peers, both directions. path: sends the bursts, and knows what the peers have said."""

    def __init__(self, settings: "Settings", path: "PathProbes", listener: Listener | None = None) -> None:
        self._settings, self._path = settings, path
        self._kernel, self._firewall = KernelState(listener), Firewall(listener)
        self._listener = listener

    async def follow(self, peer: Peer, *, large: bool = False) -> tuple[Observation, ...]:
        """Everything that is observed of both ways to a peer. large: only large packets are in trouble.

        What the network does is data. Takes up to about seven seconds where a tunnel has no session.
        """
        said = list(peer_word(asked, peer.target)) if (asked := self._path.asked(peer)) is not None else []
        try:
            readings = await self._read(peer, large, asked)
        except NeedsPlatform:
            return tuple(said)
        return (*said, *_observations(peer, readings))
