"""Measuring many peers in parallel: bounded, spaced, and nothing is left running."""

import asyncio

import pytest

from preflight.api import Peer, beside, for_each_peer

PEERS = [Peer(f"10.66.0.{n}") for n in range(1, 21)]


def test_no_more_at_one_time_than_allowed_and_each_once() -> None:
    """The bound is what keeps a thousand peers from being a thousand sockets."""
    running = most = 0

    async def measure(peer: Peer) -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return peer.address

    async def go() -> list[tuple[Peer, str]]:
        return [pair async for pair in for_each_peer(PEERS, measure, at_once=3)]

    pairs = asyncio.run(go())
    assert most == 3
    assert sorted(address for _, address in pairs) == sorted(peer.address for peer in PEERS)
    assert all(peer.address == address for peer, address in pairs)


def test_the_quick_do_not_wait_for_the_slow() -> None:
    """What is known is reported at once."""
    slow = asyncio.Event()

    async def measure(peer: Peer) -> None:
        if peer is PEERS[0]:
            await slow.wait()

    async def go() -> list[Peer]:
        seen = []
        async for peer, _ in for_each_peer(PEERS, measure, at_once=2):
            seen.append(peer)
            if len(seen) == len(PEERS) - 1:
                slow.set()
        return seen

    assert asyncio.run(go())[-1] is PEERS[0]


def test_starts_are_spaced() -> None:
    """The gap is between starts, on the loop's own clock, and the first does not wait."""
    starts = []

    async def measure(peer: Peer) -> None:
        starts.append(asyncio.get_running_loop().time())

    async def go() -> float:
        began = asyncio.get_running_loop().time()
        async for _ in for_each_peer(PEERS[:5], measure, at_once=5, gap_s=0.01):
            pass
        return began

    began = asyncio.run(go())
    assert all(start - began >= place * 0.01 - 0.001 for place, start in enumerate(starts))


def test_ending_it_early_ends_what_is_under_way() -> None:
    """A check that runs out of time must not go on sending."""
    ended = []

    async def measure(peer: Peer) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(peer)

    async def go() -> None:
        try:
            async with asyncio.timeout(0.01):
                async for _ in for_each_peer(PEERS, measure, at_once=4):
                    pass
        except TimeoutError:
            assert len(ended) == 4

    asyncio.run(go())
    assert len(ended) == 4


def test_what_a_measurement_raises_comes_out() -> None:
    """An exception is a bug of the check, and must reach the runner."""

    async def measure(peer: Peer) -> None:
        raise ZeroDivisionError

    async def go() -> None:
        async for _ in for_each_peer(PEERS, measure, at_once=4):
            pass

    with pytest.raises(ZeroDivisionError):
        asyncio.run(go())


def test_further_questions_go_out_beside_a_silent_first_one() -> None:
    """Waits that follow one another are what makes a broken path slow; an answer after all ends the others."""
    ended: list[str] = []

    async def run(first: str) -> tuple[str, str | None]:
        begun, never = asyncio.Event(), asyncio.Event()

        async def question() -> str:
            await begun.wait()
            return first

        async def others() -> str:
            begun.set()
            try:
                if first == "answer":
                    await never.wait()
            finally:
                ended.append(first)
            return "more"

        return await beside(question(), others, enough=lambda said: said == "answer", after_s=0.0)

    assert asyncio.run(run("silence")) == ("silence", "more")
    assert asyncio.run(run("answer")) == ("answer", None)
    assert ended == ["silence", "answer"]


def test_nothing_more_is_asked_where_the_first_answer_is_enough() -> None:
    """A healthy peer gets no packet more."""

    async def at_once() -> str:
        return "answer"

    async def others() -> str:
        raise AssertionError("asked")

    async def run() -> tuple[str, str | None]:
        return await beside(at_once(), others, enough=bool)

    assert asyncio.run(run()) == ("answer", None)
