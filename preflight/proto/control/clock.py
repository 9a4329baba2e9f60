"""How far two clocks differ, from the `Date` of HTTP answers."""

from collections.abc import Iterable
from dataclasses import dataclass

from preflight.model.control import HttpAnswer
from preflight.proto.control.http import http_date

DATE_LAG_S = 2.0
"""`Date` has a resolution of 1 s, and common servers renew it only once a second."""


@dataclass(frozen=True, slots=True)
class Offset:
    """The other clock minus this one is from `low_s` to `high_s`, seconds."""

    low_s: float
    high_s: float

    @property
    def middle_s(self) -> float:
        """The best guess."""
        return (self.low_s + self.high_s) / 2

    @property
    def error_s(self) -> float:
        """Half the width: the guess is this good, plus or minus."""
        return (self.high_s - self.low_s) / 2

    @property
    def least_s(self) -> float:
        """The smallest difference that the measurement allows, as an absolute value."""
        return 0.0 if self.low_s <= 0.0 <= self.high_s else min(abs(self.low_s), abs(self.high_s))


def clock_offset(answers: Iterable[HttpAnswer]) -> Offset | None:
    """The offset that all answers allow; None if no answer has a fresh `Date`, or if they contradict one another.

    The server stamped each answer after the request was sent and before the answer arrived. Answers from a cache
    say nothing about now.
    """
    fresh = (each for each in answers if each.headers.get("age", "0") == "0" and not each.kept)
    bounds = [
        (date - answer.received_unix_s, date + DATE_LAG_S - answer.sent_unix_s)
        for answer in fresh
        if (date := http_date(answer.headers.get("date"))) is not None
    ]
    if not bounds:
        return None
    low, high = max(bound[0] for bound in bounds), min(bound[1] for bound in bounds)
    return Offset(low, high) if low <= high else None
