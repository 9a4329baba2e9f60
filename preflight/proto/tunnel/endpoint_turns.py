"""Whether a peer's endpoint goes to and fro between two places, as it does where two machines have its key; pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import NamedTuple

LEAST_CHANGES = 3
"""There, back, and there again: a machine that has moved changes once, and one that comes back changes twice."""
LEAST_WITH_HANDSHAKES = 2
"""There and back, where each change came with another handshake: a machine that moves keeps its session."""

LEAST_RENEWED = 4
"""Sessions at one place that follow each other within seconds; of a peer that has restarted there is one more."""


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
    """The two places, in the order in which they were seen, and how often it changed.

    Twice the same place: the peer stays there, and each change was another session with it.
    """

    places: tuple[str, str]
    changes: int

    @property
    def of_this_node(self) -> bool:
        """Whether it is this node from which another machine takes the session."""
        return self.places[0] == self.places[1]


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


def renewals(seen: Iterable[Seen]) -> Turns | None:
    """Sessions that the peer takes from this node, from a product's own list; None where they do not show that."""
    known = tuple(each for each in seen if each.endpoint is not None)
    renewed = _renewed(known)
    return Turns((place := _places(known)[0], place), renewed) if renewed >= LEAST_RENEWED else None


def moved(seen: Iterable[Seen]) -> bool:
    """Whether there was any change, so that it is worth a longer look."""
    known = tuple(each for each in seen if each.endpoint is not None)
    return len(_places(known)) > 1 or _renewed(known) > 0


def _renewed(seen: Sequence[Seen]) -> int:
    """How often another session with a peer that stays at one place took the place of the one before."""
    sessions = [session for session, _ in groupby(each.session for each in seen)]
    stays = len({each.endpoint for each in seen}) == 1
    return len(sessions) - 1 if stays and None not in sessions and len(set(sessions)) == len(sessions) else 0


def _places(seen: Iterable[Seen]) -> Sequence[str]:
    """Without repetitions; a moment without an endpoint says nothing."""
    return [place for place, _ in groupby(each.endpoint for each in seen if each.endpoint is not None)]


def _handshakes_each(seen: Sequence[Seen]) -> bool:
    """Whether each change of place came with a session that was not there before."""
    sessions = [next(members).session for _, members in groupby(seen, key=lambda each: each.endpoint)]
    return None not in sessions and len(set(sessions)) == len(sessions)
