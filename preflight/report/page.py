"""The contents of the HTML report, as plain values: a pure function from the report, without markup."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from preflight.model.facts import (
    EchoFacts,
    Facts,
    HealthFacts,
    LossFacts,
    MtuEchoFacts,
    MtuFacts,
    MtuSearchFacts,
    TcpFacts,
)
from preflight.model.pmtu import Fate
from preflight.model.readings import median_ms, quickest_ms
from preflight.model.spread import Spread
from preflight.report.common import WORDS, WORST_FIRST, Advice, aspect_of, way
from preflight.report.facts import read_sizes, read_spread
from preflight.report.grouping import CauseGroup, cause_groups
from preflight.report.model import CauseEntry, Report, ResultEntry, WayEntry
from preflight.report.offers import offers, plain_user
from preflight.report.runbook_html import runbook_html
from preflight.report.schedule import Span, schedule
from preflight.report.ways import both_ways

NODE, CONTROL = "node", "control"
PATH = ("overlay", "reach", "mtu", "udp")
MAPPED_PEERS = 10
"""Peers drawn on the map, the worst first; all others are one box."""
FEW = 16
USUAL_BYTES = 1200
"""Smaller packets pass everywhere (RFC 8899 section 5.1.2): shown only where the path carries even less."""
_ORDER = (*WORST_FIRST, "pass", "skip")


@dataclass(frozen=True, slots=True)
class Edge:
    """One direction between this node and another place: its worst status, and its label."""

    direction: str
    status: str
    label: str


@dataclass(frozen=True, slots=True)
class Place:
    """A box on the map, and the edges to it. `rest`: it represents this many peers."""

    name: str
    edges: tuple[Edge, ...]
    rest: int = 0

    @property
    def status(self) -> str:
        """The worst of its edges."""
        return worst(edge.status for edge in self.edges)


@dataclass(frozen=True, slots=True)
class PeerNumbers:
    """Measurements of one peer: milliseconds and percent; None: not measured."""

    name: str
    rtt_min_ms: float | None
    rtt_median_ms: float | None
    rtt_max_ms: float | None
    loss_forward: float | None
    loss_reverse: float | None
    jitter_forward_ms: float | None
    jitter_reverse_ms: float | None
    spread: Spread | None = None

    @property
    def longest_ms(self) -> float:
        """What the picture of its round trips has to have room for."""
        if self.spread is not None:
            return self.spread.from_ms + self.spread.bin_ms * len(self.spread.counts)
        return max(self.rtt_max_ms or 0.0, self.rtt_median_ms or 0.0)

    @property
    def measured(self) -> bool:
        """Whether there is anything to show."""
        return self.rtt_min_ms is not None or self.loss_forward is not None

    def worst_first(self) -> tuple[float, float]:
        """A key for sorting: the most lost first, then the slowest."""
        return -(self.loss_forward or 0) - (self.loss_reverse or 0), -(self.rtt_median_ms or self.rtt_max_ms or 0)


@dataclass(frozen=True, slots=True)
class Size:
    """One packet size that was tried, bytes, and its fate."""

    size_bytes: int
    fate: Fate


@dataclass(frozen=True, slots=True)
class MtuSearch:
    """One search: the sizes in ascending order, the largest that passed and the interface's MTU."""

    target: str
    way: str
    status: str
    mtu_bytes: int
    interface_bytes: int
    sizes: tuple[Size, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One result in the list; `cause` is the number of the root cause that explains it.

    targets: also of others that say the same, of which `result` is the first.
    """

    result: ResultEntry
    aspect: str
    cause: int | None
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fold:
    """The good and skipped results of one category. label: such as `4 passed, 2 skipped`."""

    category: str
    label: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class RootCause:
    """One root cause, at one peer or at many, with its status, the results that it explains and the ways it is on."""

    number: int
    entry: CauseEntry
    status: str
    who: str
    message: str
    way: str
    explained: tuple[ResultEntry, ...]
    offers: tuple[Advice, ...]
    ways: tuple[WayEntry, ...] = ()
    page: str | None = None
    """The runbook's page of its code, as HTML of the program's own."""


@dataclass(frozen=True, slots=True)
class Page:
    """Everything that the template lays out."""

    report: Report
    causes: tuple[RootCause, ...]
    places: tuple[Place, ...]
    peers: tuple[PeerNumbers, ...]
    searches: tuple[MtuSearch, ...]
    rows: tuple[Row, ...]

    @property
    def bad_rows(self) -> tuple[Row, ...]:
        """The results that need a reader, the worst first."""
        bad = (row for row in self.rows if row.result.status in WORST_FIRST)
        return tuple(sorted(bad, key=lambda row: _ORDER.index(row.result.status)))

    @property
    def folds(self) -> tuple[Fold, ...]:
        """The others by category."""
        groups: dict[str, list[Row]] = {}
        for row in self.rows:
            if row.result.status not in WORST_FIRST:
                groups.setdefault(row.result.category, []).append(row)
        return tuple(Fold(category, _counted(rows), tuple(_together(rows))) for category, rows in groups.items())

    @property
    def categories(self) -> list[str]:
        """The categories of the results, in their order."""
        return list(dict.fromkeys(row.result.category for row in self.rows))

    @property
    def targets(self) -> list[str]:
        """The targets of the results, in their order."""
        return list(dict.fromkeys(row.result.target for row in self.rows))

    @property
    def few(self) -> int:
        """How many pictures of one kind are open; the others are folded."""
        return FEW

    @property
    def shown_searches(self) -> tuple[MtuSearch, ...]:
        """All searches if there are few, else those with a finding."""
        telling = tuple(search for search in self.searches if search.status != "pass")
        return self.searches if len(self.searches) <= FEW else telling

    @property
    def folded_searches(self) -> tuple[MtuSearch, ...]:
        """The others."""
        shown = set(self.shown_searches)
        return tuple(search for search in self.searches if search not in shown)

    @property
    def slowest_ms(self) -> float:
        """The scale of the latency pictures."""
        return max((peer.longest_ms for peer in self.peers), default=0.0)

    @property
    def spans(self) -> tuple[Span, ...]:
        """When each check took place."""
        return schedule(self.report)


def _together(rows: Iterable[Row]) -> Iterator[Row]:
    """Skipped results of one check that say the same of many peers are one row: else they would be most of the page."""
    groups: dict[object, list[Row]] = {}
    for row in rows:
        said = row.result
        same = (said.check, row.aspect, said.direction, said.message, row.cause) if said.status == "skip" else said.id
        groups.setdefault(same, []).append(row)
    for first, *others in groups.values():
        targets = (first.result.target, *(row.result.target for row in others))
        yield replace(first, targets=targets) if others else first


def _counted(rows: Iterable[Row]) -> str:
    counts: Counter[str] = Counter(row.result.status for row in rows)
    return ", ".join(f"{counts[status]} {WORDS[status]}" for status in _ORDER if counts[status])


def worst(statuses: Iterable[str]) -> str:
    """The worst of some statuses; `skip` of none."""
    return min(statuses, key=_ORDER.index, default="skip")


def make_page(report: Report) -> Page:
    """Lay out a report."""
    groups = cause_groups(report, whole=False, once=True)
    by_target: dict[str, list[ResultEntry]] = {}
    for result in report.results:
        by_target.setdefault(result.target, []).append(result)
    peers = {name: results for name, results in by_target.items() if name not in (NODE, CONTROL)}
    numbers = tuple(_numbers(name, results) for name, results in peers.items())
    return Page(
        report=report,
        causes=_causes(report, groups),
        places=_places(peers, by_target.get(CONTROL, []), report.diagnosis),
        peers=tuple(sorted((each for each in numbers if each.measured), key=PeerNumbers.worst_first)),
        searches=tuple(search for result in report.results if (search := _search(result)) is not None),
        rows=_rows(report, groups),
    )


def _causes(report: Report, groups: Sequence[CauseGroup]) -> tuple[RootCause, ...]:
    return tuple(
        RootCause(
            number=group.number,
            entry=group.first,
            status=group.status,
            who=group.who,
            message=group.message,
            way=way(group.first.direction),
            offers=tuple(offers(report, group, sudo=plain_user(report))),
            explained=tuple(result for result in report.results if result.id in group.explains),
            ways=both_ways(report, group.first),
            page=runbook_html(group.first.code) if _is_first(group, groups) else None,
        )
        for group in groups
    )


def _is_first(group: CauseGroup, groups: Iterable[CauseGroup]) -> bool:
    """Whether no cause before it has the same code: its page is there once."""
    return next(each.number for each in groups if each.first.code == group.first.code) == group.number


def _rows(report: Report, groups: Sequence[CauseGroup]) -> tuple[Row, ...]:
    explained = {id: group.number for group in reversed(groups) for id in group.explains}
    return tuple(Row(result, aspect_of(result), explained.get(result.id)) for result in report.results)


def _places(
    peers: dict[str, list[ResultEntry]], control: Sequence[ResultEntry], causes: Sequence[CauseEntry]
) -> tuple[Place, ...]:
    one_way = [cause for cause in reversed(causes) if cause.direction in ("forward", "reverse")]
    aimed = {id: cause.direction for cause in one_way for id in cause.explains}
    drawn = [Place(name, _both_ways(results, aimed)) for name, results in peers.items()]
    drawn.sort(key=lambda place: _ORDER.index(place.status))
    shown, rest = drawn[:MAPPED_PEERS], drawn[MAPPED_PEERS:]
    if len(rest) == 1:
        shown, rest = drawn, []
    if rest:
        edges = tuple(
            Edge(direction, worst(place.edges[index].status for place in rest), "")
            for index, direction in enumerate(("forward", "reverse"))
        )
        shown.append(Place(f"{len(rest)} more peers", edges, rest=len(rest)))
    if control:
        shown.append(Place("control plane", (_edge("round-trip", control),)))
    return tuple(shown)


def _both_ways(results: Sequence[ResultEntry], aimed: Mapping[str, str]) -> tuple[Edge, Edge]:
    """The edges to a peer and from it. aimed: results by id, with the direction of the cause that explains them."""
    path = [result for result in results if result.category in PATH or result.status in WORST_FIRST]
    forward, reverse = (_of_one_way(direction, path, aimed) for direction in ("forward", "reverse"))
    return _edge("forward", forward), _edge("reverse", reverse)


def _of_one_way(direction: str, path: Sequence[ResultEntry], aimed: Mapping[str, str]) -> list[ResultEntry]:
    """A result about both directions counts for each; with a cause in one of them, it says nothing of the other."""
    both = ("round-trip", "local") if direction == "forward" else ("round-trip",)
    elsewhere = {result.id for result in path if aimed.get(result.id, direction) != direction}
    shared = (result for result in path if result.direction in both and result.id not in elsewhere)
    kept = {result.id for result in shared if result.status in WORST_FIRST or not elsewhere}
    return [result for result in path if result.direction == direction or result.id in kept]


def _edge(direction: str, results: Sequence[ResultEntry]) -> Edge:
    status = worst(result.status for result in results)
    decisive = next((result for result in results if result.status == status), None)
    if decisive is None or status == "skip":
        return Edge(direction, "skip", "not tested")
    said = (decisive.code or "") if status != "pass" else _round_trip(results)
    return Edge(direction, status, ", ".join((said, *_carried(direction, results))))


def _carried(direction: str, results: Iterable[ResultEntry]) -> Iterator[str]:
    """What was measured of the packets in this direction."""
    known = (result.facts for result in results if result.direction == direction)
    facts = next((each for each in known if isinstance(each, LossFacts)), None)
    if facts is not None and facts.loss_percent:
        yield f"{facts.loss_percent:.1f} % lost"
    if facts is not None and facts.jitter_p95_ms is not None:
        yield f"jitter {facts.jitter_p95_ms:.1f} ms"


def _round_trip(results: Sequence[ResultEntry]) -> str:
    known = [result.facts for result in results]
    for read in (median_ms, _middle_ms, quickest_ms):
        value = next((value for facts in known if (value := read(facts)) is not None), None)
        if value is not None:
            return f"{value:.1f} ms round trip"
    return "good"


def _middle_ms(facts: Facts | None) -> float | None:
    return facts.rtt_ms if isinstance(facts, MtuSearchFacts | MtuEchoFacts | TcpFacts | HealthFacts) else None


def _numbers(name: str, results: Sequence[ResultEntry]) -> PeerNumbers:
    known = [(result.direction, facts) for result in results if (facts := result.facts) is not None]
    medians = [value for _, facts in known if (value := median_ms(facts)) is not None]
    quickest = [value for _, facts in known if (value := quickest_ms(facts)) is not None]
    slowest = [facts.rtt_max_ms for _, facts in known if isinstance(facts, EchoFacts) and facts.rtt_max_ms is not None]
    one_way = {direction: facts for direction, facts in reversed(known) if isinstance(facts, LossFacts)}
    forward, reverse = one_way.get("forward"), one_way.get("reverse")
    return PeerNumbers(
        name=name,
        rtt_min_ms=min(quickest + medians, default=None),
        rtt_median_ms=medians[0] if medians else None,
        rtt_max_ms=max(slowest + medians, default=None),
        loss_forward=forward.loss_percent if forward else None,
        loss_reverse=reverse.loss_percent if reverse else None,
        jitter_forward_ms=forward.jitter_p95_ms if forward else None,
        jitter_reverse_ms=reverse.jitter_p95_ms if reverse else None,
        spread=_spread(results),
    )


def _spread(results: Iterable[ResultEntry]) -> Spread | None:
    entries = (entry for result in results for entry in result.evidence if entry.kind == "round-trips")
    return next((known for entry in entries if (known := read_spread(entry.data)) is not None), None)


def _search(result: ResultEntry) -> MtuSearch | None:
    """The sizes of a path-MTU search; None if there was none, or if it tried only the full size."""
    sizes = next((read_sizes(entry.data) for entry in result.evidence if entry.kind == "path-mtu"), None)
    facts = result.facts if sizes else None
    if sizes is None or not isinstance(facts, MtuFacts) or facts.mtu_bytes is None:
        return None
    mtu, interface = facts.mtu_bytes, facts.interface_mtu_bytes
    tried = {size: fate for fate, met in sizes.items() for size in met if size <= max(interface, mtu)}
    # Where a larger packet arrived, its size is not why a smaller one did not.
    tried |= {size: "recovered" for size, fate in tried.items() if fate == "vanished" and size < mtu}
    ordered = tuple(Size(size, tried[size]) for size in sorted(tried) if size >= min(mtu, USUAL_BYTES))
    where = way(result.direction) or "there and back"
    return MtuSearch(result.target, where, result.status, mtu, interface, ordered) if ordered else None
