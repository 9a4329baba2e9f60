"""From results to ways: what each packet and request of a run passed, and where it died; pure.

Results contribute what they observed of a peer's ways (`Result.observations`), or are themselves about one station
(`Result.station`). Which station is the place of death is inferred in `preflight.proto.way`; here the words are only
put together.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from preflight.api import Direction, Result, Status
from preflight.proto.way.inference import Followed, infer
from preflight.proto.way.observation import Death, Finding, Observation
from preflight.proto.way.stations import FORWARDED, PACKET, REQUEST, TOKEN, Station, WayKind


class WayId(NamedTuple):
    """What goes over a way, to whom, and in which direction."""

    kind: WayKind
    target: str
    direction: Direction

    def __str__(self) -> str:
        """As reports name it."""
        return "/".join(self)


@dataclass(frozen=True, slots=True)
class Way:
    """One way as far as it was followed."""

    id: WayId
    followed: Followed


def way_of(result: Result) -> WayId | None:
    """The way that a result about a station is about; None for any other result."""
    if result.station is None:
        return None
    if result.station.kind != "packet":
        return WayId(result.station.kind, result.target, Direction.ROUND_TRIP)
    reverse = result.direction is Direction.REVERSE
    return WayId("packet", result.target, Direction.REVERSE if reverse else Direction.FORWARD)


def follow_ways(results: Iterable[Result]) -> tuple[Way, ...]:
    """Every way of a target in trouble, in the order of the first results about them."""
    said: dict[WayId, list[Observation]] = {}
    troubled: set[WayId] = set()
    for result in results:
        for observation in result.observations:
            way = WayId(observation.station.kind, result.target, Direction(observation.direction))
            said.setdefault(way, []).append(observation)
            troubled.add(way)
        own = way_of(result)
        if own is not None and (word := _word(result)) is not None:
            said.setdefault(own, []).append(word)
            if result.status is not Status.PASS:
                troubled.add(own)
    return tuple(Way(id, infer(_table(id.kind, words), words)) for id, words in said.items() if id in troubled)


def _word(result: Result) -> Observation | None:
    """What a result about a station says of it; a warning stops nothing, so it was passed."""
    if result.station is None:
        return None
    if result.status is Status.INCONCLUSIVE and result.station.kind == "packet":
        # What is undecided there is not a death: only this program's own question ends at the station.
        return Observation(station=result.station, finding="blind", reason=result.message)
    if result.status not in _FINDING:
        return None
    if result.status is not Status.FAIL or result.code is None:
        finding: Finding = "clear" if _from_a_file(result) else "seen"
        return Observation(station=result.station, finding=finding, reason=result.message)
    death = Death(code=result.code, message=result.message, remedies=result.remedies)
    return Observation(station=result.station, finding="killed", death=death)


def _from_a_file(result: Result) -> bool:
    """Whether it only says what this node would send: no request has come as far as this station."""
    station = result.station
    sent = station is not None and station.kind == "request" and station.id not in _BEFORE_SENDING
    return sent and result.direction is Direction.LOCAL


_BEFORE_SENDING = ("source", "parse", "name", "route")
"""Stations of a request that this node passes by itself."""
_FINDING = (Status.PASS, Status.WARN, Status.FAIL)
_TABLES: Mapping[WayKind, tuple[Station, ...]] = {"packet": PACKET, "request": REQUEST, "token": TOKEN}


def _table(kind: WayKind, words: Iterable[Observation]) -> tuple[Station, ...]:
    if any(word.station.host == "forwarder" for word in words):
        return FORWARDED
    return _TABLES[kind]
