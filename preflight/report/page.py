"""The contents of the HTML report, as plain values: a pure function from the report, without markup."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from preflight.report.common import WORST_FIRST, aspect_of, way
from preflight.report.grouping import CauseGroup, cause_groups
from preflight.report.model import CauseEntry, Report, ResultEntry

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

    @property
    def measured(self) -> bool:
        """Whether there is anything to show."""
        return self.rtt_min_ms is not None or self.loss_forward is not None

    def worst_first(self) -> tuple[float, float]:
        """A key for sorting: the most lost first, then the slowest."""
        return -(self.loss_forward or 0) - (self.loss_reverse or 0), -(self.rtt_median_ms or self.rtt_max_ms or 0)


@dataclass(frozen=True, slots=True)
class Size:
    """One packet size that was tried, bytes, and its fate: `passed`, `fragmented`, `vanished`, `recovered`."""

    size_bytes: int
    fate: str


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
    """One result in the list; `cause` is the number of the root cause that explains it."""

    result: ResultEntry
    aspect: str
    cause: int | None


@dataclass(frozen=True, slots=True)
class RootCause:
    """One root cause, at one peer or at many, with its status and the results that it explains."""

    number: int
    entry: CauseEntry
    status: str
    who: str
    message: str
    way: str
    explained: tuple[ResultEntry, ...]


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
        known = [value for peer in self.peers for value in (peer.rtt_max_ms, peer.rtt_median_ms) if value is not None]
        return max(known, default=0.0)


def worst(statuses: Iterable[str]) -> str:
    """The worst of some statuses; `skip` of none."""
    return min(statuses, key=_ORDER.index, default="skip")


def make_page(report: Report) -> Page:
    """Lay out a report."""
    groups = cause_groups(report, whole=False)
    by_target: dict[str, list[ResultEntry]] = {}
    for result in report.results:
        by_target.setdefault(result.target, []).append(result)
    peers = {name: results for name, results in by_target.items() if name not in (NODE, CONTROL)}
    numbers = tuple(_numbers(name, results) for name, results in peers.items())
    return Page(
        report=report,
        causes=_causes(report, groups),
        places=_places(peers, by_target.get(CONTROL, [])),
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
            explained=tuple(result for result in report.results if result.id in group.explains),
        )
        for group in groups
    )


def _rows(report: Report, groups: Sequence[CauseGroup]) -> tuple[Row, ...]:
    explained = {id: group.number for group in reversed(groups) for id in group.explains}
    return tuple(Row(result, aspect_of(result), explained.get(result.id)) for result in report.results)


def _places(peers: dict[str, list[ResultEntry]], control: Sequence[ResultEntry]) -> tuple[Place, ...]:
    drawn = [Place(name, _both_ways(results)) for name, results in peers.items()]
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


def _both_ways(results: Sequence[ResultEntry]) -> tuple[Edge, Edge]:
    """A result about both directions counts for each."""
    path = [result for result in results if result.category in PATH or result.status in WORST_FIRST]
    forward = [result for result in path if result.direction in ("forward", "round-trip", "local")]
    reverse = [result for result in path if result.direction in ("reverse", "round-trip")]
    return _edge("forward", forward), _edge("reverse", reverse)


def _edge(direction: str, results: Sequence[ResultEntry]) -> Edge:
    status = worst(result.status for result in results)
    decisive = next((result for result in results if result.status == status), None)
    if decisive is None or status == "skip":
        return Edge(direction, "skip", "not tested")
    if status != "pass":
        return Edge(direction, status, decisive.code or "")
    return Edge(direction, status, _round_trip(results))


def _round_trip(results: Sequence[ResultEntry]) -> str:
    for name in ("rtt_median_ms", "rtt_ms", "rtt_min_ms"):
        value = next((v for result in results if (v := _number(result.measurements.get(name))) is not None), None)
        if value is not None:
            return f"{value:.1f} ms round trip"
    return "good"


def _numbers(name: str, results: Sequence[ResultEntry]) -> PeerNumbers:
    def of(measurement: str, direction: str | None = None) -> list[float]:
        wanted = [result for result in results if direction in (None, result.direction)]
        values = [_number(result.measurements.get(measurement)) for result in wanted]
        return [value for value in values if value is not None]

    lowest = of("rtt_min_ms") + of("rtt_median_ms")
    return PeerNumbers(
        name=name,
        rtt_min_ms=min(lowest, default=None),
        rtt_median_ms=_first(of("rtt_median_ms")),
        rtt_max_ms=max(of("rtt_max_ms") + of("rtt_median_ms"), default=None),
        loss_forward=_first(of("loss_percent", "forward")),
        loss_reverse=_first(of("loss_percent", "reverse")),
        jitter_forward_ms=_first(of("jitter_p95_ms", "forward")),
        jitter_reverse_ms=_first(of("jitter_p95_ms", "reverse")),
    )


def _first(values: Sequence[float]) -> float | None:
    return values[0] if values else None


def _search(result: ResultEntry) -> MtuSearch | None:
    """The sizes of a path-MTU search; None if there was none, or if it tried only the full size."""
    sizes = next((entry.data for entry in result.evidence if entry.kind == "path-mtu"), None)
    mtu, interface = (result.measurements.get(name) for name in ("mtu_bytes", "interface_mtu_bytes"))
    if not isinstance(sizes, dict) or not isinstance(mtu, int) or not isinstance(interface, int):
        return None
    fates = {
        "passed": "passed",
        "fragmented": "fragmented",
        "vanished": "vanished",
        "lost_once_but_arrived": "recovered",
    }
    tried = {
        size: fate for name, fate in fates.items() for size in _sizes(sizes.get(name)) if size <= max(interface, mtu)
    }
    ordered = tuple(Size(size, tried[size]) for size in sorted(tried) if size >= min(mtu, USUAL_BYTES))
    return MtuSearch(result.target, way(result.direction), result.status, mtu, interface, ordered) if ordered else None


def _sizes(value: Any) -> list[int]:
    return [size for size in value if isinstance(size, int)] if isinstance(value, list | tuple) else []


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
