"""One probe of a path-MTU search: what was sent, and whether it arrived; pure."""

from dataclasses import dataclass


@dataclass(slots=True)
class Probe:
    """One packet in the measured direction, or one greeting (size SMALLEST). Times in seconds of any steady clock."""

    number: int
    size: int
    greeting: bool = False
    sent_at: float | None = None
    arrived: bool = False
    arrived_at: float = 0.0
    given_up: bool = False
