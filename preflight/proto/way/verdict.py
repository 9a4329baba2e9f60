"""What following a burst has shown of one direction: the death, the gap, or only how far it was seen; pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from preflight import codes
from preflight.codes import Code
from preflight.model.facts import DeathFacts
from preflight.model.remedy import Remedies
from preflight.proto.way.inference import Followed, infer
from preflight.proto.way.observation import Observation
from preflight.proto.way.stations import FORWARDED, PACKET, Station

WayDirection = Literal["forward", "reverse"]
_NOBODY: Mapping[WayDirection, Code] = {"forward": codes.REACH_NO_FORWARD, "reverse": codes.REACH_NO_REVERSE}
_LISTED = 4
"""How many stations of a gap a sentence names; for more it names the first and the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """code: None if nothing is proven to die. station: the proven place; None for a gap, or for what only fits."""

    direction: WayDirection
    message: str
    code: Code | None = None
    station: Station | None = None
    facts: DeathFacts | None = None
    remedies: Remedies = ()
    observations: tuple[Observation, ...] = ()


def conclude(peer: str, observations: Iterable[Observation]) -> tuple[Verdict, ...]:
    """A verdict for each direction of which anything was observed. peer: its name, for the sentences."""
    said = tuple(observations)
    known: list[Verdict] = []
    for direction in _NOBODY:
        own = tuple(each for each in said if each.direction == direction)
        if own:
            known.append(_verdict(peer, direction, own))
    return tuple(known)


def _verdict(peer: str, direction: WayDirection, said: tuple[Observation, ...]) -> Verdict:
    table = FORWARDED if any(each.station.host == "forwarder" for each in said) else PACKET
    followed = infer(table, said)
    death = followed.death
    if death is not None and (death.certain or _only_left(table, followed, said)):
        return Verdict(
            direction=direction,
            message=death.message,
            code=death.code,
            station=followed.place,
            facts=death.facts,
            remedies=death.remedies,
            observations=said,
        )
    if death is not None:
        return Verdict(
            direction=direction, message=death.message, code=death.code, remedies=death.remedies, observations=said
        )
    large = _only_large(said)
    if followed.place is not None:
        message = f"{_packets(direction, peer, large)} die at {followed.place.id}: {_between(followed, said)}"
        return Verdict(
            direction=direction,
            message=message,
            code=codes.MTU_BLACK_HOLE if large else _NOBODY[direction],
            station=followed.place,
            observations=said,
        )
    if followed.gap:
        message = f"{_packets(direction, peer, large)} die {_listed(followed.gap)}: {_between(followed, said)}"
        code = codes.MTU_BLACK_HOLE if large else _NOBODY[direction]
        return Verdict(direction=direction, message=message + _unseen(followed.gap, said), code=code, observations=said)
    return Verdict(direction=direction, message=_so_far(direction, peer, followed), observations=said)


def _only_left(table: Sequence[Station], followed: Followed, said: Iterable[Observation]) -> bool:
    """Whether what only fits is at the one station that is left between two observers."""
    without = [each for each in said if each.death is None or each.death.certain]
    return followed.place is not None and infer(table, without).place == followed.place


def _only_large(said: Iterable[Observation]) -> bool:
    """Whether only large packets were missed."""
    missed = {each.packets for each in said if each.finding == "absent"}
    return missed == {"large"}


def _packets(direction: WayDirection, peer: str, large: bool) -> str:
    which = "large packets" if large else "packets"
    return f"{which} to {peer}" if direction == "forward" else f"{which} from {peer}"


def _between(followed: Followed, said: Iterable[Observation]) -> str:
    """Where they were last seen, and where they were missed, by whom."""
    before = followed.before()
    words = list(said)
    seen = next((each for each in words if each.finding == "seen" and each.station == before and each.reason), None)
    absent = next((each for each in words if each.finding == "absent" and each.reason), None)
    parts = [f"{each.reason} ({each.by})" if each.by != "node" else each.reason for each in (seen, absent) if each]
    return "; ".join(parts) or "nobody saw them behind it"


def _listed(gap: Sequence[Station]) -> str:
    names = [station.id for station in gap]
    if len(names) <= _LISTED:
        return f"at one of {', '.join(names)}"
    return f"between {names[0]} and {names[-1]} ({gap[-1].host})"


def _unseen(gap: Sequence[Station], said: Iterable[Observation]) -> str:
    """What would have shown it."""
    blind = dict.fromkeys(
        each.reason for each in said if each.finding == "blind" and each.station in gap and each.reason
    )
    return f"; {'; '.join(blind)}" if blind else ""


def _so_far(direction: WayDirection, peer: str, followed: Followed) -> str:
    before = followed.before()
    way = _packets(direction, peer, large=False)
    if before is None:
        return f"nobody saw {way} at any station, and nothing refused them"
    return f"{way} were last seen at {before.id} ({before.host}); nobody could see them behind it"
