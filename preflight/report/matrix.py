"""Many nodes' reports as one matrix: who reaches whom, by direction, seen from both ends. Pure data."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Literal

from pydantic import BaseModel, ConfigDict

from preflight.report.fields import DirectionName, StatusName

BROKEN: tuple[StatusName, ...] = ("fail", "error")
WORST_FIRST: tuple[StatusName, ...] = ("fail", "error", "warn", "inconclusive", "pass", "skip")


def worst(statuses: Sequence[StatusName]) -> StatusName:
    """The status that counts of several."""
    return min(statuses, key=WORST_FIRST.index)


class Part(BaseModel):
    """Frozen, and written as JSON."""

    model_config = ConfigDict(frozen=True)


class View(Part):
    """What one end knows of a direction: the worst that it found there and on the round trip."""

    by: str
    direction: DirectionName
    status: StatusName
    code: str | None
    message: str
    result: str
    received: bool = False
    """Whether this end proved that packets arrive in this direction, whatever else it found."""


class Way(Part):
    """The direction from one node to another; `contradiction`: one end calls it dead, the other received packets."""

    source: str
    target: str
    status: StatusName
    contradiction: bool
    views: tuple[View, ...]

    @property
    def decisive(self) -> View:
        """The view that decides: the worst; among equals the one about this direction only, then the receiver's."""
        return min(
            self.views,
            key=lambda view: (WORST_FIRST.index(view.status), view.direction == "round-trip", view.by != self.target),
        )


class OwnCause(Part):
    """A root cause that a node found at itself or at its control plane, not at a peer."""

    code: str
    status: StatusName
    target: str
    message: str
    remedies: tuple[str, ...] = ()
    """Lines to paste or to read, each with its label, on the node that found it."""


class Node(Part):
    """A node that has at least one report. reports: how many were joined. latest: when its last run started."""

    name: str
    hostname: str
    addresses: tuple[str, ...]
    reports: int
    latest: str
    causes: tuple[OwnCause, ...] = ()


class Hole(Part):
    """A node that gave no report although it was asked for one, and why."""

    node: str
    code: str
    message: str


Scope = Literal["node", "to", "from", "pair", "way", "control", "site", "to-site", "from-site", "site-pair", "site-way"]
"""What a finding is about: all ways of a node, all ways to or from it, both ways of a pair, one way, the control plane;
or the ways between a site and the others, in both directions or one, or between two sites.
"""
_SUBJECTS: dict[Scope, str] = {
    "node": "everything to and from {}",
    "to": "everything to {}",
    "from": "everything from {}",
    "pair": "{} ↔ {}",
    "way": "{} → {}",
    "control": "the control plane",
    "site": "everything between the site {} and the others",
    "to-site": "everything from other sites to the site {}",
    "from-site": "everything from the site {} to the others",
    "site-pair": "everything between the sites {} and {}",
    "site-way": "everything from the site {} to the site {}",
}


class Finding(Part):
    """One root cause for all ways that it explains.

    nodes: the node or site, or the ends of the pair or way, source first, or the nodes that say it of the control
    plane. by: the node whose words and remedies these are. seen_by: the nodes whose reports say so.
    """

    scope: Scope
    nodes: tuple[str, ...]
    status: StatusName
    code: str | None
    message: str
    by: str
    remedies: tuple[str, ...] = ()
    seen_by: tuple[str, ...]
    ways: tuple[tuple[str, str], ...]

    @property
    def subject(self) -> str:
        """What the finding is about, in words."""
        return _SUBJECTS[self.scope].format(*self.nodes)


class Matrix(Part):
    """All directions between the nodes with a report, and from them to peers without one.

    left_out: sentences about what was in the reports and is not in the matrix. Findings: what explains most first.
    holes: nodes that were asked and gave no report; what the others saw of them is in the ways. sites: of nodes that
    share an uplink, by name.
    """

    schema_version: str = "2"
    nodes: tuple[Node, ...]
    silent: tuple[str, ...]
    ways: tuple[Way, ...]
    findings: tuple[Finding, ...] = ()
    left_out: tuple[str, ...] = ()
    holes: tuple[Hole, ...] = ()
    sites: Mapping[str, str] = {}

    @property
    def failed(self) -> bool:
        """Whether any direction is dead or broken, or a node itself has a failure."""
        statuses = [way.status for way in self.ways]
        statuses += [cause.status for node in self.nodes for cause in node.causes]
        return any(status in BROKEN for status in statuses)

    @property
    def names(self) -> tuple[str, ...]:
        """Every node's name: those with a report, then those without one."""
        known = (*(node.name for node in self.nodes), *self.silent)
        return tuple(dict.fromkeys((*known, *(hole.node for hole in self.holes))))

    @cached_property
    def undecided(self) -> bool:
        """Whether a node gave no report, or a direction could not be decided."""
        return bool(self.holes) or any(way.status == "inconclusive" for way in self.ways)

    def unknown(self, source: str, target: str) -> bool:
        """Whether nothing is known of a direction because one of its ends is a hole."""
        ends = {hole.node for hole in self.holes} & {source, target}
        return bool(ends) and source != target and self.way(source, target) is None

    @cached_property
    def by_ends(self) -> dict[tuple[str, str], Way]:
        """The ways by source and target."""
        return {(way.source, way.target): way for way in self.ways}

    def way(self, source: str, target: str) -> Way | None:
        """The direction between two nodes; None if no report measured it."""
        return self.by_ends.get((source, target))
