"""The log of a run's questions: what one check has asked a moment ago, another one does not ask again."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

from preflight.model.control import HttpAnswer
from preflight.proto.control.answers import SERVER_ERROR, THROTTLED

Recall = Literal["nothing", "unchanged", "any"]
"""Which answers of a moment ago are as good as a new one: those since this run's last write, or those before it too."""
KNOWN_S = 5.0
"""How long an answer is as good as a new one."""


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
    """The last answer to each question, and who is asking it now. now: a monotonic clock, in seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._entries: dict[Question, _Entry] = {}
        self._writes = 0
        self._asking: dict[Question, asyncio.Lock] = {}

    def note(self, question: Question, answer: HttpAnswer) -> None:
        """Keep an answer, except one that says `later` or that something failed."""
        if answer.status != THROTTLED and answer.status < SERVER_ERROR:
            self._entries[question] = _Entry(answer, self._now(), self._writes)

    def known(self, question: Question, most_bytes: int, recall: Recall = "unchanged") -> HttpAnswer | None:
        """The answer of a moment ago, if all is kept of it that is wanted."""
        entry = None if recall == "nothing" else self._entries.get(question)
        if entry is None or self._now() - entry.at > KNOWN_S or (entry.writes < self._writes and recall != "any"):
            return None
        return entry.answer if not entry.answer.cut or len(entry.answer.body) >= most_bytes else None

    def written(self) -> None:
        """This run wrote something, so the next answers may be others."""
        self._writes += 1

    @asynccontextmanager
    async def alone(self, question: Question) -> AsyncGenerator[None]:
        """Wait for anyone who is asking the same."""
        async with self._asking.setdefault(question, asyncio.Lock()):
            yield
