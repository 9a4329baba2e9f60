"""When a node's clock shows what: from steps that the controller saw begin and end. Pure.

A step that began at B and ended at E on the controller's clock, and in which the node read T on its own, says that the
node's clock is between T - E and T - B ahead. Several steps leave what they all allow. The clocks are those that
nobody sets, so no node's time needs to be right.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Offset:
    """How far a node's clock is ahead of the controller's, seconds: at least `low`, at most `high`."""

    low: float
    high: float

    @property
    def middle(self) -> float:
        """The best guess."""
        return (self.low + self.high) / 2

    @property
    def error(self) -> float:
        """How wrong the guess may be, seconds."""
        return (self.high - self.low) / 2


def offset_of(readings: Iterable[tuple[float, float, float]]) -> Offset:
    """From (began, ended, the node's clock) of one step or more, all in seconds."""
    known = list(readings)
    low = max(shown - ended for _, ended, shown in known)
    high = min(shown - began for began, _, shown in known)
    if low > high:  # a clock was read late; the tightest step alone is then the best that is known
        began, ended, shown = min(known, key=lambda each: each[1] - each[0])
        return Offset(shown - ended, shown - began)
    return Offset(low, high)
