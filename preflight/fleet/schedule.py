"""Who measures whom, in which round. Pure.

In a round no node measures or is measured twice, and no site's uplink carries more than one pair: probes would disturb
one another, and a slow uplink would show jitter that nobody has. The rounds are those of a tournament (circle method);
where sites have uplinks, a pair moves to the first round that has both of its uplinks free.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from random import Random
from typing import NamedTuple


class Pair(NamedTuple):
    """Two nodes; the first measures both directions."""

    initiator: str
    target: str


Round = tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Which pairs are wanted: all; those of `sample` rounds, chosen at random; or those of one node."""

    sample: int | None = None
    node: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Pairs":
        """Read `all`, `sample:K` or `from:NODE`. Raises ValueError."""
        kind, _, value = text.partition(":")
        if text == "all":
            return cls()
        if kind == "sample" and value.isascii() and value.isdecimal() and int(value) > 0:
            return cls(sample=int(value))
        if kind == "from" and value:
            return cls(node=value)
        raise ValueError(f"{text!r} is not all, sample:K or from:NODE")


def make_rounds(
    nodes: Sequence[str], wanted: Pairs, sites: Mapping[str, str], seed: int = 0, only: frozenset[Pair] | None = None
) -> tuple[Round, ...]:
    """The rounds of a run. sites: the site of each node that has one. only: these pairs, in either order.

    Raises ValueError if `wanted` names a node that does not exist.
    """
    if wanted.node is not None and wanted.node not in nodes:
        raise ValueError(f"there is no node {wanted.node!r}")
    rounds = _circle(nodes)
    if wanted.sample is not None:
        rounds = Random(seed).sample(rounds, min(wanted.sample, len(rounds)))  # noqa: S311 - no secret depends on it
    if wanted.node is not None:
        rounds = [[_started_by(wanted.node, pair) for pair in row if wanted.node in pair] for row in rounds]
    if only is not None:
        chosen = {frozenset(pair) for pair in only}
        rounds = [[pair for pair in row if frozenset(pair) in chosen] for row in rounds]
        return _packed([pair for row in rounds for pair in row], sites)
    if any(_uplinks(pair, sites) for row in rounds for pair in row):
        return _packed([pair for row in rounds for pair in row], sites)
    return tuple(tuple(row) for row in rounds if row)


def _circle(nodes: Sequence[str]) -> list[list[Pair]]:
    """Each pair once: one place stays, the others move by one a round; of an odd number one rests."""
    places: list[int | None] = [*range(len(nodes)), *([None] if len(nodes) % 2 else [])]
    half, rounds = len(places) // 2, []
    for _ in range(len(places) - 1):
        opposite = zip(places[:half], reversed(places[half:]), strict=True)
        rounds.append([_pair(nodes, one, other) for one, other in opposite if one is not None and other is not None])
        places = [places[0], places[-1], *places[1:-1]]
    return rounds


def _pair(nodes: Sequence[str], one: int, other: int) -> Pair:
    """Who starts depends on whether the sum of the numbers is odd, so each node starts about half of its pairs."""
    first, second = sorted((one, other), reverse=(one + other) % 2 == 0)
    return Pair(nodes[first], nodes[second])


def _started_by(node: str, pair: Pair) -> Pair:
    return pair if pair.initiator == node else Pair(*reversed(pair))


def _uplinks(pair: Pair, sites: Mapping[str, str]) -> frozenset[str]:
    """The uplinks that a pair loads: those of both sites, none within one site."""
    ends = [sites.get(node) for node in pair]
    return frozenset() if ends[0] == ends[1] else frozenset(site for site in ends if site is not None)


def _packed(pairs: Sequence[Pair], sites: Mapping[str, str]) -> tuple[Round, ...]:
    """Each pair in the first round in which its nodes and uplinks are free."""
    rounds: list[list[Pair]] = []
    busy: dict[tuple[str, str], int] = defaultdict(int)  # a bit for each round
    for pair in pairs:
        needed = [("node", node) for node in pair] + [("uplink", site) for site in _uplinks(pair, sites)]
        taken = reduce(or_, (busy[each] for each in needed))
        lowest_free = ~taken & (taken + 1)
        number = lowest_free.bit_length() - 1
        if number == len(rounds):
            rounds.append([])
        rounds[number].append(pair)
        for each in needed:
            busy[each] |= lowest_free
    return tuple(map(tuple, rounds))
