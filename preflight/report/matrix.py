"""Many nodes' reports as one matrix: who reaches whom, by direction, seen from both ends. Pure.

Two reports describe the direction from A to B: A as forward, B as reverse. If one end says that it is dead and the
other received packets, the matrix shows both: together they know more than either.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from ipaddress import ip_interface

from pydantic import BaseModel, ConfigDict

from preflight.model.printable import number_of
from preflight.report.common import MARKS, WORDS
from preflight.report.fields import DirectionName, StatusName
from preflight.report.model import Report, ResultEntry

PATH = ("overlay", "reach", "mtu", "udp")
BROKEN = ("fail", "error")
_ORDER: tuple[StatusName, ...] = ("fail", "error", "warn", "inconclusive", "pass", "skip")
DIRECTIONS = ("forward", "round-trip"), ("reverse", "round-trip")
"""The directions that describe the path to the peer, and the path from it; the specific direction first."""


class Part(BaseModel):
    """Frozen, and written as JSON."""

    model_config = ConfigDict(frozen=True)


class View(Part):
    """What one end says about a direction: its worst result."""

    by: str
    direction: DirectionName
    status: StatusName
    code: str | None
    message: str
    result: str


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
            key=lambda view: (_ORDER.index(view.status), view.direction == "round-trip", view.by != self.target),
        )


class Matrix(Part):
    """All directions between the nodes with a report, and from them to peers without one."""

    schema_version: str = "1"
    nodes: tuple[str, ...]
    silent: tuple[str, ...]
    ways: tuple[Way, ...]

    @property
    def failed(self) -> bool:
        """Whether any direction is dead or broken."""
        return any(way.status in BROKEN for way in self.ways)

    def way(self, source: str, target: str) -> Way | None:
        """The direction between two nodes; None if no report has it."""
        return self._by_ends.get((source, target))

    @cached_property
    def _by_ends(self) -> dict[tuple[str, str], Way]:
        return {(way.source, way.target): way for way in self.ways}


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    report: Report
    peers: dict[str, str]
    """A peer's name in the report, to its name in the matrix."""


def merge(reports: Sequence[Report]) -> Matrix:
    """Combine the reports of many nodes; of two from one node the later one counts.

    Overlay addresses identify a node; its name is the one that the others use. Raises ValueError for two nodes that
    cannot be distinguished.
    """
    latest = {_identity(report): report for report in sorted(reports, key=lambda report: report.run.started_at)}
    names = _names(list(latest.values()))
    members = [_Member(names[id], report, _peer_names(report, names)) for id, report in latest.items()]
    if len({member.name for member in members}) < len(members):
        twice = Counter(member.name for member in members).most_common(1)[0][0]
        raise ValueError(f"two nodes are called {twice!r} and no overlay address distinguishes them")
    views: dict[tuple[str, str], list[View]] = {}
    for member in members:
        by_target = _path_results(member.report)
        for peer, called in member.peers.items():
            results = by_target.get(peer, [])
            for (source, target), directions in zip(
                ((member.name, called), (called, member.name)), DIRECTIONS, strict=True
            ):
                views.setdefault((source, target), []).extend(_view(member.name, results, directions))
    known = {member.name for member in members}
    ways = tuple(_way(*ends, views_of) for ends, views_of in sorted(views.items()) if views_of)
    silent = sorted({name for ends in views for name in ends} - known)
    return Matrix(nodes=tuple(sorted(known)), silent=tuple(silent), ways=ways)


def _identity(report: Report) -> str:
    """The node's overlay addresses; its host name if it has none."""
    return " ".join(sorted(_own_addresses(report))) or report.run.node.hostname


def _own_addresses(report: Report) -> list[str]:
    addresses = report.run.overlay.addresses if report.run.overlay else ()
    return [str(ip_interface(address).ip) for address in addresses]


def _names(reports: Sequence[Report]) -> dict[str, str]:
    """Each node's name by identity: the one that most others use."""
    called: dict[str, Counter[str]] = {}
    for report in reports:
        for peer in report.run.peers:
            called.setdefault(peer.address, Counter())[peer.target] += 1
    names = {}
    for report in reports:
        votes = sum((called.get(address, Counter()) for address in _own_addresses(report)), Counter[str]())
        names[_identity(report)] = votes.most_common(1)[0][0] if votes else report.run.node.hostname
    return names


