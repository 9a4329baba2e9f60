"""Turns: who works alone has no others around, and nobody waits for ever."""

import asyncio
from collections.abc import Coroutine
from itertools import pairwise
from typing import Any

from preflight.net.turns import BACK_OFF, FIRST_GAP_S, LONGEST_GAP_S, Starts, Turns


def together(*work: Coroutine[Any, Any, None]) -> None:
    """Run all of it at one time."""

    async def run() -> None:
        async with asyncio.timeout(5):
            await asyncio.gather(*work)

    asyncio.run(run())


class Work:
    """What several workers do, as a list of what began and ended."""

    def __init__(self, turns: Turns) -> None:
        self.turns, self.seen = turns, list[str]()

    async def beside(self, name: str, rounds: int = 3) -> None:
        """Next to others."""
        async with self.turns.shared():
            await self._do(name, rounds)

    async def alone(self, name: str) -> None:
        """Next to others at first, then alone, then next to others again."""
        async with self.turns.shared():
            await asyncio.sleep(0)
            async with self.turns.alone_instead():
                assert self.turns.sharing == 0
                await self._do(name, 3)
            assert self.turns.sharing >= 1

    async def _do(self, name: str, rounds: int) -> None:
        self.seen.append(f"{name} begins")
        for _ in range(rounds):
            await asyncio.sleep(0)
        self.seen.append(f"{name} ends")


def whole(seen: list[str], name: str) -> bool:
    """Whether nothing else began or ended while this worked."""
    return seen.index(f"{name} ends") == seen.index(f"{name} begins") + 1


def test_who_is_alone_has_nobody_beside() -> None:
    """A measurement next to others shows their packets too."""
    work = Work(Turns())
    together(work.beside("a", 9), work.alone("x"), work.beside("b"), work.alone("y"), work.beside("c"))
    assert whole(work.seen, "x")
    assert whole(work.seen, "y")
    assert work.turns.sharing == 0


def test_those_beside_each_other_are_no_more_than_allowed() -> None:
    """The limit may change while others wait."""
    most, seen = [1], list[int]()
    turns = Turns(lambda: most[0])

    async def work() -> None:
        async with turns.shared():
            seen.append(turns.sharing)
            await asyncio.sleep(0)
            most[0] = 2

    together(*(work() for _ in range(5)))
    assert (seen[0], max(seen)) == (1, 2)


def test_who_is_cancelled_while_waiting_leaves_nothing_behind() -> None:
    """A check whose time is up must not keep all others from beginning."""

    async def run() -> None:
        turns = Turns()
        async with turns.shared():
            task = asyncio.create_task(Work(turns).alone("x"))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert turns.sharing == 1
        async with asyncio.timeout(5), turns.shared():
            assert turns.sharing == 1

    asyncio.run(run())


def test_without_a_runner_nobody_is_waited_for() -> None:
    """A check that is called by itself has no turn to give back."""

    async def run() -> None:
        turns = Turns()
        async with asyncio.timeout(5), turns.alone_instead():
            assert turns.waited_s >= 0
        assert turns.sharing == 0

    asyncio.run(run())


def test_starts_follow_each_other_sooner_while_nothing_waits() -> None:
    """A large mesh is begun quickly on a quick line, and slowly on a slow one."""
    starts = Starts(0.005)
    assert starts.gap_s == FIRST_GAP_S
    for _ in range(10):
        starts.saw((0.5, 0.6), 0)
    assert starts.gap_s == 0.005
    starts.saw((0.5, 60.0), 0)
    assert starts.gap_s == 0.005 * BACK_OFF
    starts.saw((), 10)  # a dead peer shows nothing of the line
    assert starts.gap_s == 0.005 * BACK_OFF
    for _ in range(10):
        starts.saw((0.5,), 3)
    assert starts.gap_s == LONGEST_GAP_S


def test_starts_keep_their_distance() -> None:
    """Many at once are a burst."""
    starts, began = Starts(0.0), list[float]()
    starts.gap_s = 0.01

    async def start() -> None:
        await starts.wait()
        began.append(asyncio.get_running_loop().time())

    together(*(start() for _ in range(4)))
    assert all(later - sooner >= 0.009 for sooner, later in pairwise(began))
