"""How fast this node may ask: as fast as it likes, until something on the way says that it asks too fast."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from preflight.model.control import HttpAnswer
from preflight.proto.control.answerer import asked_to_wait, says_too_many
from preflight.proto.control.answers import THROTTLED, Finding
from preflight.proto.control.limits import NARROW_S, narrow
from preflight.proto.control.populi import is_populi

FIRST_GAP_S, WIDEST_GAP_S, WIDER = 0.25, 1.0, 1.25
"""Between the starts of two requests: four a second pass most limits; after each refusal fewer, and at least one."""
LONGEST_GAP_S = 4.0
"""Where requests are held back, and more of them would wait behind each other."""
MOST_WAITED_S = 5.0
OTHERS_REFUSED = 2
"""Routes that answer 503 and have never passed: more than one that does not work."""
SETTLED_S, SETTLING = NARROW_S + 0.05, 2
"""Where the last one passed longer ago, the first request only makes it recent."""
REFUSED_IN_ROW = 5
"""Refusals at a slower and slower pace, without an answer between, that show that it is not the pace."""


class Pace:
    """The turns of all requests to one control plane, so that checks at the same time do not press it together."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._gap_s = self._next_s = self._widened_s = self._since_s = 0.0
        self._passed = self._refused = 0
        self._lives = False
        self._passing: set[str] = set()
        self._refusing: set[str] = set()
        self._last_passed_s: float | None = None
        self._too_early_s = 0.0
        self._refusal: HttpAnswer | None = None

    @property
    def limited(self) -> bool:
        """Whether anything has said that these are too many requests, or holds them back.

        Where it refuses however slowly it is asked, as one that counts the requests for each route does, a pace of all
        requests together does not help: then each is repeated when its answer said so.
        """
        return self._gap_s > 0 and (self._refused < REFUSED_IN_ROW or self.narrow)

    @property
    def refused(self) -> bool:
        """Whether anything has ever said that these are too many requests, or held them back."""
        return self._since_s > 0

    @property
    def rate(self) -> float:
        """How many requests a second have passed since then, of all checks together."""
        return max(1, self._passed) / max(1.0, self._clock() - self._since_s)

    @property
    def narrow(self) -> bool:
        """Whether about one request a second passes, or fewer."""
        return self._too_early_s >= NARROW_S

    def finding(self) -> Finding | None:
        """What to say of such a limit."""
        return narrow(self._too_early_s, self._refusal) if self.narrow else None

    async def settle(self, ask: Callable[[], Awaitable[object]]) -> None:
        """Where a limit was seen, see whether it is so narrow: ask once so long after the last request that passed."""
        for _ in range(SETTLING):
            if not self.refused or self.narrow or self._last_passed_s is None:
                return
            late_s = self._clock() - self._last_passed_s - SETTLED_S
            await asyncio.sleep(max(0.0, -late_s))
            self._next_s = min(self._next_s, self._clock())  # a turn by the pace would come too late to show it
            await ask()
            if late_s <= 0:
                return

    def limit(self, gap_s: float) -> None:
        """Ask no faster than this from now on: what is asked faster is held back."""
        self._since_s = self._since_s or self._clock()
        self._too_early_s = max(self._too_early_s, gap_s)
        self._gap_s = min(LONGEST_GAP_S, max(self._gap_s, gap_s))

    def turn_s(self) -> float:
        """Take a turn; how long until it comes, seconds."""
        now = self._clock()
        turn = max(now, self._next_s) if self.limited else now
        self._next_s = turn + self._gap_s if self.limited else turn
        return turn - now

    async def turn(self) -> float:
        """Wait for a turn; when it came, by the clock."""
        if (wait_s := self.turn_s()) > 0:
            await asyncio.sleep(wait_s)
        return self._clock()

    def refuses(self, answer: HttpAnswer, route: str = "") -> bool:
        """Whether an answer refuses a request for their number. route: what was asked.

        A 503 before any answer of a control plane, or at one route that never passed, is what does not work.
        """
        if not says_too_many(answer) or answer.status == THROTTLED:
            return says_too_many(answer)
        return self._lives and (route in self._passing or len(self._refusing - {route}) >= OTHERS_REFUSED)

    def hear(self, answer: HttpAnswer, started_s: float, route: str = "") -> None:
        """Go slower after a refusal of what was asked at this pace, and wait as long as it asks for."""
        self._lives = self._lives or is_populi(answer)
        if not self.refuses(answer, route):
            if says_too_many(answer):
                self._refusing.add(route)
                return
            self._passing.add(route)
            self._last_passed_s = max(started_s, self._last_passed_s or started_s)
            if self.limited:
                self._passed, self._refused = self._passed + 1, 0
            return
        now = self._clock()
        passing = self._last_passed_s is not None and route in self._passing
        if passing and started_s - (self._last_passed_s or 0.0) > self._too_early_s:
            self._too_early_s, self._refusal = started_s - (self._last_passed_s or 0.0), answer
        self._since_s = self._since_s or now
        if started_s >= self._widened_s:
            self._refused += self.limited
            self._gap_s = min(max(WIDEST_GAP_S, self._gap_s), self._gap_s * WIDER) or FIRST_GAP_S
            self._widened_s = now
        wait_s = asked_to_wait(answer) or self._gap_s
        self._next_s = max(self._next_s, now + min(MOST_WAITED_S, wait_s))
