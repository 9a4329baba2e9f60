"""Following ahead: what one check began another one takes once, and nothing is left running."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from preflight.model.peer import Peer
from preflight.net.way.ahead import MOST_AHEAD, Ahead, Observations

B, C = Peer("10.66.0.2", "b"), Peer("10.66.0.3", "c")


class Following:
    """Replaces the following of packets: it is over when it is let go."""

    def __init__(self) -> None:
        self.began, self.ended = list[str](), list[str]()
        self.over = asyncio.Event()
        self.others: tuple[str, ...] = ()

    async def follow(self, peer: Peer, *, others: Sequence[str]) -> Observations:
        """One peer."""
        self.others = tuple(others)
        self.began.append(peer.address)
        try:
            await self.over.wait()
        finally:
            self.ended.append(peer.address)
        return ()


def run(test: Coroutine[Any, Any, None]) -> None:
    """In time."""

    async def limited() -> None:
        async with asyncio.timeout(5):
            await test

    asyncio.run(limited())


def test_what_was_begun_is_taken_once() -> None:
    """The second who asks follows the packets itself: the first observation is of before."""

    async def test() -> None:
        following = Following()
        ahead = Ahead(following.follow)
        assert ahead.begin(B, [C.address])
        assert ahead.begin(B)
        await asyncio.sleep(0)
        following.over.set()
        assert await ahead.take(B) == ()
        assert await ahead.take(B) is None
        assert await ahead.take(C) is None
        assert (following.began, following.others) == ([B.address], (C.address,))

    run(test())


def test_who_answers_after_all_is_dropped() -> None:
    """What was seen while a session was missing says nothing once there is one."""

    async def test() -> None:
        following = Following()
        ahead = Ahead(following.follow)
        ahead.begin(B)
        await asyncio.sleep(0)
        ahead.drop(B)
        assert await ahead.take(B) is None
        await asyncio.sleep(0)
        assert following.ended == [B.address]

    run(test())


def test_only_some_are_followed_and_none_is_left() -> None:
    """A run that ends early leaves no task behind."""

    async def test() -> None:
        following = Following()
        ahead = Ahead(following.follow)
        peers = [Peer(f"10.66.1.{number}") for number in range(MOST_AHEAD + 2)]
        assert [ahead.begin(peer) for peer in peers] == [True] * MOST_AHEAD + [False] * 2
        await asyncio.sleep(0)
        await ahead.aclose()
        assert len(following.began) == len(following.ended) == MOST_AHEAD

    run(test())
