"""From results to ranked root causes: pure.

Bad results with one code about one target form a candidate. A candidate explains another if it lies deeper, a rule
connects the two, and the facts do not contradict the rule. Whatever nothing explains is a root cause. A cause's message
is the message of one of its results.

A place of death on the way of a packet is proven: it explains whatever else is bad about that way, and no rule that
infers explains it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from time import monotonic
from types import MappingProxyType

from preflight.api import CONTROL, NODE, Code, Direction, Remedies, Result, Status
from preflight.engine import shared
from preflight.engine.candidates import SEVERITY, Candidate, candidates_of
from preflight.engine.rules import BENEATH, DEPTH, LAYERS, RULES, STANDS_AT, Rule, dies_with, silent
from preflight.engine.ways import WayId, way_of
from preflight.model.event import Listener, telling
from preflight.model.facts import DeathFacts
from preflight.proto.way.stations import OUTER, Station


@dataclass(frozen=True, slots=True)
class Cause:
    """One root cause; `explains` holds result ids, its own first. place: the way and the station that it is about."""

    code: Code
    message: str
    target: str
    direction: Direction
    remedy: str | None
    explains: tuple[str, ...]
    remedies: Remedies = ()
    place: tuple[WayId, Station] | None = None


def diagnose(
    results: Iterable[Result],
    control_host: str | None = None,
    rules: Iterable[Rule] = RULES,
    sharing: frozenset[str] = frozenset(),
    behind: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Cause, ...]:
    """Rank the root causes behind all bad results.

    control_host: target name of the peer that hosts the control plane, if one does: what breaks the way to it
    explains what happens to the control plane. rules: in any order. sharing: targets whose tunnel leads to the control
    plane too: what dies before its remote end explains the same. behind: silent targets, each with the one that
    represents the remote end of their tunnel (`control_host.behind_one_end`).
    """
    everything = tuple(results)
    candidates = candidates_of(everything)
    reach = _Reach(candidates, control_host, tuple(rules), sharing, behind, together=shared.nobody_answers(everything))
    explained_by = {effect: causes for effect in candidates if (causes := reach.explainers(effect))}
    effects: dict[Candidate, list[Candidate]] = {}
    for effect, causes in explained_by.items():
        for cause in causes:
            effects.setdefault(cause, []).append(effect)
    blocked: dict[str, list[str]] = {}
    for result in everything:
        if result.blocked_by is not None:
            blocked.setdefault(result.blocked_by, []).append(result.id)
    roots = sorted((c for c in candidates if c not in explained_by), key=_rank)
    return tuple(_cause(root, _explained(root, effects), blocked) for root in roots)


def tell_causes(listener: Listener | None, causes: Iterable[Cause]) -> None:
    """The root causes found, in their order, with the results that each explains."""
    for cause in causes:
        telling(listener, "engine.diagnosis", cause.code.slug)(
            monotonic(),
            "cause",
            target=cause.target,
            direction=cause.direction,
            explained=len(cause.explains),
            explains=cause.explains,
        )


class _Reach:
    """Which candidates may explain which, looked up by target: a mesh of hundreds of peers has thousands of them."""

    def __init__(
        self,
        candidates: Iterable[Candidate],
        control_host: str | None,
        rules: tuple[Rule, ...],
        sharing: frozenset[str] = frozenset(),
        behind: Mapping[str, str] = MappingProxyType({}),
        *,
        together: bool = False,
    ) -> None:
        self._control_host, self._sharing, self._behind = control_host, sharing, behind
        self._rules = rules
        self._between: dict[tuple[str, str], tuple[Rule, ...]] = {}
        self._by_target: dict[str, list[Candidate]] = {}
        self._anywhere: list[Candidate] = []
        for candidate in candidates:
            self._by_target.setdefault(candidate.target, []).append(candidate)
            if candidate.proven or any(
                rule.where == "all" and fnmatchcase(candidate.code.slug, rule.cause) for rule in rules
            ):
                self._anywhere.append(candidate)
        silent_ones = (each for each in candidates if together and each.only_silent)
        self._first_silent: Candidate | None = None
        # Only one that nothing else explains: else a cause would be explained by what it explains.
        self._first_silent = next((each for each in silent_ones if not self.explainers(each)), None)

    def explainers(self, effect: Candidate) -> list[Candidate]:
        """The candidates that are deeper and account for this one."""
        end = self._behind.get(effect.target)
        targets = [effect.target, NODE, *([] if end is None else [end])]
        if effect.target == CONTROL:
            targets += [each for each in (self._control_host, *sorted(self._sharing)) if each is not None]
        near = [candidate for target in dict.fromkeys(targets) for candidate in self._by_target.get(target, ())]
        found = [
            cause
            for cause in dict.fromkeys([*near, *self._anywhere])
            if (cause.target == end and _silences_all(cause, effect))
            or (_deeper(cause, effect) and self._explains(cause, effect))
        ]
        return found or self._silent_before(effect)

    def _silent_before(self, effect: Candidate) -> list[Candidate]:
        """The first silent peer, where all are silent and nothing says more of this one."""
        first = self._first_silent
        return [first] if first is not None and effect is not first and effect.only_silent else []

    def _explains(self, cause: Candidate, effect: Candidate) -> bool:
        # What is milder never excuses what is worse, and what is undecided explains nothing.
        if cause.status is Status.INCONCLUSIVE or SEVERITY.index(cause.status) > SEVERITY.index(effect.status):
            return False
        if not cause.concerns(effect.target):
            return False
        if cause.is_one_with(effect):
            return True
        # What is wrong with this node itself stops what its rules say; a way to a peer, all that is about this way.
        unnamed = not effect.proven and effect.rule in (None, cause.rule)
        on_its_way = cause.proven and cause.target != NODE and unnamed and dies_with(effect.code.slug)
        if on_its_way and self._about_the_way(cause, effect):
            return True
        if effect.code.slug == "control.dns-timeout" and cause.target != NODE and _has_no_route(cause):
            return True
        return any(
            _reaches(rule, cause, effect, self._hosts(cause)) and _borne_out(rule, cause, effect)
            for rule in self._rules_between(cause.code.slug, effect.code.slug)
        )

    def _hosts(self, cause: Candidate) -> str | None:
        """The target that represents the control plane: the peer that hosts it, or one that shares a narrow way."""
        narrow = cause.code.slug == "mtu.black-hole" and cause.target in self._sharing
        return cause.target if narrow else self._control_host

    def _about_the_way(self, cause: Candidate, effect: Candidate) -> bool:
        """Whether a finding is about the way on which packets are proven to die."""
        if {_direction(list(each.results)) for each in (cause, effect)} == {Direction.FORWARD, Direction.REVERSE}:
            return False
        if effect.target == CONTROL:
            shared = cause.target in self._sharing and _dies_before_the_remote_end(cause)
            alike = silent(effect.code.slug) or (_stalls_for_its_size(effect) and _fits_no_queue(cause))
            return cause.target == self._control_host or shared or (alike and _stops_all(cause))
        return effect.target in (cause.target, NODE)

    def _rules_between(self, cause: str, effect: str) -> tuple[Rule, ...]:
        """The rules by which one code accounts for another."""
        if (cause, effect) not in self._between:
            self._between[cause, effect] = tuple(
                rule
                for rule in self._rules
                if fnmatchcase(cause, rule.cause) and any(fnmatchcase(effect, pattern) for pattern in rule.effects)
            )
        return self._between[cause, effect]


def _silences_all(cause: Candidate, effect: Candidate) -> bool:
    """Whether the silence of one remote end is that of what is behind it too, of which nobody saw more."""
    dies_there = cause.code.slug in _SILENCE and cause.status is Status.FAIL and _dies_before_the_remote_end(cause)
    if effect.target == CONTROL:
        return dies_there and _accepts_nothing(effect)
    return dies_there and not effect.proven and effect.code.slug in (_SILENCE[0], cause.code.slug)


def _accepts_nothing(effect: Candidate) -> bool:
    """Whether the control plane is silent already when a connection to it is opened."""
    return effect.code.slug == "control.timeout" and any(each.check == "control.connect" for each in effect.results)


_SILENCE = ("reach.unreachable", "reach.no-forward", "reach.no-reverse")


def _stops_all(cause: Candidate) -> bool:
    """Whether packets die where those for the control plane pass too: at the network, or where no table has a route."""
    return _has_no_route(cause) or any(station.id in OUTER for station, _ in cause.deaths)


def _fits_no_queue(cause: Candidate) -> bool:
    """Whether the queue of this node's uplink takes no packets of a size, to all targets alike."""
    return any(
        station == _OWN_QUEUE and isinstance(facts, DeathFacts) and facts.interface and facts.chain is None
        for station, facts in cause.deaths
    )


