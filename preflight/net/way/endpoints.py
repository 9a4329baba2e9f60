"""Where peers are, as their tunnels have them, read again and again from the first sign of trouble on.

Few peers are watched from the beginning of a run, before there is any.
Whether an endpoint goes to and fro takes seconds to see. Who begins when a check first meets trouble has seen enough by
the time that all others are over. It only reads.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from functools import cached_property
from time import monotonic
from typing import TYPE_CHECKING, Final

from preflight.model.kernel import NeedsPlatform
from preflight.model.overlay import OverlayState
from preflight.model.peer import Peer
from preflight.proto.tunnel.endpoint_turns import Seen, Watched

if TYPE_CHECKING:
    from preflight.net.way.sessions import Sessions
    from preflight.net.way.tap import Errors, Tap

EACH_S: Final = 0.25
SELDOM_S: Final = 0.75
"""Where each look is a log-in (Nebula), by which products number their sessions."""
LONGEST_S: Final = 4.0
"""Longer than that a check watches by itself. Most trouble of few packets is over by then."""
MOST_PEERS: Final = 6


class Endpoints:
    """The peers that are watched. One task reads for all of them."""

    def __init__(self, overlay: Callable[[], Awaitable[OverlayState | None]]) -> None:
        self._overlay = overlay
        self._watching: dict[str, tuple[float, list[Seen]]] = {}
        self._task: asyncio.Task[None] | None = None

    def begin(self, peer: Peer) -> None:
        """Watch a peer from now on, unless it is watched already or many are."""
        if peer.address in self._watching or len(self._watching) >= MOST_PEERS:
            return
        self._watching[peer.address] = (monotonic(), [])
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch())

    def take(self, peer: Peer) -> Watched | None:
        """What was seen of a peer, once; None if it was not watched."""
        watching = self._watching.pop(peer.address, None)
        return Watched(*watching) if watching is not None else None

    async def aclose(self) -> None:
        """Watch nobody any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        try:
            while any(monotonic() - since_s < LONGEST_S for since_s, _ in self._watching.values()):
                overlay = await self._overlay()
                rekeys = [_read(address, seen, overlay) for address, (_, seen) in self._watching.items()]
                await asyncio.sleep(SELDOM_S if any(rekeys) else EACH_S)
        except NeedsPlatform:  # the one that takes it reads again, and says so
            return


class Watch:
    """What is watched before packets are followed: where peers are and, once packets are lost, who refuses any and for
    whom those of the peers are.

    wanted: whether a check of the run asks for it.

    To follow packets takes much more code, which a run without trouble does not load.
    """

    def __init__(self, overlay: Callable[[], Awaitable[OverlayState | None]], wanted: bool = True) -> None:
        self.endpoints, self._overlay, self._wanted = Endpoints(overlay), overlay, wanted

    @cached_property
    def errors(self) -> "Errors":
        """The ICMP errors that come in."""
        from preflight.net.way.tap import Errors

        return Errors()

    @cached_property
    def sessions(self) -> "Sessions":
        """What silent peers send."""
        from preflight.net.way.sessions import Sessions

        return Sessions(self._overlay, self.tap)

    def tap(self, peer: Peer, tunnel: OverlayState) -> "Tap":
        """A tap on the own packets of the tunnel to a peer, to be opened by `async with`."""
        from preflight.net.way.tap import tunnel_tap

        return tunnel_tap(peer, tunnel)

    def begin(self, peers: Iterable[Peer]) -> None:
        """Watch these peers from now on, and who refuses packets."""
        if self._wanted:
            self.errors.listen()
            for peer in peers:
                self.endpoints.begin(peer)
                self.sessions.begin(peer)

    def begin_few(self, peers: Collection[Peer]) -> None:
        """Watch where these peers are before there is any trouble, unless they are many."""
        for peer in peers if self._wanted and len(peers) <= MOST_PEERS else ():
            self.endpoints.begin(peer)

    async def aclose(self) -> None:
        """Watch nothing any more."""
        if "errors" in vars(self):
            self.errors.close()
        if "sessions" in vars(self):
            await self.sessions.aclose()
        await self.endpoints.aclose()


def _read(address: str, seen: list[Seen], overlay: OverlayState | None) -> bool:
    """Add where a peer is now; whether its product numbers sessions."""
    known = overlay.tunnel_for(address).peer_for(address) if overlay is not None else None
    seen.append(Seen(known.endpoint, known.session) if known is not None else Seen(None))
    return seen[-1].session is not None
