"""The log of a run's questions: what one check has asked a moment ago, another one does not ask again."""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from preflight.model.control import ControlError, HttpAnswer
from preflight.proto.control.answers import SERVER_ERROR, THROTTLED

Recall = Literal["nothing", "unchanged", "any"]
"""Which answers of a moment ago are as good as a new one: those since this run's last write, or those before it too."""
KNOWN_S = 5.0
"""How long an answer is as good as a new one."""
MOST_KEPT = 32
"""Answers to one question."""


@dataclass(frozen=True, slots=True)
class Question:
    """A request that changes nothing. bearer: whose answer it is; never shown."""

    path: str
    bearer: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class _Entry:
    answer: HttpAnswer
    at: float
    writes: int


class RequestLog:
    """The last answers to each question, and who is asking it now. now: a monotonic clock, in seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._entries: dict[Question, deque[_Entry]] = defaultdict(partial(deque[_Entry], maxlen=MOST_KEPT))
        self._asking: dict[Question, asyncio.Lock] = {}
        self._ahead: set[asyncio.Task[object]] = set()
        self.writes = 0

    def note(self, question: Question, answer: HttpAnswer, writes: int = 0) -> None:
        """Keep an answer, except one that says `later` or that something failed. writes: before it was asked."""
        if answer.status != THROTTLED and answer.status < SERVER_ERROR:
            self._entries[question].append(_Entry(answer, self._now(), writes))

    def known(self, question: Question, most_bytes: int, recall: Recall = "unchanged") -> HttpAnswer | None:
        """The answer of a moment ago, if all is kept of it that is wanted."""
        entry = self._entries[question][-1] if recall != "nothing" and self._entries[question] else None
        if entry is None or self._now() - entry.at > KNOWN_S or (entry.writes < self.writes and recall != "any"):
            return None
        return entry.answer if not entry.answer.cut or len(entry.answer.body) >= most_bytes else None

    def lately(self, question: Question) -> tuple[HttpAnswer, ...]:
        """All answers of a moment ago, the last one last."""
        return tuple(each.answer for each in self._entries[question] if self._now() - each.at <= KNOWN_S)

    def written(self) -> None:
        """This run wrote something, so the next answers may be others."""
        self.writes += 1

    @asynccontextmanager
    async def alone(self, question: Question) -> AsyncGenerator[None]:
        """Wait for anyone who is asking the same."""
        async with self._asking.setdefault(question, asyncio.Lock()):
            yield

    def ahead(self, asking: Coroutine[object, object, object]) -> None:
        """Ask what somebody will want to know in a moment; who then recalls it waits for this answer."""
        task = asyncio.get_running_loop().create_task(_quietly(asking))
        self._ahead.add(task)
        task.add_done_callback(self._ahead.discard)

    async def end(self) -> None:
        """Ask nothing more ahead."""
        for task in self._ahead:
            task.cancel()
        await asyncio.gather(*self._ahead, return_exceptions=True)


async def _quietly(asking: Coroutine[object, object, object]) -> object:
    """Who needs the answer asks again, and says what went wrong."""
    try:
        return await asking
    except ControlError:
        return None
