"""What this node's observers saw of its way to a peer, turned round for that peer to read; pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from preflight.model.facts import DeathFacts
from preflight.model.fix import Fix
from preflight.model.observed import Direction, PeerObservation
from preflight.proto.way.observation import Death, Observation
from preflight.proto.way.stations import PACKET, Host, Station

_SEEN_FROM_THERE: Mapping[tuple[Direction, Host], Direction] = {
    ("forward", "sender"): "reverse",
    ("reverse", "receiver"): "forward",
}
"""Of a way's stations, this node reports those at itself: where it sends, and where it receives."""
_NOTHING = ("clear", "blind")
_PLACE = {station: place for place, station in enumerate(PACKET)}


def told(observations: Iterable[Observation]) -> Iterator[PeerObservation]:
    """The same observations for the asker, to whom this node is the peer. No sentence is in them.

    That nothing was seen or found at a station is reported once, and only where nothing else is known of it; a death
    once, of the packets that come first.
    """
    own = [each for each in observations if (each.direction, each.station.host) in _SEEN_FROM_THERE]
    changed = _changed(own)
    own = [
        each for each in own if each.finding != "seen" or _PLACE[each.station] <= changed or each.direction != "forward"
    ]
    known = {each.station for each in own if each.finding not in _NOTHING}
    killed: set[tuple[Station, DeathFacts | None]] = set()
    for each in own:
        death = each.death
        if (each.finding == "killed" and death is None) or (each.finding in _NOTHING and each.station in known):
            continue
        if death is not None:
            # What kills every packet kills large ones too.
            facts = replace(death.facts, packet_class=None) if death.facts else None
            if (each.station, facts) in killed:
                continue
            killed.add((each.station, facts))
        known.add(each.station)
        direction = _SEEN_FROM_THERE[each.direction, each.station.host]
        yield PeerObservation(
            station=each.station.id,
            finding=each.finding,
            direction=direction,
            packets=each.packets,
            sent=each.sent,
            seen=each.seen,
            code=death.code.slug if death else None,
            facts=death.facts if death else None,
            certain=death.certain if death else True,
            fixes=_fixes(death) if death else (),
        )


def _changed(own: Iterable[Observation]) -> int:
    """The place behind which what leaves here is not what was sent: a rule gives it another source."""
    places = (
        _PLACE[each.station]
        for each in own
        if each.finding == "killed" and each.death and each.death.facts and each.death.facts.chain
        if each.death.facts.source is not None and each.direction == "forward"
    )
    return min(places, default=len(_PLACE))


def _fixes(death: Death) -> tuple[Fix, ...]:
    """What heals here, if all of it can be said: half of what belongs together may be worse than nothing."""
    remedies = [remedy for remedy in death.remedies if remedy.kind == "fix"]
    if any(remedy.where != "node" or remedy.fix is None for remedy in remedies):
        return ()
    return tuple(remedy.fix for remedy in remedies if remedy.fix is not None)