def _stalls_for_its_size(effect: Candidate) -> bool:
    """Whether large packets vanish, or may do so: what is called small there may still be too large."""
    return effect.code.slug == "mtu.black-hole" or all(each.check == "mtu.tcp" for each in effect.results)


_OWN_QUEUE = Station("egress-outer")


def _has_no_route(cause: Candidate) -> bool:
    """Whether no table has a route for the packets: what leads to name servers is missing with it."""
    return any(isinstance(facts, DeathFacts) and facts.route_type == "none" for _, facts in cause.deaths)


def _dies_before_the_remote_end(cause: Candidate) -> bool:
    """Whether packets die at this node, in the network, or at the remote end of its tunnel, before it forwards them.

    Behind it, other packets take another way.
    """
    return all(station.host != "forwarder" and station.id not in _BEHIND for station, _ in cause.deaths)


_BEHIND = ("prerouting", "rp", "input", "socket")
"""Inside the tunnel, at its remote end."""


def _reaches(rule: Rule, cause: Candidate, effect: Candidate, control_host: str | None) -> bool:
    if cause.target == effect.target or rule.where == "all" or (rule.where == "node" and cause.target == NODE):
        return True
    return rule.where == "control" and effect.target == CONTROL and cause.target == control_host


def _borne_out(rule: Rule, cause: Candidate, effect: Candidate) -> bool:
    holds = rule.condition
    return holds is None or all(any(holds(one, other) for one in cause.results) for other in effect.results)


