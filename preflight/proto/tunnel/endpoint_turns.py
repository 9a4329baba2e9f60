"""Whether a peer's endpoint goes to and fro between two places, as it does where two machines have its key; pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import NamedTuple

LEAST_CHANGES = 3
"""There, back, and there again: a machine that has moved changes once, and one that comes back changes twice."""
LEAST_WITH_HANDSHAKES = 2
"""There and back, where each change came with another handshake: a machine that moves keeps its session."""


class Seen(NamedTuple):
    """Where a peer was at one moment, and the number of the session with it, where the product shows it."""

    endpoint: str | None
    session: int | None = None


class Watched(NamedTuple):
    """Where a peer was at several moments, in order. since_s: from which moment of the steady clock on."""

    since_s: float
    seen: Sequence[Seen]


@dataclass(frozen=True, slots=True)
class Turns:
    """The two places, in the order in which they were seen, and how often it changed."""

    places: tuple[str, str]
    changes: int


def turns(seen: Iterable[Seen]) -> Turns | None:
    """From a peer's endpoints at several moments; None where they show one machine, or do not show two.

    One machine may well be reached by IPv4 and by IPv6 in turn, so both places have to be of one family.
    """
    known = tuple(each for each in seen if each.endpoint is not None)
    places = _places(known)
    least = LEAST_WITH_HANDSHAKES if _handshakes_each(known) else LEAST_CHANGES
    for first, second in pairwise(places):
        between = [place for place in places if place in (first, second)]
        changes = len(list(groupby(between))) - 1
        if changes >= least and first.startswith("[") == second.startswith("["):
            return Turns((first, second), changes)
    return None


def moved(seen: Iterable[Seen]) -> bool:
    """Whether there was any change, so that it is worth a longer look."""
    return len(_places(seen)) > 1


def _places(seen: Iterable[Seen]) -> Sequence[str]:
    """Without repetitions; a moment without an endpoint says nothing."""
    return [place for place, _ in groupby(each.endpoint for each in seen if each.endpoint is not None)]


def _handshakes_each(seen: Sequence[Seen]) -> bool:
    """Whether each change of place came with a session that was not there before."""
    sessions = [next(members).session for _, members in groupby(seen, key=lambda each: each.endpoint)]
    return None not in sessions and len(set(sessions)) == len(sessions)
