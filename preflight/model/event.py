"""Events of cores and shells for one listener: the timeline of a run.

A core or shell takes a `Tell` and reports what it sends, learns and decides. Without a listener that is a call of an
empty function. Fields contain numbers, sizes, addresses and words of the protocol: never a datagram's content, a token
or a key.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from preflight.model.measurement import Measurement


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    at_s: seconds of the run's steady clock (`time.monotonic`). source: the module that reports it, such as `pmtu.fast`.
    subject: what it is about, as `10.66.0.2 forward`; empty for the run as a whole. name: what happened (`probe-sent`).
    """

    at_s: float
    source: str
    subject: str
    name: str
    fields: Mapping[str, Measurement]


Listener = Callable[[Event], None]


class Tell(Protocol):
    """Reports one event with its time, seconds of the caller's steady clock."""

    def __call__(self, now: float, name: str, /, **fields: Measurement) -> None:
        """Report that `name` happened at `now`."""


def silent(now: float, name: str, /, **fields: Measurement) -> None:
    """Report nothing."""


def telling(listener: Listener | None, source: str, subject: str = "") -> Tell:
    """A `Tell` that reports to `listener` about one subject; `silent` without a listener."""
    if listener is None:
        return silent

    def tell(now: float, name: str, /, **fields: Measurement) -> None:
        listener(Event(now, source, subject, name, fields))

    return tell
