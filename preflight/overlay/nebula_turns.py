"""Whether two machines take a member's sessions from each other, by Nebula's own log; pure.

Nebula keeps its session where a member moves, and numbers each handshake. So a member that calls from one place, from
another, and from the first again, each time for another session, is two machines.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from ipaddress import ip_address
from itertools import groupby, pairwise
from typing import Final, NamedTuple

from preflight.model.overlay import OverlayPeer
from preflight.overlay.nebula_log import STARTED, fields

LEAST_CHANGES: Final = 3
"""There, back, and there again: somebody who starts it again while he moves does not come back so often."""
NEAR_S: Final = 60.0
RECENT_S: Final = 120.0
LEAST_RENEWED: Final = 4
HELD_S: Final = 10.0
"""Nebula takes longer to give up a session in which nothing comes, so shorter ones did not end by loss."""
LEAST_CALLS: Final = 3


class _Handshake(NamedTuple):
    """One that a member completed. calls: it began it."""

    at_s: float
    place: str
    number: str
    certificate: str
    calls: bool


def with_turns(peers: Iterable[OverlayPeer], lines: Iterable[str], now_s: float) -> tuple[OverlayPeer, ...]:
    """The members, with the places at which their sessions are made in turn. now_s: UNIX seconds."""
    met = _handshakes(lines)
    return tuple(_with_turns(peer, met.get(peer.key, ()), now_s) for peer in peers)


def _with_turns(peer: OverlayPeer, met: Sequence[_Handshake], now_s: float) -> OverlayPeer:
    recent = [each for each in met if 0 <= now_s - each.at_s < RECENT_S]
    found = _between(recent, now_s) or _renewed([each for each in recent if not each.calls], now_s)
    if found is not None:
        return replace(peer, turns=found[0], changes=found[1])
    if peer.endpoint is None or not _calls_again(recent, now_s):
        return peer
    return replace(peer, endpoint=None, session=None, last_handshake_unix_s=0.0, tried=(recent[-1].place,))


def _calls_again(met: Sequence[_Handshake], now_s: float) -> bool:
    """Whether the member calls as soon as it is answered: it does not take the answers, as with a blocked certificate.

    For this node each of these calls made a session.
    """
    last = met[-LEAST_CALLS:]
    row = _last_row(last, HELD_S, now_s)
    numbers = {each.number for each in row if each.calls and each.place == last[-1].place}
    return len(numbers) == LEAST_CALLS


def _between(met: Iterable[_Handshake], now_s: float) -> tuple[tuple[str, str], int] | None:
    """Two places of one certificate that take turns, and how often it changed.

    Only the member's own calls show where it is: of several places that this node calls, the first answer has it.
    One call that comes by two ways has one number, and is of neither place.
    """
    places = defaultdict[str, set[str]](set)
    calls = [each for each in met if each.calls]
    for each in calls:
        places[each.number].add(each.place)
    run = _last_row([each for each in calls if len(places[each.number]) == 1], NEAR_S, now_s)
    stays = [place for place, _ in groupby(each.place for each in run)]
    for first, second in pairwise(stays):
        between = [place for place, _ in groupby(each for each in stays if each in (first, second))]
        if len(between) > LEAST_CHANGES and first.startswith("[") == second.startswith("["):
            return (first, second), len(between) - 1
    return None


def _renewed(met: Sequence[_Handshake], now_s: float) -> tuple[tuple[str, str], int] | None:
    """One place whose sessions follow each other so quickly that somebody must end them, and how often they do.

    met: those that the member answered. Its own calls may be without end because it takes no answer.
    """
    run = _last_row(met, HELD_S, now_s)
    changes = len({each.number for each in run}) - 1
    if len({each.place for each in run}) != 1 or changes < LEAST_RENEWED:
        return None
    return (run[0].place, run[0].place), changes


def _last_row(met: Iterable[_Handshake], most_s: float, now_s: float) -> Sequence[_Handshake]:
    """The last ones with one certificate, each soon behind the one before; none if they are long ago."""
    row: list[_Handshake] = []
    for each in met:
        if row and (each.at_s - row[-1].at_s > most_s or each.certificate != row[-1].certificate):
            row = []
        row.append(each)
    return row if row and now_s - row[-1].at_s < NEAR_S else ()


def _handshakes(lines: Iterable[str]) -> Mapping[str, Sequence[_Handshake]]:
    """Those of the process that runs now, by the member's address."""
    met = defaultdict[str, list[_Handshake]](list)
    for line in lines:
        said = fields(line)
        if said.get("msg") == STARTED:
            met.clear()
        if said.get("msg") != "Handshake message received" or "relay" in said or "udpAddr" not in said:
            continue
        with suppress(ValueError):  # without a time, or of no member
            at_s = datetime.fromisoformat(said.get("time", "").replace("Z", "+00:00")).timestamp()
            address = str(ip_address(said.get("vpnIp", "")))
            number, certificate = said.get("initiatorIndex", ""), said.get("fingerprint", "")
            calls = "stage:1" in said.get("handshake", "")
            met[address].append(_Handshake(at_s, said["udpAddr"], number, certificate, calls))
    return met
