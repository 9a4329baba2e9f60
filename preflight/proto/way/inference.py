"""From observations to the place of death: pure, monotone, and never narrower than what was seen allows.

Seen at a station means passed there and at all before it. A station that says that it dropped packets is the place of
death, unless packets of the same class were seen behind it. Without such a report, the place is between the last
station at which they were seen and the first at which they were not: where several stations are left there, none of
them is named. A report that only fits is never the place, unless its station is the only one that is left.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from preflight.proto.way.observation import Death, Observation, PacketClass
from preflight.proto.way.stations import INNER, Station

State = Literal["passed", "died", "unseen", "not-applicable"]


@dataclass(frozen=True, slots=True)
class Judged:
    """What is known of one station. by: who saw it; reason: what was seen, or what would have let us see."""

    station: Station
    state: State
    by: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Followed:
    """A way as far as it was followed.

    death, place: what killed the packets, and where; place alone: the only station that is left, for whatever reason.
    gap: the stations among which they vanish, if several are left. likely: what fits and is not proven.
    """

    stations: tuple[Judged, ...]
    place: Station | None = None
    death: Death | None = None
    gap: tuple[Station, ...] = ()
    likely: Death | None = None

    def before(self) -> Station | None:
        """The last station that is known to be passed."""
        return next((judged.station for judged in reversed(self.stations) if judged.state == "passed"), None)


def infer(table: Sequence[Station], observations: Iterable[Observation]) -> Followed:
    """Follow one way through the stations of its table. Observations of stations that are not on it are ignored.

    First the packets of the burst and what carries them, then handshakes alone, then large packets alone: what kills
    every packet comes before what kills some.
    """
    at = {station: index for index, station in enumerate(table)}
    known = sorted((each for each in observations if each.station in at), key=lambda each: at[each.station])
    carrier: PacketClass = "data" if any(each.packets == "data" for each in known) else "handshake"
    tries = [_follow(table, at, _about(known, classes)) for classes in (("inner", carrier), ("handshake",), ("large",))]
    told = next((followed for followed in tries if followed.place or followed.gap), tries[0])
    if told is tries[0] and told.death is None and (shakes := tries[1]).death is not None:
        # Without a handshake nothing passes: its proven death is why packets vanish, if it is where they do.
        told = shakes if _within(at, told, shakes.place) else told
    likely = next((followed.likely for followed in tries if followed.likely), None)
    return told if told.place is not None or likely is None else replace(told, likely=told.likely or likely)


def _within(at: Mapping[Station, int], told: Followed, place: Station | None) -> bool:
    """Whether a station lies where packets vanish: nothing at it drops them, but it may decide that they die later."""
    left, before = told.gap or ((told.place,) if told.place else ()), told.before()
    first = -1 if before is None else at[before]
    return place is not None and bool(left) and first < at[place] <= at[left[-1]]


def _about(known: Iterable[Observation], classes: Sequence[PacketClass]) -> list[Observation]:
    """What is said of packets of these classes, or of all packets."""
    return [each for each in known if each.packets in classes or each.finding in ("clear", "blind")]


def _follow(table: Sequence[Station], at: Mapping[Station, int], known: Sequence[Observation]) -> Followed:
    # What carries inner packets says nothing of these once they were missed inside.
    end = _missed(known, at, "inner")
    seen = max(
        (at[each.station] for each in known if _passed(each) and at[each.station] < end),
        default=-1,
    )
    absent = min(
        (at[each.station] for each in known if each.finding == "absent" and at[each.station] > seen), default=None
    )
    killer = _killer(known, at, seen, len(table) if absent is None else absent)
    place, gap = _between(table, known, seen, absent)
    proven = killer is not None and (_certain(killer) or place == killer.station)
    death = killer.death if killer is not None else None
    if killer is not None and proven:
        place, gap = killer.station, ()
    died_at = None if place is None else at[place]
    stations = tuple(_judged(index, station, known, at, seen, died_at) for index, station in enumerate(table))
    return Followed(stations, place, death if proven else None, gap, None if proven else death)


def _passed(each: Observation) -> bool:
    """Whether all packets of the burst were seen: some of them prove no more than that not all die."""
    return each.finding == "seen" and not 0 < each.seen < each.sent


def _missed(known: Sequence[Observation], at: Mapping[Station, int], packets: PacketClass) -> int:
    """Index of the first station that packets of the class did not come to; behind the table if nothing shows one.

    Handshakes begin at the tunnel, so that they do not contradict a station that has killed what goes into it.
    """
    seen = max((at[each.station] for each in known if _passed(each) and each.packets == packets), default=-1)
    alone = all(each.packets != "data" for each in known)
    missing = (
        at[each.station]
        for each in known
        if each.packets == packets and (each.finding == "absent" or (alone and _killed_inside(each)))
    )
    return min((index for index in missing if index > seen), default=len(at))


def _killed_inside(each: Observation) -> bool:
    return each.finding == "killed" and each.station in INNER and _certain(each)


def _killer(known: Sequence[Observation], at: Mapping[Station, int], seen: int, absent: int) -> Observation | None:
    """The station whose own word on a death nothing contradicts: the proven before the likely, then the earliest."""
    delivered = seen == len(at) - 1
    fitting = [
        each
        for each in known
        if each.finding == "killed"
        and at[each.station] <= absent
        and (seen < at[each.station] or (_dooms(each) and not delivered))
    ]
    proven = [each for each in fitting if _certain(each)]
    return next(iter(proven or fitting), None)


def _certain(each: Observation) -> bool:
    """Whether a station's own word is more than a guess."""
    return each.death is None or each.death.certain


def _dooms(each: Observation) -> bool:
    """Whether packets pass the station and die further on because of it."""
    return each.death is not None and each.death.later


def _between(
    table: Sequence[Station], known: Iterable[Observation], seen: int, absent: int | None
) -> tuple[Station | None, tuple[Station, ...]]:
    """The place, if only one station is left between the two observers; else the stations that are left."""
    if absent is None:
        return None, ()
    clear = {each.station for each in known if each.finding == "clear"}
    # A packet is seen at the end of a station, so what was not seen at one may have died there too.
    left = tuple(station for station in table[seen + 1 : absent + 1] if station not in clear)
    return (left[0], ()) if len(left) == 1 else (None, left)


def _judged(
    index: int,
    station: Station,
    known: Sequence[Observation],
    at: Mapping[Station, int],
    seen: int,
    died_at: int | None,
) -> Judged:
    here = [each for each in known if at[each.station] == index]
    if index == died_at:
        killed = next((each for each in here if each.finding == "killed"), None)
        if killed is not None:
            words = killed.death.message if killed.death is not None else killed.reason
            return Judged(station, "died", killed.by, words)
        absent = next((each for each in known if each.finding == "absent" and at[each.station] >= index), None)
        return Judged(station, "died", absent.by if absent else None, absent.reason if absent else "")
    if index <= seen:
        witness = next(each for each in known if each.finding == "seen" and at[each.station] >= index)
        return Judged(station, "passed", witness.by, witness.reason)
    if died_at is not None and index > died_at:
        return Judged(station, "unseen", None, "nothing came this far")
    guess = next((each for each in here if each.death is not None), None)
    if guess is not None and guess.death is not None:
        return Judged(station, "unseen", guess.by, f"this fits, and is not proven: {guess.death.message}")
    word = next((each for each in here if each.finding in ("clear", "blind", "absent")), None)
    return Judged(station, "unseen", word.by if word else None, word.reason if word else "")
