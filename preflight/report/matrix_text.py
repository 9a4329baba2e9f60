"""The matrix of many nodes as text and as a page."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO

from rich.console import Console
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from preflight.model.printable import number_of, one_line
from preflight.report.common import MARKS, WORDS
from preflight.report.fields import StatusName
from preflight.report.html import environment, style
from preflight.report.matrix import WORST_FIRST, Finding, Matrix, Node, Way, worst
from preflight.report.terminal import hanging

_NARROWEST = 40
_NAMED = 5
"""How many witnesses a line names."""
_WIDEST = 60
"""With more nodes than this a page shows them by site, and text names bad ways only where no cause explains them."""
_FEW = 2
_MOST_TOLD = 300
"""How many bad ways of a large matrix are shown in full."""


@dataclass(frozen=True, slots=True)
class Cell:
    """All measured ways from the nodes of one site to those of another."""

    status: StatusName
    bad: int
    ways: int


def by_site(matrix: Matrix) -> dict[tuple[str, str], Cell]:
    """The matrix of the sites; a node without a site is not in it."""
    found: dict[tuple[str, str], list[StatusName]] = defaultdict(list)
    for way in matrix.ways:
        source, target = matrix.sites.get(way.source), matrix.sites.get(way.target)
        if source is not None and target is not None:
            found[source, target].append(way.status)
    return {
        ends: Cell(worst(statuses), sum(each != "pass" for each in statuses), len(statuses))
        for ends, statuses in found.items()
    }


def told(matrix: Matrix) -> list[Way]:
    """The bad ways that are shown in full: of a large matrix only some that no cause of many ways explains."""
    bad = sorted((way for way in matrix.ways if way.status != "pass"), key=lambda way: WORST_FIRST.index(way.status))
    if len(matrix.names) <= _WIDEST:
        return bad
    explained = {ends for finding in matrix.findings if len(finding.ways) > _FEW for ends in finding.ways}
    return [way for way in bad if (way.source, way.target) not in explained][:_MOST_TOLD]


def render_text(matrix: Matrix, width: int = 80) -> str:
    """Root causes first, then a table of marks if it fits, the nodes' own causes, and both ends' words on bad ways."""
    out = StringIO()
    console = Console(file=out, width=max(width, _NARROWEST), highlight=False, color_system=None)
    console.print(Text(summary(matrix)))
    for number, finding in enumerate(matrix.findings, start=1):
        _print_finding(console, number, finding)
    _print_holes(console, matrix)
    _print_table(console, matrix, width)
    for node in matrix.nodes:
        _print_own(console, node)
    ways = told(matrix)
    for way in ways:
        _print_way(console, way)
    if (more := _untold(matrix, ways)) > 0:
        console.print()
        hanging(console, Text(_more(more)))
    if matrix.left_out:
        console.print()
        for line in matrix.left_out:
            hanging(console, Text(f"left out: {line}"))
    return "\n".join(line.rstrip() for line in out.getvalue().rstrip("\n").split("\n")) + "\n"


def render_html(matrix: Matrix) -> str:
    """The matrix as one page, in the style of the report."""
    ways = told(matrix)
    more = _untold(matrix, ways)
    return (
        environment()
        .get_template("matrix.html.j2")
        .render(
            matrix=matrix,
            summary=summary(matrix),
            marks=MARKS,
            style=style(),
            heading=heading,
            small=len(matrix.names) <= _WIDEST,
            sites=sorted(set(matrix.sites.values())),
            by_site=by_site(matrix),
            told=ways,
            linked={(way.source, way.target) for way in ways},
            more=_more(more) if more else "",
            most=_MOST_TOLD,
        )
    )


def _untold(matrix: Matrix, ways: Sequence[Way]) -> int:
    return sum(way.status != "pass" for way in matrix.ways) - len(ways)


def _more(ways: int) -> str:
    """What a large matrix leaves out."""
    return f"{number_of('bad ways', ways)} more are explained above or are like these: --output json has all"


def summary(matrix: Matrix) -> str:
    """The matrix in one line."""
    counts = Counter(way.status for way in matrix.ways)
    totals = ", ".join(f"{counts[status]} {WORDS[status]}" for status in WORST_FIRST if counts[status])
    contradictions = sum(way.contradiction for way in matrix.ways)
    more = f"; {contradictions} described differently by the two ends" if contradictions else ""
    without = len(matrix.names) - len(matrix.nodes)
    silent = f" (and {without} without a report)" if without else ""
    nodes, ways = number_of("nodes", len(matrix.nodes)), number_of("ways", len(matrix.ways))
    return f"{nodes}{silent}, {ways}: {totals or 'none was measured'}{more}"


def heading(finding: Finding) -> str:
    """What it is about, the code, and who says so."""
    witnesses = ", ".join(finding.seen_by[:_NAMED])
    if len(finding.seen_by) > _NAMED:
        witnesses = number_of("nodes", len(finding.seen_by))
    code = f"  {finding.code}" if finding.code else ""
    return f"{finding.subject}{code}, seen by {witnesses}"


def _print_finding(console: Console, number: int, finding: Finding) -> None:
    console.print()
    hanging(console, Text(f"{number}. {MARKS[finding.status]} {heading(finding)}"))
    console.print(Padding(Text(f"{finding.by} says: {finding.message}"), (0, 0, 0, 4)))
    for line in finding.remedies:
        console.print(Text(one_line(f"    on {finding.by}: {line}")), soft_wrap=True)  # a wrapped line pastes broken


def _print_table(console: Console, matrix: Matrix, width: int) -> None:
    names = matrix.names
    if sum(len(name) + 2 for name in names) + max(map(len, names), default=0) >= width:
        return
    table = Table("from, to →", *(Column(Text(name)) for name in names), box=None, pad_edge=False)
    for source in names:
        table.add_row(Text(source), *(_mark(matrix, source, target) for target in names))
    console.print()
    console.print(table)


def _print_holes(console: Console, matrix: Matrix) -> None:
    for hole in matrix.holes:
        console.print()
        hanging(console, Text(f"? {hole.node} gave no report  {hole.code}"))
        console.print(Padding(Text(hole.message), (0, 0, 0, 4)))


def _print_own(console: Console, node: Node) -> None:
    for cause in node.causes:
        console.print()
        hanging(console, Text(f"{MARKS[cause.status]} {node.name} itself ({cause.target})  {cause.code}"))
        console.print(Padding(Text(cause.message), (0, 0, 0, 4)))


def _print_way(console: Console, way: Way) -> None:
    code = f"  {way.decisive.code}" if way.decisive.code else ""
    contradiction = "; the two ends contradict each other" if way.contradiction else ""
    console.print()
    hanging(console, Text(f"{MARKS[way.status]} {way.source} → {way.target}{code}{contradiction}"))
    for view in way.views:
        received = ", though packets arrive there" if view.received and view.status not in ("pass", "warn") else ""
        console.print(Padding(Text(f"{view.by} says: {MARKS[view.status]} {view.message}{received}"), (0, 0, 0, 4)))


def _mark(matrix: Matrix, source: str, target: str) -> str:
    way = matrix.way(source, target)
    if way is None:
        return "?" if matrix.unknown(source, target) else "·" if source == target else " "
    return MARKS[way.status] + ("≠" if way.contradiction else "")
