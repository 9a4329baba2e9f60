"""A way of a report on one line: what each host's stations are known to have done with the packets."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby

from preflight.model.peer import NODE
from preflight.report.model import CauseEntry, Report, StationEntry, WayEntry

MILESTONES = frozenset(
    {"route", "filter-out", "tunnel", "wire", "input", "socket", "forward"}
    | {"source", "name", "connect", "tls", "server", "bearer", "scope", "answer"}
)
"""Of the stations that were passed, those that a line names."""
MARKS: Mapping[str, str] = {"passed": "✓", "died": "✗", "unseen": "?", "not-applicable": "–"}
_FOLLOWS = "way.packet"
"""The check whose results are what is known of a packet's way."""
_SHORT: Mapping[str, str] = {"filter-out": "filter", "filter-outer": "outer filter", "route-outer": "outer route"}


@dataclass(frozen=True, slots=True)
class Leg:
    """The stations of one host. host: `here`, `network`, or the peer's name; seen: False if nobody saw any of them."""

    host: str
    stations: tuple[StationEntry, ...]

    @property
    def seen(self) -> bool:
        """Whether anything is known of it."""
        return any(station.state in ("passed", "died") for station in self.stations)


def way_of(report: Report, cause: CauseEntry) -> WayEntry | None:
    """The way that a cause's place is on, with that place marked."""
    place = cause.place
    if place is None:
        return None
    return next((_marked(way, place.station) for way in report.ways if way.id == place.way), None)


def both_ways(report: Report, cause: CauseEntry) -> tuple[WayEntry, ...]:
    """The ways of the packets or requests that a cause is about, in both directions, also where no place is proven."""
    own = way_of(report, cause)
    if own is not None:
        alike = (way for way in report.ways if (way.kind, way.target) == (own.kind, own.target))
        return tuple(own if way.id == own.id else way for way in alike)
    explained = {tuple(id.split("/")[:2]) for id in cause.explains}
    followed = [way for way in report.ways if way.target == cause.target and (_FOLLOWS, way.target) in explained]
    return tuple(way for way in followed if way.kind == "packet")


def legs(way: WayEntry) -> tuple[Leg, ...]:
    """The stations by host, in their order."""
    grouped = groupby(way.stations, key=lambda station: station.host)
    found = tuple(Leg(_host(way, host), tuple(stations)) for host, stations in grouped)
    if way.target != NODE:
        return found
    # What is about this node alone goes to nobody; the network behind it may be dead for everyone.
    return tuple(leg for leg in found if leg.host == "here" or (leg.host == "network" and leg.seen))


def line(way: WayEntry) -> str:
    """Such as `here: route ✓ filter ✓ tunnel ✓ wire ✓ │ network ✗ │ b: unseen`."""
    return " │ ".join(_leg(leg) for leg in legs(way))


def line_for(report: Report, cause: CauseEntry) -> str:
    """The line of the way that a cause's place is on, or on which packets vanish; empty if there is none."""
    way = way_of(report, cause) or _followed(report, cause)
    return "" if way is None else line(way)


def _followed(report: Report, cause: CauseEntry) -> WayEntry | None:
    """The way in the cause's direction, as far as it was followed: no place on it is proven.

    This node's own, where both directions are at fault. One that is known to be passed completely has nothing to show.
    """
    if cause.place is not None or cause.direction not in ("forward", "reverse", "round-trip"):
        return None
    direction = "forward" if cause.direction == "round-trip" else cause.direction
    ways = (way for way in both_ways(report, cause) if way.direction == direction)
    return next((way for way in ways if stations_left(way.stations)), None)


def _marked(way: WayEntry, place: str) -> WayEntry:
    """The way with the station that a cause is about as the place of death, if no other is.

    Packets of another size or kind may pass it. What dies reaches no later station: small packets may, where large ones
    die, and the picture is about those that die.
    """
    known = [station.id for station in way.stations]
    if place not in known or any(station.state == "died" for station in way.stations):
        return way
    end = known.index(place)
    rest = tuple(
        station.model_copy(update={"state": "unseen", "by": None, "reason": None})
        for station in way.stations[end + 1 :]
    )
    here = way.stations[end]
    passed = f"others pass: {here.reason}" if here.state == "passed" and here.reason else here.reason
    died = here.model_copy(update={"state": "died", "reason": passed})
    return way.model_copy(update={"stations": (*way.stations[:end], died, *rest)})


def _host(way: WayEntry, part: str) -> str:
    if way.kind != "packet":
        return "here"
    ends = ("here", way.target) if way.direction != "reverse" else (way.target, "here")
    return {"sender": ends[0], "receiver": ends[1], "forwarder": "forwarder"}.get(part, part)


def _leg(leg: Leg) -> str:
    if leg.host == "network" and len(leg.stations) == 1:
        return f"network {MARKS[leg.stations[0].state]}"
    if not leg.seen:
        return f"{leg.host}: unseen"
    return f"{leg.host}: {' '.join(_shown(leg.stations))}"


def _shown(stations: Iterable[StationEntry]) -> Iterable[str]:
    """The milestones that were passed, the place of death, and one mark for what nobody saw."""
    seen = [station for station in stations if station.state == "died" or _is_milestone(station)]
    for station in seen:
        yield f"{_SHORT.get(station.id, station.id)} {MARKS[station.state]}"
    if not any(station.state == "died" for station in seen) and stations_left(stations):
        yield "…"


def stations_left(stations: Iterable[StationEntry]) -> bool:
    """Whether the last of the stations was not seen to be passed."""
    return [station.state for station in stations][-1] != "passed"


def _is_milestone(station: StationEntry) -> bool:
    return station.state == "passed" and station.id in MILESTONES