def _deeper(cause: Candidate, effect: Candidate) -> bool:
    if cause.proven != effect.proven:
        return cause.proven or _holds_the_place(cause, effect)
    if cause.proven and cause.code == effect.code:
        return cause.place < effect.place
    if cause.code.slug in BENEATH.get(effect.code.slug, ()):
        return effect.code.slug != "host.rp-filter" or effect.target == NODE
    return _depth(cause) < _depth(effect)


def _holds_the_place(cause: Candidate, effect: Candidate) -> bool:
    """Whether the cause is what is in the way at the stations at which packets are proven to die."""
    stations = STANDS_AT.get(cause.code.slug, ())
    return all(station.id in stations for station, _ in effect.deaths)


def _rank(candidate: Candidate) -> tuple[int, bool, int, int, bool, int]:
    """Failures before breakage before warnings before the undecided; the deeper first, then as they came."""
    layer, within, control = _depth(candidate)
    # What is found at a station of a request comes behind what stops packets, whatever layer its code is of.
    if candidate.of_a_request and layer < _CONTROL:
        layer, within = _CONTROL, -1
    return SEVERITY.index(candidate.status), not candidate.proven, layer, within, control, candidate.place


_CONTROL = LAYERS.index("control")


def _depth(candidate: Candidate) -> tuple[int, int, bool]:
    """Layer, then depth in it: only a deeper cause explains, so no two causes explain each other.

    For one code the peer's finding is deeper than the control plane's: it is on the path, or it is that finding.
    """
    return *_layer(candidate.code), candidate.target == CONTROL


@cache
def _layer(code: Code) -> tuple[int, int]:
    """Area and place in it (`DEPTH`); a code in neither, such as one of another package, comes last."""
    if code.area not in DEPTH:
        return len(LAYERS), 0
    patterns = DEPTH[code.area]
    place = next((place for place, pattern in enumerate(patterns) if fnmatchcase(code.slug, pattern)), len(patterns))
    return LAYERS.index(code.area), place


def _explained(root: Candidate, effects: Mapping[Candidate, Sequence[Candidate]]) -> list[Candidate]:
    """What goes back to this root, directly or through what it explains; itself first."""
    found = {root}
    todo = [root]
    while todo:
        fresh = [effect for effect in effects.get(todo.pop(), ()) if effect not in found]
        found.update(fresh)
        todo += fresh
    return [root, *sorted(found - {root}, key=_rank)]


def _cause(root: Candidate, explained: list[Candidate], blocked: Mapping[str, Sequence[str]]) -> Cause:
    """blocked: ids of the results that each failed result keeps from being measured."""
    bad = [result.id for candidate in explained for result in candidate.results]
    # What is proven says most, then what was followed; the sort keeps the order of all others.
    worst = sorted(
        (result for result in root.results if result.status is root.status),
        key=lambda result: (result.station is None, not result.observations),
    )
    # The directions of one check belong together; what another check says of the same is a repetition.
    telling = [result for result in worst if result.check == worst[0].check]
    alike = [shared.healing(each.results) for each in explained[1:] if root.is_one_with(each)]
    others = [
        each.target for each in explained[1:] if root.only_silent and each.only_silent and each.target != root.target
    ]
    return Cause(
        code=root.code,
        message="; ".join(dict.fromkeys(result.message for result in telling)) + shared.too(others),
        target=root.target,
        direction=_direction(telling if telling[0].station is not None else worst),
        remedy="\n".join(dict.fromkeys(result.remedy for result in telling if result.remedy)) or None,
        explains=tuple(dict.fromkeys([*bad, *(id for failure in bad for id in blocked.get(failure, ()))])),
        remedies=shared.union([*(result.remedies for result in telling), *alike]),
        place=_place(telling),
    )


def _place(results: Iterable[Result]) -> tuple[WayId, Station] | None:
    """The station that the first of the results is about, if one is."""
    places = ((way, result.station) for result in results if (way := way_of(result)) is not None)
    return next(((way, station) for way, station in places if station is not None), None)


def _direction(results: list[Result]) -> Direction:
    """The same fault in both directions is one cause, `round-trip`."""
    directions = {result.direction for result in results}
    return directions.pop() if len(directions) == 1 else Direction.ROUND_TRIP
