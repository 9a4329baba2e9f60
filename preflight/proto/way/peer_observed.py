"""What a peer's observers report by mailbox, as observations of stations at the peer; pure.

A peer is believed about itself only: whatever it says, the place of a death that follows from it is one of its own
stations, never one of this node, and never the network alone. What it sends is facts, and every sentence is made here.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from preflight.codes import OVERLAY_ALLOWED_IPS
from preflight.model.observed import PeerObservation
from preflight.proto.way.observation import Observation
from preflight.proto.way.peer_death import Asker, death_of
from preflight.proto.way.stations import PACKET, Station
from preflight.proto.way.words import counted

_SENDER = {station.id: station for station in PACKET if station.host == "sender"}
_RECEIVER = {station.id: station for station in PACKET if station.host == "receiver"}
_EDGE, _BEFORE_EDGE = "wire", "egress-outer"
_UNCLEARED = frozenset(
    {_EDGE, "tunnel", "session", "socket", "egress", "egress-outer", "prerouting", "prerouting-outer"}
)
"""Packets vanish here for reasons that no rule or counter shows, so nothing there can be ruled out by a word."""


def observed_by(observed: Iterable[PeerObservation], asker: Asker) -> Iterator[Observation]:
    """The observations that can be believed. Stations and codes that this node does not know are ignored."""
    for each in observed:
        station = (_RECEIVER if each.direction == "forward" else _SENDER).get(each.station)
        if station is None:
            continue
        made = _killed(each, station, asker) if each.finding == "killed" else _passive(each, station, asker.name)
        if made is not None:
            yield made
            if made.death is not None and made.death.code == OVERLAY_ALLOWED_IPS and each.direction == "reverse":
                # The tunnel takes from a peer only what it would send there.
                yield replace(made, station=_RECEIVER["session"], direction="forward")


def _killed(each: PeerObservation, station: Station, asker: Asker) -> Observation | None:
    death = death_of(each, asker)
    if death is None:
        return None
    return replace(_said(each, station, asker.name), finding="killed", death=death, reason=death.message)


def _passive(each: PeerObservation, station: Station, name: str) -> Observation | None:
    if each.finding == "clear" and station.id in _UNCLEARED:
        return None
    if each.finding == "seen" and each.direction == "reverse" and station.id == _EDGE:
        # That they left the peer's host is only its word: its own last step stays among what may have lost them.
        station = _SENDER[_BEFORE_EDGE]
    return _said(each, station, name)


def _said(each: PeerObservation, station: Station, name: str) -> Observation:
    return Observation(
        station=station,
        finding=each.finding,
        direction=each.direction,
        by=f"{name} by mailbox",
        reason=_reason(each, name),
        packets=each.packets,
        sent=each.sent,
        seen=each.seen,
    )


def _reason(each: PeerObservation, name: str) -> str:
    if each.finding == "seen":
        return f"{name} saw {counted(each.seen, 'packet')} there" if each.seen else f"{name} saw packets there"
    words = {
        "absent": f"{name} saw none there",
        "clear": f"nothing at {name} drops them there",
        "blind": f"nobody at {name} could look there",
    }
    return words.get(each.finding, "")
