"""Follows packets to a peer ahead of the check that reports it, while another one waits for the same silence.

WireGuard tries again after five seconds. Who waits for that twice, one check after the other, waits for ten.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

from preflight.model.peer import Peer
from preflight.proto.way.observation import Observation

MOST_AHEAD = 6
"""Peers at one time: what many share is found at the first of them."""
Observations = tuple[Observation, ...]


class Follow(Protocol):
    """Observes one peer. others: addresses that are not the peer's."""

    def __call__(self, peer: Peer, *, others: Sequence[str]) -> Coroutine[Any, Any, Observations]:
        """What was observed."""


class Ahead:
    """What is observed of some peers so far."""

    def __init__(self, follow: Follow) -> None:
        self._follow = follow
        self._begun: dict[str, asyncio.Task[Observations]] = {}

    def begin(self, peer: Peer, others: Sequence[str] = ()) -> bool:
        """Follow packets to a peer from now on; whether that is done already or begins."""
        if peer.address not in self._begun:
            if len(self._begun) >= MOST_AHEAD:
                return False
            self._begun[peer.address] = asyncio.create_task(self._follow(peer, others=others))
        return True

    def drop(self, peer: Peer) -> None:
        """The peer has answered after all: nothing of what was seen before counts."""
        if (task := self._begun.pop(peer.address, None)) is not None:
            task.cancel()

    async def take(self, peer: Peer) -> Observations | None:
        """What was observed, once; None if the peer is not followed."""
        task = self._begun.pop(peer.address, None)
        if task is None:
            return None
        try:
            return await task
        finally:
            task.cancel()

    async def aclose(self) -> None:
        """End what nobody has taken."""
        left = list(self._begun.values())
        self._begun.clear()
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
