"""The burst that is followed: what a peer's host has said before in the run counts for it."""

import asyncio
from typing import Any, cast

import pytest

from preflight.model.overlay import OverlayState
from preflight.model.path import StampStats
from preflight.model.peer import Peer
from preflight.net.stamp.refusals import Refusals
from preflight.net.way.follow import COUNT, PacketWays

B = Peer("10.66.0.2", "b")


class Path:
    """A peer that answers as many packets, and whose host may have called the port closed before."""

    def __init__(self, answered: int, *, closed: bool) -> None:
        self._answered = answered
        self.refusals = Refusals()
        if closed:
            self.refusals.note(B, StampStats(sent=1, answered=0, port_unreachable=True))

    async def stamp(self, peer: Peer, **_: Any) -> StampStats:
        """No ICMP error comes for these packets."""
        return StampStats(sent=COUNT, answered=self._answered)


async def no_overlay() -> OverlayState | None:
    """Nothing is read here."""
    return None


@pytest.mark.parametrize(("answered", "closed", "counts"), [(0, True, True), (0, False, False), (COUNT, True, False)])
def test_a_port_that_was_called_closed_is_no_silence(answered: int, closed: bool, counts: bool) -> None:
    """Protects healthy peers without a responder: kernels limit ICMP errors, so the burst may get none."""
    ways = PacketWays(cast("Any", Path(answered, closed=closed)), no_overlay)
    assert asyncio.run(ways.burst(B)).port_unreachable is counts
