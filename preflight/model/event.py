"""What a core or a shell did, told to one listener: the timeline of a run.

A core takes a `Tell` and says what it sends, learns and decides; so does a shell. Without a listener that is a call of
an empty function. Fields hold numbers, sizes, addresses and words of the protocol: never a datagram's content, a token
or a key.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

Field = int | float | str | bool | None | Sequence[int | float | str]
"""A JSON-ready value; its unit stands in the field's name (`size_bytes`, `wait_s`)."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    at_s: seconds of the run's steady clock (`time.monotonic`). source: the module that tells it, as `pmtu.fast`.
    subject: what it is about, as `10.66.0.2 forward`; empty for the run as a whole. name: what happened (`probe-sent`).
    """

    at_s: float
    source: str
    subject: str
    name: str
    fields: Mapping[str, Field]


Listener = Callable[[Event], None]


class Tell(Protocol):
    """Tells one event at a time, seconds of the steady clock that the caller goes by."""

    def __call__(self, now: float, name: str, /, **fields: Field) -> None:
        """Tell that `name` happened at `now`."""


def silent(now: float, name: str, /, **fields: Field) -> None:
    """Tell nobody."""


def telling(listener: Listener | None, source: str, subject: str = "") -> Tell:
    """What tells `listener` about one subject; `silent` where nobody listens."""
    if listener is None:
        return silent

    def tell(now: float, name: str, /, **fields: Field) -> None:
        listener(Event(now, source, subject, name, fields))

    return tell
