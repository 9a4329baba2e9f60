"""Who may load the network now: any number in parallel, or one alone, and how soon after one another they begin.

What looks like trouble next to other work may be that work. It is looked at again alone before it is called the path's.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, TypeVar

P = TypeVar("P")
T = TypeVar("T")

FIRST_GAP_S, LONGEST_GAP_S = 0.05, 0.5
BACK_OFF = 4
WAITED_MS = 20.0
"""By how much answers differ where the later ones waited in a queue."""


class Turns:
    """Turns in parallel, at most as many as `most` says at the moment, or one alone, for which all others wait.

    sharing: how many have a turn next to others.

    Who has a turn may take one alone within it: the first is given back for that time, so that two who do so wait for
    each other's work and not for each other.
    """

    def __init__(self, most: Callable[[], int] | None = None) -> None:
        self._most = most
        self.sharing = 0
        self._waiting_alone = 0
        self._alone = False
        self._sleepers: set[asyncio.Future[None]] = set()
        self._waited_s, self._since = 0.0, 0.0

    @property
    def waited_s(self) -> float:
        """For how long somebody has waited for a turn alone or had one, seconds."""
        return self._waited_s + (monotonic() - self._since if self._waiting_alone else 0.0)

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """A turn next to others."""
        while self._waiting_alone or (self._most is not None and self.sharing >= self._most()):
            await self._sleep()
        self.sharing += 1
        try:
            yield
        finally:
            self.sharing -= 1
            self._wake()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """A turn with nobody else, for somebody who has none."""
        self._since = self._since if self._waiting_alone else monotonic()
        self._waiting_alone += 1
        try:
            while self._alone or self.sharing:
                await self._sleep()
            self._alone = True
            try:
                yield
            finally:
                self._alone = False
        finally:
            self._waiting_alone -= 1
            if not self._waiting_alone:
                self._waited_s += monotonic() - self._since
            self._wake()

    @asynccontextmanager
    async def alone_instead(self) -> AsyncIterator[None]:
        """A turn alone within the turn that the caller shares with others, which is given back for that time.

        So two who do this wait for each other's work, and not for each other.
        """
        had = min(self.sharing, 1)  # a check that no runner runs has none
        self.sharing -= had
        self._wake()
        try:
            async with self.alone():
                yield
        finally:
            self.sharing += had

    async def _sleep(self) -> None:
        sleeper = asyncio.get_running_loop().create_future()
        self._sleepers.add(sleeper)
        try:
            await sleeper
        finally:
            self._sleepers.discard(sleeper)

    def _wake(self) -> None:
        for sleeper in self._sleepers:
            if not sleeper.done():
                sleeper.set_result(None)


class Starts:
    """When the next of many short measurements begins: at first slowly, then sooner, and later where a queue fills.

    shortest_s: between two starts on a path on which nothing waits.
    """

    def __init__(self, shortest_s: float) -> None:
        self.gap_s = max(FIRST_GAP_S, shortest_s)
        self._shortest_s = shortest_s
        self._next_at = 0.0
        self._one = asyncio.Lock()

    def spaced(
        self, measure: Callable[[P], Awaitable[T]], shown: Callable[[T], tuple[Sequence[float], int]]
    ) -> Callable[[P], Coroutine[Any, Any, T]]:
        """A measurement that waits for its start. shown: its round trips, and how many packets it lost."""

        async def started(what: P) -> T:
            await self.wait()
            measured = await measure(what)
            self.saw(*shown(measured))
            return measured

        return started

    async def wait(self) -> None:
        """Wait for the next start."""
        async with self._one:
            await asyncio.sleep(self._next_at - monotonic())
            self._next_at = monotonic() + self.gap_s

    def saw(self, rtt_ms: Sequence[float], lost: int) -> None:
        """What a measurement met. One without any answer shows nothing of a queue."""
        if not rtt_ms:
            return
        if lost or max(rtt_ms) - min(rtt_ms) >= WAITED_MS:
            self.gap_s = min(self.gap_s * BACK_OFF, LONGEST_GAP_S)
        else:
            self.gap_s = max(self.gap_s / 2, self._shortest_s)
