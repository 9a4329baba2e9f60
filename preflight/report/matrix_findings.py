"""Root causes across nodes: what bad ways have in common, by voting over the nodes that they share. Pure.

A node is blamed for its ways only if none of them is good; a pair if both of its directions are bad; the rest are
single ways. Where sites are known, a site is blamed for its ways to others, and a pair of sites for those between them
(`matrix_sites`). The candidate that explains most bad ways comes first (Boolean tomography by greedy cover, as in 007
and NetBouncer, NSDI 2018 and 2019). A way that died at a proven place on one end does not count against the other end.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from preflight.report.fields import StatusName
from preflight.report.matrix import BROKEN, WORST_FIRST, Finding, OwnCause, Scope, Way, worst
from preflight.report.matrix_sites import Ends, Suspect, site_suspects

_LEVELS: tuple[tuple[StatusName, ...], ...] = (BROKEN, ("warn",))
_ENOUGH = 2
"""One bad way to a node says as much about the other end."""
_WIDEST_FIRST: tuple[Scope, ...] = ("node", "to", "from")


@dataclass(frozen=True, slots=True)
class Told:
    """What a node found about its way to or from a peer.

    ends: source and target of the way; None if both directions are meant. at: the node where it was proven to die.
    """

    by: str
    peer: str
    ends: Ends | None
    code: str
    message: str
    remedies: tuple[str, ...] = ()
    at: str | None = None

    def is_about(self, ends: Ends) -> bool:
        """Whether it explains a way with these ends."""
        return self.ends == ends if self.ends is not None else set(ends) == {self.by, self.peer}


def find_causes(
    ways: Sequence[Way],
    told: Sequence[Told],
    own: Mapping[str, Sequence[OwnCause]],
    sites: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Finding, ...]:
    """The findings that explain every bad way once. own: the causes that each node found at itself."""
    about: dict[Ends, list[Told]] = defaultdict(list)
    for each in told:
        for ends in (each.ends,) if each.ends is not None else ((each.by, each.peer), (each.peer, each.by)):
            about[ends].append(each)
    found = list(_of_control(own))
    for level in _LEVELS:
        bad = {(way.source, way.target): way for way in ways if way.status in level}
        good = {(way.source, way.target) for way in ways if way.status == "pass" or _is_better(way.status, level)}
        found.extend(_explain(bad, good, about, own, sites))
    return tuple(sorted(found, key=lambda each: (WORST_FIRST.index(each.status), -len(each.ways), each.nodes)))


def _is_better(status: StatusName, level: Sequence[StatusName]) -> bool:
    return status == "warn" and "warn" not in level


def _explain(
    bad: Mapping[Ends, Way],
    good: Iterable[Ends],
    about: Mapping[Ends, Sequence[Told]],
    own: Mapping[str, Sequence[OwnCause]],
    sites: Mapping[str, str],
) -> Iterator[Finding]:
    left = dict(bad)
    proven = {ends for ends in bad if any(each.at is not None for each in about.get(ends, ()))}
    suspects = [*_suspects(bad, good, about), *site_suspects(bad.keys() - proven, good, sites)]
    guilty = {node for node, causes in own.items() if any(cause.status in BROKEN for cause in causes)}
    for suspect in sorted(suspects, key=lambda each: (-len(each.ways), each.nodes[0] not in guilty, each.nodes)):
        explained = {ends: left.pop(ends) for ends in sorted(suspect.ways) if ends in left}
        if len(explained) >= _ENOUGH:
            yield _finding(suspect.scope, suspect.nodes, explained, about, own)
        else:
            left.update(explained)
    for ends in sorted(left):
        back = (ends[1], ends[0])
        if back in left and ends < back:
            yield _finding("pair", ends, {each: left[each] for each in (ends, back)}, about, own)
        elif back not in left:
            yield _finding("way", ends, {ends: left[ends]}, about, own)


def _suspects(
    bad: Iterable[Ends],
    good: Iterable[Ends],
    about: Mapping[Ends, Sequence[Told]],
) -> Iterator[Suspect]:
    """Nodes of which every way, or every way in one direction, is bad."""
    to: dict[str, set[Ends]] = defaultdict(set)
    source: dict[str, set[Ends]] = defaultdict(set)
    for ends in bad:
        blamed = {each.at for each in about.get(ends, ()) if each.at is not None}
        if not blamed or ends[1] in blamed:
            to[ends[1]].add(ends)
        if not blamed or ends[0] in blamed:
            source[ends[0]].add(ends)
    received, sent = {target for _, target in good}, {source for source, _ in good}
    for node in to.keys() | source.keys():
        whole_to = len(to[node]) >= _ENOUGH and node not in received
        whole_from = len(source[node]) >= _ENOUGH and node not in sent
        if whole_to and whole_from:
            yield Suspect("node", (node,), frozenset(to[node] | source[node]))
        elif whole_to:
            yield Suspect("to", (node,), frozenset(to[node]))
        elif whole_from:
            yield Suspect("from", (node,), frozenset(source[node]))


def _finding(
    scope: Scope,
    nodes: tuple[str, ...],
    explained: Mapping[Ends, Way],
    about: Mapping[Ends, Sequence[Told]],
    own: Mapping[str, Sequence[OwnCause]],
) -> Finding:
    """In the words of the node itself, else of a proven place, else of most of those who say so."""
    status = worst([way.status for way in explained.values()])
    views = [view for way in explained.values() for view in way.views if view.status == status]
    words = _words(scope, nodes, explained, about, own)
    if words is None:
        view = min((way.decisive for way in explained.values()), key=lambda view: WORST_FIRST.index(view.status))
        words = Told(view.by, "", None, view.code or "", view.message)
    return Finding(
        scope=scope,
        nodes=nodes,
        status=status,
        code=words.code or None,
        message=words.message,
        by=words.by,
        remedies=words.remedies,
        seen_by=tuple(sorted({view.by for view in views})),
        ways=tuple(explained),
    )


def _words(
    scope: Scope,
    nodes: tuple[str, ...],
    explained: Mapping[Ends, Way],
    about: Mapping[Ends, Sequence[Told]],
    own: Mapping[str, Sequence[OwnCause]],
) -> Told | None:
    if scope in _WIDEST_FIRST:
        for cause in own.get(nodes[0], ()):
            if cause.status in BROKEN and cause.target == "node":
                return Told(nodes[0], "", None, cause.code, cause.message, cause.remedies)
    said = [each for ends in explained for each in about.get(ends, ())]
    if not said:
        return None
    votes = Counter(each.code for each in said)
    return max(said, key=lambda each: (each.at is not None, votes[each.code], each.by in nodes))


def _of_control(own: Mapping[str, Sequence[OwnCause]]) -> Iterator[Finding]:
    """What several nodes say of the control plane in the same words of the vocabulary is one finding."""
    said: dict[str, list[tuple[str, OwnCause]]] = defaultdict(list)
    for node, causes in own.items():
        for cause in causes:
            if cause.target == "control":
                said[cause.code].append((node, cause))
    for code, several in said.items():
        if len(several) >= _ENOUGH:
            node, cause = several[0]
            names = tuple(sorted(name for name, _ in several))
            yield Finding(
                scope="control",
                nodes=names,
                status=worst([each.status for _, each in several]),
                code=code,
                message=cause.message,
                by=node,
                remedies=cause.remedies,
                seen_by=names,
                ways=(),
            )
