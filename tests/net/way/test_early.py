"""What was seen and asked while one check waited for a session is there for the next one, and nothing is left open."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from ipaddress import ip_network
from typing import cast

import pytest

from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.model.path import AskResult
from preflight.model.peer import Peer
from preflight.model.tapped import Tapped
from preflight.net.stamp.path import PathProbes
from preflight.net.way import early as early_taps
from preflight.net.way.early import MOST_TAPS, EarlyTaps, wanted
from preflight.net.way.tap import Wanted

B = Peer("10.66.0.2", "b")
OWNER = OverlayPeer("B=", "203.0.113.9:51821", (ip_network("10.66.0.2/32"),))
OVERLAY = OverlayState("wireguard", "wg0", True, 1420, peers=(OWNER,), listen_port=51820, public_key="AAAA")


class FakeTap:
    """A tap without a socket."""

    opened: list["FakeTap"]
    cut = False

    def __init__(self, wanted: Wanted) -> None:
        self.wanted, self.closed = wanted, 0
        self.opened.append(self)

    async def __aenter__(self) -> "FakeTap":
        return self

    async def __aexit__(self, *error: object) -> None:
        self.closed += 1

    def taken(self) -> Tapped:
        """Nothing, or too much."""
        return Tapped(cut=self.cut)


class FakePath:
    """Answers a question when `answered` is set."""

    def __init__(self) -> None:
        self.answered, self.asked, self.forgotten = asyncio.Event(), list[str](), list[str]()

    async def ask(self, peer: Peer, tunnel: OverlayState | None = None) -> AskResult:
        """As PathProbes."""
        self.asked.append(peer.address)
        await self.answered.wait()
        return AskResult(sent=10, answered=0)

    def forget(self, peer: Peer) -> None:
        """As PathProbes."""
        self.forgotten.append(peer.address)


@pytest.fixture
def taps(monkeypatch: pytest.MonkeyPatch) -> list[FakeTap]:
    """The taps that were opened."""
    monkeypatch.setattr(FakeTap, "opened", opened := list[FakeTap](), raising=False)
    monkeypatch.setattr(early_taps, "Tap", FakeTap)
    return opened


def test_it_is_taken_once_with_its_begin_and_closes_with_its_user(taps: list[FakeTap]) -> None:
    """The question was asked once, and its answer is there before the tap is used; a later round begins again."""

    async def run() -> None:
        path = FakePath()
        early = EarlyTaps(cast("PathProbes", path))
        await early.open(B, replace(OVERLAY, mtu=1))
        await early.open(B, OVERLAY)
        early.ask(B)
        early.ask(B)
        path.answered.set()
        async with AsyncExitStack() as stack:
            taken = await early.take(B, stack)
            assert taken is not None
            assert taken[0] is OVERLAY
            assert (path.asked, [tap.closed for tap in taps]) == ([B.address], [1, 0])
        assert await early.take(B, AsyncExitStack()) is None
        await early.aclose()
        assert [tap.closed for tap in taps] == [1, 1]

    asyncio.run(run())


def test_a_tunnel_that_comes_up_is_not_judged_by_what_was_before(taps: list[FakeTap]) -> None:
    """The question ends, and its answer does not count any more."""

    async def run() -> None:
        path = FakePath()
        early = EarlyTaps(cast("PathProbes", path))
        await early.open(B, OVERLAY)
        early.ask(B)
        await asyncio.sleep(0)
        await early.drop(B)
        assert (path.forgotten, [tap.closed for tap in taps]) == ([B.address], [1])
        assert await early.take(B, AsyncExitStack()) is None

    asyncio.run(run())


def test_of_a_large_mesh_only_the_first_are_looked_at_and_all_are_closed(taps: list[FakeTap]) -> None:
    """A thousand peers without a session are not a thousand sockets."""

    async def run() -> None:
        path = FakePath()
        early = EarlyTaps(cast("PathProbes", path))
        for number in range(20):
            await early.open(peer := Peer(f"10.66.0.{number}"), OVERLAY)
            early.ask(peer)
        await early.aclose()
        assert len(taps) == MOST_TAPS
        assert all(tap.closed == 1 for tap in taps)

    asyncio.run(run())


def test_a_full_tap_is_of_no_use(taps: list[FakeTap], monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy tunnel a fresh one sees the burst."""
    monkeypatch.setattr(FakeTap, "cut", True)

    async def run() -> None:
        early = EarlyTaps(cast("PathProbes", FakePath()))
        await early.open(B, OVERLAY)
        async with AsyncExitStack() as stack:
            assert await early.take(B, stack) is None
        assert [tap.closed for tap in taps] == [1]

    asyncio.run(run())


def test_what_it_keeps() -> None:
    """The tunnel's own port, its endpoints for fragments, and the burst's port."""
    keeps = wanted(B, OVERLAY, "wireguard")
    assert (keeps.tunnel_ports, keeps.probe_ports) == (frozenset({51820}), frozenset({862}))
    assert keeps.addresses == {"203.0.113.9"}
    assert keeps.public_key is not None
