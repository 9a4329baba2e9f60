"""Watching endpoints from the first trouble on: what was seen is handed over once, and nobody is watched for ever."""

import asyncio
from collections.abc import Coroutine
from ipaddress import ip_network
from types import SimpleNamespace
from typing import Any, cast

import pytest

from preflight.model.kernel import NeedsPlatform
from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.model.peer import Peer
from preflight.net import WATCHES, Net
from preflight.net.way import endpoints
from preflight.net.way.endpoints import MOST_PEERS, Endpoints
from preflight.net.way.sessions import Sessions
from preflight.net.way.tap import Errors
from preflight.settings.load import Settings

B, OTHER = "192.0.2.2:51820", "192.0.2.9:51820"
NB, NOBODY = Peer("10.66.0.2", "b"), Peer("10.66.0.9", "x")


class Reads:
    """Replaces reading the overlay: b is at these places in turn, and `read` is set when all of them were seen."""

    def __init__(self, *places: str) -> None:
        self.left, self.count, self.read = list(places), 0, asyncio.Event()

    async def __call__(self) -> OverlayState:
        """The tunnel with b at the next place, then at the last one for ever."""
        self.count += 1
        place = self.left.pop(0) if len(self.left) > 1 else self.left[0]
        if self.count > 3:
            self.read.set()
        peer = OverlayPeer("Bkey=", place, (ip_network("10.66.0.2/32"),))
        return OverlayState("wireguard", "wg0", up=True, mtu=1420, peers=(peer,))


def run(test: Coroutine[Any, Any, None]) -> None:
    """In time."""

    async def limited() -> None:
        async with asyncio.timeout(5):
            await test

    asyncio.run(limited())


def test_a_peer_is_watched_from_the_first_trouble_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who takes it has all places in order, once; a peer that the tunnel does not know is nowhere."""
    monkeypatch.setattr(endpoints, "EACH_S", 0.0)

    async def test() -> None:
        reads = Reads(B, OTHER, B)
        watching = Endpoints(reads)
        watching.begin(NB)
        watching.begin(NB)
        watching.begin(NOBODY)
        await reads.read.wait()
        watched, nowhere = watching.take(NB), watching.take(NOBODY)
        assert watched is not None
        assert [each.endpoint for each in watched.seen[:3]] == [B, OTHER, B]
        assert nowhere is not None
        assert {each.endpoint for each in nowhere.seen} == {None}
        assert watching.take(NB) is None
        await watching.aclose()

    run(test())


def test_nobody_is_watched_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trouble that is over by itself is not taken by any check: reading ends anyway, and begins for the next."""
    monkeypatch.setattr(endpoints, "EACH_S", 0.0)
    monkeypatch.setattr(endpoints, "LONGEST_S", 0.0)

    async def test() -> None:
        reads = Reads(B)
        watching = Endpoints(reads)
        watching.begin(NB)
        await asyncio.sleep(0)
        assert reads.count == 0
        monkeypatch.setattr(endpoints, "LONGEST_S", 60.0)
        watching.begin(NOBODY)
        await reads.read.wait()
        for number in range(MOST_PEERS):
            watching.begin(Peer(f"10.66.1.{number}", "y"))
        assert watching.take(Peer(f"10.66.1.{MOST_PEERS - 1}", "y")) is None
        await watching.aclose()

    run(test())


def test_a_state_that_cannot_be_read_ends_it() -> None:
    """The check that takes it reads again, and says why it cannot."""

    async def unreadable() -> OverlayState:
        raise NeedsPlatform("no netlink here")

    async def test() -> None:
        watching = Endpoints(unreadable)
        watching.begin(NB)
        await asyncio.sleep(0)
        watched = watching.take(NB)
        assert watched is not None
        assert not watched.seen
        await watching.aclose()

    run(test())


@pytest.mark.parametrize(("peers", "watched"), [(MOST_PEERS, MOST_PEERS), (MOST_PEERS + 1, 0)])
def test_few_peers_are_watched_from_the_beginning(peers: int, watched: int) -> None:
    """In a large mesh reading the tunnel again and again costs more than trouble that is rare. Who refuses packets, and
    for whom those of the peer are, is listened to once some are lost.
    """
    net, begun, heard, tapped = Net(Settings()), list[Peer](), list[bool](), list[Peer]()
    net.planned = frozenset({WATCHES})
    net.watch.endpoints = cast("Endpoints", SimpleNamespace(begin=begun.append))
    net.watch.errors = cast("Errors", SimpleNamespace(listen=lambda: heard.append(True)))
    net.watch.sessions = cast("Sessions", SimpleNamespace(begin=tapped.append))
    net.watch.begin_few([Peer(f"10.66.0.{number}", f"p{number}") for number in range(peers)])
    assert (len(begun), heard, tapped) == (watched, [], [])
    net.troubled(Peer("10.66.0.200", "late"))
    assert (len(begun), heard, len(tapped)) == (watched + 1, [True], 1)
