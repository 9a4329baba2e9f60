"""What a diagnosis weighs: bad results with one code about one target, and the places at which they say packets die."""

from collections.abc import Iterable
from dataclasses import dataclass

from preflight.api import NODE, Code, Facts, Result, Status
from preflight.engine import shared
from preflight.model.facts import DeathFacts
from preflight.model.readings import members
from preflight.proto.way.stations import Station

SEVERITY = (Status.FAIL, Status.ERROR, Status.WARN, Status.INCONCLUSIVE)
"""What is bad, the worst first."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One of them. status: the worst of its results; place: its rank by the order in which they came."""

    code: Code
    target: str
    status: Status
    results: tuple[Result, ...]
    place: int

    @property
    def deaths(self) -> frozenset[tuple[Station, Facts | None]]:
        """The places at which packets die, each with what decided."""
        return frozenset(
            (result.station, result.facts)
            for result in self.results
            if result.status is Status.FAIL and result.station is not None and result.station.kind == "packet"
        )

    @property
    def of_a_request(self) -> bool:
        """Whether it is about a station of the way of requests."""
        return any(result.station is not None and result.station.kind == "request" for result in self.results)

    @property
    def proven(self) -> bool:
        """Whether it is a place at which packets die."""
        return bool(self.deaths)

    @property
    def only_silent(self) -> bool:
        """Whether a peer is silent, and nothing has shown more."""
        return self.code.slug == shared.SILENT and self.status is Status.FAIL and not self.proven

    def concerns(self, target: str) -> bool:
        """Whether it is not about an overlay of this node that the target is not on."""
        about = [members(result.facts) for result in self.results]
        return target == NODE or any(each is None or target in each for each in about)

    def is_one_with(self, other: "Candidate") -> bool:
        """Whether packets of both die at one place by one thing, or of things that the same commands heal.

        What one rule stops may be the tunnel's packets and a question for a resolver.
        """
        if self.code != other.code or not self.proven:
            return False
        if self.rule is not None and self.rule == other.rule:
            return True
        if not other.proven:
            return False
        healing = shared.commands(self.results)
        return not self.deaths.isdisjoint(other.deaths) or (
            bool(healing) and healing == shared.commands(other.results) and self.stations == other.stations
        )

    @property
    def rule(self) -> "DeadlyRule":
        """The rule, or the chain's policy, that stops packets or requests."""
        return next(filter(None, map(_rule_of, self.results)), None)

    @property
    def stations(self) -> frozenset[Station]:
        """The places at which packets die."""
        return frozenset(station for station, _ in self.deaths)


DeadlyRule = tuple[str | None, int | None] | None


def _rule_of(result: Result) -> DeadlyRule:
    """The firewall rule, or the chain's policy, at which packets are proven to die."""
    facts, station = result.facts, result.station
    if result.status is not Status.FAIL or station is None or not isinstance(facts, DeathFacts):
        return None
    return (facts.chain, facts.rule_handle) if facts.chain is not None else None


def candidates_of(results: Iterable[Result]) -> list[Candidate]:
    """Bad results grouped by code and target, in the order in which they came; those of two rules are two faults."""
    groups: dict[tuple[str, str, DeadlyRule], list[Result]] = {}
    for result in results:
        if result.status in SEVERITY and result.code is not None:
            groups.setdefault((result.code.slug, result.target, _rule_of(result)), []).append(result)
    return [
        Candidate(
            code=group[0].code,
            target=group[0].target,
            status=min((result.status for result in group), key=SEVERITY.index),
            results=tuple(group),
            place=place,
        )
        for place, group in enumerate(groups.values())
        if group[0].code is not None
    ]
