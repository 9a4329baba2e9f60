"""mtu.loss: large packets that are lost by their size fail in their direction; a path without doubt is not asked."""

import asyncio
from math import inf
from typing import TYPE_CHECKING, cast

import pytest
from preflight_checks.mtu_loss import MOST_PEERS, mtu_loss

from preflight.api import Context, Peer, Result, Status
from preflight.model.facts import MtuSearchFacts
from preflight.model.path import DirectionStats, StampStats
from preflight.proto.stamp.large_loss import HALF, INTERVAL_S
from preflight.settings.load import Settings
from tests.sample_facts import sample

if TYPE_CHECKING:
    from preflight.net import Net

GOOD = DirectionStats(sent=HALF, received=HALF, observed=HALF)
BAD = DirectionStats(sent=HALF, received=5, observed=5)


class Path:
    """Replaces `ctx.net` and its path: large packets fare as the test says, small ones arrive.

    slowest_s: between large packets that all arrive.
    """

    def __init__(
        self, forward: DirectionStats, reverse: DirectionStats, s_per_byte: float = 0.0, slowest_s: float = inf
    ) -> None:
        self._large = StampStats(sent=HALF, answered=5, forward=forward, reverse=reverse)
        self._slowest_s = slowest_s
        self.path, self.pmtu, self.s_per_byte = self, self, s_per_byte
        self.sizes, self.intervals_s = list[int](), set[float]()

    async def stamp(self, peer: Peer, *, count: int, interval_s: float, payload_bytes: int = 0) -> StampStats:
        """As PathProbes."""
        self.sizes.append(payload_bytes)
        self.intervals_s.add(interval_s)
        return (
            self._large
            if payload_bytes and interval_s < self._slowest_s
            else StampStats(sent=count, answered=count, forward=GOOD, reverse=GOOD)
        )


def found(net: Path, *peers: Peer, recovered: int = 1) -> list[Result]:
    """The results; each search has found 1420 bytes."""
    known = {each.target: (sample(MtuSearchFacts, mtu_bytes=1420, recovered=recovered),) for each in peers}
    context = Context(Settings(), peers, None, cast("Net", net), known)

    async def run() -> list[Result]:
        return [result async for result in mtu_loss.function(context)]

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("forward", "reverse", "ways"),
    [(BAD, GOOD, ["forward"]), (GOOD, BAD, ["reverse"]), (BAD, BAD, ["forward", "reverse"])],
)
def test_each_direction_in_which_large_packets_are_lost(
    forward: DirectionStats, reverse: DirectionStats, ways: list[str]
) -> None:
    """With the counts of both sizes, and the size."""
    results = found(Path(forward, reverse), Peer("10.66.0.2", "b"))
    assert [(str(each.code), each.direction.value) for each in results] == [("udp.loss", way) for way in ways]
    assert all("14 of 24 large packets (1420 bytes)" in each.message for each in results)
    assert all("0 of 24 small ones" in each.message for each in results)


def test_large_packets_that_arrive() -> None:
    """What the search lost was chance; the payload leaves room for the headers of either family."""
    net = Path(GOOD, GOOD)
    peers = (Peer("10.66.0.2", "b"), Peer("fd66::2", "c"))
    assert [each.status for each in found(net, *peers)] == [Status.PASS, Status.PASS]
    assert net.sizes == [1392, 0, 1372, 0]


def test_a_slow_link_is_not_filled() -> None:
    """At 114 kbit/s a line of 100 kbit/s loses large packets in a short queue, and none of the small ones."""
    quick, slow = Path(GOOD, GOOD), Path(GOOD, GOOD, s_per_byte=8 / 100_000)
    for net in (quick, slow):
        found(net, Peer("10.66.0.2", "b"))
    assert quick.intervals_s == {INTERVAL_S}
    assert list(slow.intervals_s) == pytest.approx([2 * 1420 * 8 / 100_000])


def test_a_loss_that_ends_at_a_slower_pace_was_our_own() -> None:
    """Large packets and a call filled the short queue of a slow line; a loss that remains is the path's."""
    own, the_paths = (Path(BAD, GOOD, s_per_byte=8 / 100_000, slowest_s=slowest_s) for slowest_s in (0.5, inf))
    assert [each.status for each in found(own, Peer("10.66.0.2", "b"))] == [Status.PASS]
    assert [each.status for each in found(the_paths, Peer("10.66.0.2", "b"))] == [Status.FAIL]
    assert own.intervals_s == the_paths.intervals_s
    assert len(own.intervals_s) == 2


def test_most_paths_are_not_asked() -> None:
    """No packet is sent where the search lost none, nor to more than a few peers."""
    quiet = Path(BAD, GOOD)
    assert [each.status for each in found(quiet, Peer("10.66.0.2", "b"), recovered=0)] == [Status.SKIP]
    assert quiet.sizes == []
    many = [Peer(f"10.66.0.{number}", f"p{number}") for number in range(MOST_PEERS + 2)]
    assert [each.status for each in found(Path(BAD, GOOD), *many)].count(Status.SKIP) == 2
