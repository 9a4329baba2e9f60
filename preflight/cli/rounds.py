"""Measuring in the background: each target in its turn, and what was last found of it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Generic, TypeVar

Target = TypeVar("Target")


@dataclass(frozen=True, slots=True)
class Found:
    """What one run found of a target. text: its exposition. good: nothing failed. Both times in seconds (monotonic)."""

    text: str
    good: bool
    began_s: float
    ended_s: float


class Rounds(Generic[Target]):
    """The targets' last results, kept fresh by `run`: who waits longest is next, one at a time, so that none disturbs
    another.

    measure: runs the checks of a target, and returns the exposition and whether it is good. interval_s: the least time
    between two runs of one target. clock, wait: in seconds.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        measure: Callable[[Target], Awaitable[tuple[str, bool]]],
        interval_s: float,
        clock: Callable[[], float] = monotonic,
        wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.targets = targets
        self._measure = measure
        self._interval_s = interval_s
        self._clock = clock
        self._wait = wait
        self._found: dict[Target, Found] = {}

    @property
    def found(self) -> Mapping[Target, Found]:
        """The last result of each target that was measured."""
        return self._found

    def age_s(self, found: Found) -> float:
        """How old a result is, seconds."""
        return self._clock() - found.ended_s

    async def run(self) -> None:
        """Measure until it is cancelled."""
        while self.targets:
            target = min(self.targets, key=self._due_s)
            await self._wait(max(0.0, self._due_s(target) - self._clock()))
            began_s = self._clock()
            text, good = await self._measure(target)
            self._found[target] = Found(text, good, began_s, self._clock())

    def _due_s(self, target: Target) -> float:
        """When it may be measured again; those without a result are due since ever, in their order."""
        last = self._found.get(target)
        return last.began_s + self._interval_s if last is not None else float("-inf")