def _peer_names(report: Report, names: dict[str, str]) -> dict[str, str]:
    by_address = {address: name for identity, name in names.items() for address in identity.split()}
    return {peer.target: by_address.get(peer.address, peer.target) for peer in report.run.peers}


def _path_results(report: Report) -> dict[str, list[ResultEntry]]:
    by_target: dict[str, list[ResultEntry]] = {}
    for result in report.results:
        if _about_path(result):
            by_target.setdefault(result.target, []).append(result)
    return by_target


def _about_path(result: ResultEntry) -> bool:
    """A skip says nothing, and a `run.` code is about the run."""
    return result.category in PATH and result.status != "skip"


def _view(by: str, results: Sequence[ResultEntry], directions: Sequence[str]) -> Iterator[View]:
    """The worst result about this direction only; if there is none, the worst about both."""
    for direction in directions:
        fitting = [result for result in results if result.direction == direction]
        if fitting:
            worst = min(fitting, key=lambda result: _ORDER.index(result.status))
            yield View(
                by=by,
                direction=worst.direction,
                status=worst.status,
                code=worst.code,
                message=worst.message,
                result=worst.id,
            )
            return


def _way(source: str, target: str, views: Sequence[View]) -> Way:
    statuses = [view.status for view in views]
    dead = any(status in BROKEN for status in statuses)
    return Way(
        source=source,
        target=target,
        status=min(statuses, key=_ORDER.index),
        contradiction=dead and "pass" in statuses,
        views=tuple(views),
    )


def _contradiction(way: Way) -> str:
    return "; the two ends contradict each other" if way.contradiction else ""


def render_text(matrix: Matrix, width: int = 80) -> str:
    """A table of marks if it fits, then each bad direction with what both ends say about it."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Column, Table
    from rich.text import Text

    from preflight.report.terminal import hanging

    out = StringIO()
    console = Console(file=out, width=max(width, 40), highlight=False, color_system=None)
    console.print(Text(summary(matrix)))
    places = (*matrix.nodes, *matrix.silent)
    if sum(len(name) + 2 for name in places) + max(map(len, places), default=0) < width:
        table = Table("from, to →", *(Column(Text(name)) for name in places), box=None, pad_edge=False)
        for source in places:
            table.add_row(Text(source), *(_mark(matrix, source, target) for target in places))
        console.print()
        console.print(table)
    for way in sorted(matrix.ways, key=lambda way: _ORDER.index(way.status)):
        if way.status != "pass":
            code = f"  {way.decisive.code}" if way.decisive.code else ""
            console.print()
            hanging(console, Text(f"{MARKS[way.status]} {way.source} → {way.target}{code}{_contradiction(way)}"))
            for view in way.views:
                console.print(Padding(Text(f"{view.by} says: {MARKS[view.status]} {view.message}"), (0, 0, 0, 4)))
    return "\n".join(line.rstrip() for line in out.getvalue().rstrip("\n").split("\n")) + "\n"


def render_html(matrix: Matrix) -> str:
    """The matrix as one page, in the style of the report."""
    from preflight.report.html import environment, style

    return (
        environment()
        .get_template("matrix.html.j2")
        .render(
            matrix=matrix, places=(*matrix.nodes, *matrix.silent), summary=summary(matrix), marks=MARKS, style=style()
        )
    )


def summary(matrix: Matrix) -> str:
    """The matrix in one line."""
    counts = Counter(way.status for way in matrix.ways)
    totals = ", ".join(f"{counts[status]} {WORDS[status]}" for status in _ORDER if counts[status])
    contradictions = sum(way.contradiction for way in matrix.ways)
    more = f"; {contradictions} described differently by the two ends" if contradictions else ""
    silent = f" (and {len(matrix.silent)} without a report)" if matrix.silent else ""
    nodes, ways = number_of("nodes", len(matrix.nodes)), number_of("ways", len(matrix.ways))
    return f"{nodes}{silent}, {ways}: {totals or 'none was measured'}{more}"


def _mark(matrix: Matrix, source: str, target: str) -> str:
    way = matrix.way(source, target)
    if way is None:
        return "·" if source == target else " "
    return MARKS[way.status] + ("≠" if way.contradiction else "")
