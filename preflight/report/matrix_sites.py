"""Sites under suspicion: what the bad ways between nodes of different sites have in common. Pure.

A site is what shares an uplink. Its ways to other sites are blamed on it only if none of them is good, more than one
of its nodes saw it, and more than one other site is at the other end; else it may be a node's fault, or a pair's.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from preflight.report.matrix import Scope

Ends = tuple[str, str]
_ENOUGH = 2


@dataclass(frozen=True, slots=True)
class Suspect:
    """Who may be to blame for these ways: a node or two, a site or two."""

    scope: Scope
    nodes: tuple[str, ...]
    ways: frozenset[Ends]


def site_suspects(bad: Iterable[Ends], good: Iterable[Ends], sites: Mapping[str, str]) -> Iterator[Suspect]:
    """Sites, and pairs of them, between which every measured way is bad, in both directions or in one."""
    between = _between(bad, sites)
    fine = _between(good, sites).keys()
    yield from _pairs({ends: ways for ends, ways in between.items() if ends not in fine})
    to, source = _grouped(between, 1), _grouped(between, 0)
    received, sent = {target for _, target in fine}, {source for source, _ in fine}
    for site in sorted(to.keys() | source.keys()):
        whole_to = site not in received and _is_several(to[site], 1, sites)
        whole_from = site not in sent and _is_several(source[site], 0, sites)
        if whole_to and whole_from:
            yield Suspect("site", (site,), frozenset(to[site] | source[site]))
        elif whole_to:
            yield Suspect("to-site", (site,), frozenset(to[site]))
        elif whole_from:
            yield Suspect("from-site", (site,), frozenset(source[site]))


def _between(ways: Iterable[Ends], sites: Mapping[str, str]) -> dict[Ends, set[Ends]]:
    """The ways between different sites, by these sites."""
    found: dict[Ends, set[Ends]] = defaultdict(set)
    for source, target in ways:
        ends = sites.get(source), sites.get(target)
        if ends[0] is not None and ends[1] is not None and ends[0] != ends[1]:
            found[ends[0], ends[1]].add((source, target))
    return found


def _grouped(between: Mapping[Ends, set[Ends]], end: int) -> dict[str, set[Ends]]:
    """All ways by the site at one end."""
    found: dict[str, set[Ends]] = defaultdict(set)
    for ends, ways in between.items():
        found[ends[end]] |= ways
    return found


def _is_several(ways: set[Ends], end: int, sites: Mapping[str, str]) -> bool:
    """Whether neither one node of the site nor one other site can be the reason."""
    own, others = {way[end] for way in ways}, {sites[way[1 - end]] for way in ways}
    return len(own) >= _ENOUGH and len(others) >= _ENOUGH


def _pairs(dead: Mapping[Ends, set[Ends]]) -> Iterator[Suspect]:
    """Two sites, if more than one node of each saw it."""
    proven = {
        ends: ways for ends, ways in dead.items() if all(len({way[end] for way in ways}) >= _ENOUGH for end in (0, 1))
    }
    for ends, ways in proven.items():
        back = (ends[1], ends[0])
        if back not in proven:
            yield Suspect("site-way", ends, frozenset(ways))
        elif ends < back:
            yield Suspect("site-pair", ends, frozenset(ways | proven[back]))
