"""What silent peers of WireGuard send, from the first sign of trouble on: some of it may be for another machine.

Who looks only when all other checks are over comes too late: WireGuard makes another handshake after 15 s of silence,
and from then on the peer answers this node again. It only reads.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from preflight.model.kernel import NeedsPlatform
from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.model.peer import Peer
from preflight.net.way.tap import Tap
from preflight.proto.tunnel.sessions_seen import Reading, for_another

EACH_S: Final = 0.25
LONGEST_S: Final = 22.0
"""Longer than it takes until WireGuard makes another handshake, and repeats one that was lost."""
AFTER_S: Final = 1.0
"""How long it still looks once something was accepted."""
SESSION_S: Final = 180.0
"""WireGuard takes and sends nothing more in the session of an older handshake."""
MOST_PEERS: Final = 6


@dataclass(slots=True)
class _Watched:
    """One peer: what the tap has seen, and what its tunnel had counted meanwhile."""

    endpoint: str | None = None
    tap: Tap | None = None
    readings: list[Reading] = field(default_factory=list)


class Sessions:
    """The peers that are watched, each by a separate task. tap: on the tunnel's own packets."""

    def __init__(
        self, overlay: Callable[[], Awaitable[OverlayState | None]], tap: Callable[[Peer, OverlayState], Tap]
    ) -> None:
        self._overlay, self._tap = overlay, tap
        self._begun: dict[str, tuple[asyncio.Task[None], _Watched]] = {}

    def begin(self, peer: Peer) -> None:
        """Watch a peer from now on, unless it is watched already or many are."""
        if peer.address not in self._begun and len(self._begun) < MOST_PEERS:
            watched = _Watched()
            self._begun[peer.address] = asyncio.create_task(self._watch(peer, watched)), watched

    async def for_another(self, peer: Peer) -> int:
        """How many messages of a peer came for another machine with this node's key; 0 if that is not proven."""
        if peer.address not in self._begun:
            return 0
        task, watched = self._begun[peer.address]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if watched.tap is None or not watched.readings:
            return 0
        return for_another(watched.tap.taken(), watched.endpoint, watched.readings)

    async def aclose(self) -> None:
        """Watch nobody any more."""
        tasks = [task for task, _ in self._begun.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, peer: Peer, watched: _Watched) -> None:
        try:
            tunnel, known = await self._read(peer)
            if tunnel is None or known is None or not _lives(tunnel, known):
                return
            watched.endpoint = known.endpoint
            async with self._tap(peer, tunnel) as tap:
                watched.tap = tap if not tap.blind else None
                ends = monotonic() + (0.0 if tap.blind else LONGEST_S)
                while monotonic() < ends and known is not None:
                    watched.readings.append(Reading(time.time_ns(), known.rx_bytes or 0))
                    if watched.readings[-1].rx_bytes > watched.readings[0].rx_bytes:
                        ends = min(ends, monotonic() + AFTER_S)
                    await asyncio.sleep(EACH_S)
                    _, known = await self._read(peer)
        except NeedsPlatform:
            return

    async def _read(self, peer: Peer) -> tuple[OverlayState | None, OverlayPeer | None]:
        overlay = await self._overlay()
        tunnel = overlay.tunnel_for(peer.address) if overlay is not None else None
        return tunnel, tunnel.peer_for(peer.address) if tunnel is not None else None


def _lives(tunnel: OverlayState, known: OverlayPeer) -> bool:
    """Whether there is a session in which a silence may be that of another machine's."""
    return tunnel.product == "wireguard" and time.time() - (known.last_handshake_unix_s or 0.0) < SESSION_S
