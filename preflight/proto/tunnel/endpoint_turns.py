"""Whether a peer's endpoint goes to and fro between two places, as it does where two machines have its key; pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

LEAST_CHANGES = 3
"""There, back, and there again: a machine that has moved changes once, and one that comes back changes twice."""


@dataclass(frozen=True, slots=True)
class Turns:
    """The two places, in the order in which they were seen, and how often it changed."""

    places: tuple[str, str]
    changes: int


def turns(seen: Iterable[str | None]) -> Turns | None:
    """From a peer's endpoints at several moments; None where they show one machine, or do not show two.

    One machine may well be reached by IPv4 and by IPv6 in turn, so both places have to be of one family.
    """
    places = _places(seen)
    for first, second in pairwise(places):
        between = [place for place in places if place in (first, second)]
        changes = len(list(groupby(between))) - 1
        if changes >= LEAST_CHANGES and first.startswith("[") == second.startswith("["):
            return Turns((first, second), changes)
    return None


def moved(seen: Iterable[str | None]) -> bool:
    """Whether there was any change, so that it is worth a longer look."""
    return len(_places(seen)) > 1


def _places(seen: Iterable[str | None]) -> Sequence[str]:
    """Without repetitions; a moment without an endpoint says nothing."""
    return [place for place, _ in groupby(each for each in seen if each is not None)]
