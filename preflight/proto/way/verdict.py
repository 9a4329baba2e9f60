"""What following a burst has shown of one direction: the death, the gap, or only how far it was seen; pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from preflight import codes
from preflight.codes import Code
from preflight.model.facts import DeathFacts
from preflight.model.remedy import Remedies, Remedy, look, to_try
from preflight.proto.way.followed import heard, with_rewriting
from preflight.proto.way.inference import Followed, infer
from preflight.proto.way.observation import Death, Observation, Passing
from preflight.proto.way.silent import look_at_silent, silence
from preflight.proto.way.stations import FORWARDED, PACKET, Station

WayDirection = Literal["forward", "reverse"]
VerdictDirection = Literal["forward", "reverse", "round-trip"]
_NOBODY: Mapping[WayDirection, Code] = {"forward": codes.REACH_NO_FORWARD, "reverse": codes.REACH_NO_REVERSE}
_OF_THE_PRODUCT: Mapping[Code, str] = {
    codes.OVERLAY_NO_HANDSHAKE: "there never was a handshake with",
    codes.OVERLAY_HANDSHAKE_STALE: "there is no fresh handshake with",
}
"""What the product itself says of its session, whatever the reason is."""
_LISTED = 4
"""How many stations of a gap a sentence names; for more it names the first and the last."""
_SILENT = (*_NOBODY.values(), codes.REACH_UNREACHABLE)
_BOTH_WAYS = frozenset(
    (
        codes.HOST_UPLINK_DOWN,
        codes.OVERLAY_ALLOWED_IPS,
        codes.OVERLAY_DAEMON_DOWN,
        codes.OVERLAY_ENDPOINT_HAIRPIN,
        codes.OVERLAY_HANDSHAKE_STALE,
        codes.OVERLAY_NO_HANDSHAKE,
        codes.OVERLAY_PORT_CONFLICT,
        codes.OVERLAY_PRESHARED_KEY,
        codes.REACH_UNREACHABLE,
    )
)
"""What leaves a tunnel no session: then nothing passes in the other direction either."""
_FILTER_HERE = Station("rp", "receiver")
_THEIR_SESSION = Station("session", "receiver")
_ITS_SESSION = Station("session", "sender")
_NETWORK = Station("network", "network")
_OUT_OF_HERE = tuple(map(Station, ("route-outer", "filter-outer", "post-outer", "neighbour", "egress-outer", "wire")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """direction: `round-trip` where nobody saw in which one packets die. code: None if nothing is proven to die.

    station: the proven place; None for a gap, or for what only fits. proven: a station itself says what it drops.
    """

    direction: VerdictDirection
    message: str
    code: Code | None = None
    station: Station | None = None
    facts: DeathFacts | None = None
    remedies: Remedies = ()
    observations: tuple[Observation, ...] = ()
    proven: bool = False

    @property
    def dies_here(self) -> bool:
        """Whether it is a place on this node."""
        here = {"forward": "sender", "reverse": "receiver"}.get(self.direction)
        return self.station is not None and self.station.host == here


def conclude(
    peer: str, observations: Iterable[Observation], *, passes: Passing | None = None, silent: bool = False
) -> tuple[Verdict, ...]:
    """What is known of each direction of which anything was observed. peer: its name, for the sentences.

    Where nobody saw why packets die in either direction, it is one silence, and not two faults. passes: what the
    peer answers, so that only UDP dies, or UDP and echoes do. silent: it has answered nothing at all in this run.
    """
    said = with_rewriting(observations)
    known: list[Verdict] = []
    is_heard, shakes = heard(said), _handshakes(said)
    for direction in _NOBODY:
        own = tuple(each for each in said if each.direction == direction)
        if own:
            known.append(_verdict(peer, direction, own, is_heard=is_heard, shakes=shakes))
    together = (_silent(peer, said, known) if silent and not is_heard else None) or _as_one(known, said)
    together = tuple(_without_words(each, together) for each in together)
    return tuple(_only_udp(each, passes) for each in together) if passes else together


def _without_words(each: Verdict, known: Iterable[Verdict]) -> Verdict:
    """Without what a person would do on a machine where the other direction's cause, the same one, has the lines."""
    others = (other for other in known if other is not each and other.code == each.code)
    lines = {remedy.where for other in others for remedy in other.remedies if remedy.fix is not None}
    repeats = {remedy for remedy in each.remedies if remedy.kind == "fix" and remedy.fix is None}
    kept = tuple(remedy for remedy in each.remedies if remedy not in repeats or remedy.where not in lines)
    return each if len(kept) == len(each.remedies) else replace(each, remedies=kept)


def _silent(peer: str, said: Sequence[Observation], known: Sequence[Verdict]) -> tuple[Verdict, ...] | None:
    """One verdict where data leaves for a peer that answers nothing, and no observer has shown what happens to it."""
    words = silence(peer, said)
    if not words or any(each.code is not None for each in known):
        return None
    silent = Verdict(
        direction="round-trip", message=words, code=codes.REACH_UNREACHABLE, remedies=look_at_silent(peer, said)
    )
    return (replace(silent, observations=tuple(each for found in known for each in found.observations)),)


def _handshakes(said: Iterable[Observation]) -> str:
    """What shows that the tunnel's handshakes pass both ways; empty if nothing does."""
    of_both = (each for each in said if each.station == _THEIR_SESSION and each.direction == "forward")
    return next((each.reason for each in of_both if each.packets == "handshake" and each.finding == "seen"), "")


def _only_udp(each: Verdict, passes: Passing) -> Verdict:
    """The same where something else passes, and nothing has shown what kills the rest."""
    silent = not each.proven and each.code in _SILENT
    return replace(each, code=codes.UDP_BLOCKED, message=f"{each.message}; {passes} passes") if silent else each


def _as_one(known: Sequence[Verdict], said: Iterable[Observation]) -> tuple[Verdict, ...]:
    """One verdict where both directions are silent; without a session, silence is not a second fault."""
    silent = [each for each in known if not each.proven and each.code in _SILENT]
    if len(silent) == len(_NOBODY):
        return (_both(silent),)
    waits = any(
        each.station == _ITS_SESSION and each.direction == "reverse" and each.finding == "blind" for each in said
    )
    # Who hands packets on does so for both ways, and the other way's end cannot know what it does.
    handed_on = any(each.proven and each.station is not None and each.station.host == "forwarder" for each in known)
    stops = any(each.proven and (_stops_both(each) or _stops_the_tunnel(each, waits=waits)) for each in known)
    if stops or handed_on:
        return tuple(_not_another(each) if each in silent else each for each in known)
    if any(each.proven and each.code == codes.OVERLAY_ROUTE_LEAK and each.direction == "forward" for each in known):
        # The strict filter asks the routes of this node: the leaking one is why it refuses what comes from the peer.
        return tuple(_not_another(each) if _filters_here(each) else each for each in known)
    return tuple(known)


def _not_another(each: Verdict) -> Verdict:
    """The same as what another cause brings."""
    return replace(each, code=None, station=None, remedies=())


def _filters_here(each: Verdict) -> bool:
    return each.code == codes.HOST_RP_FILTER and each.direction == "reverse" and each.station == _FILTER_HERE


def _stops_both(each: Verdict) -> bool:
    """Whether nothing can pass in the other direction either: without a session, or to an address that is wrong."""
    wrong_source = each.code in (codes.OVERLAY_WRONG_SOURCE, codes.REACH_NO_REVERSE) and each.direction == "forward"
    return wrong_source or each.code in _BOTH_WAYS


def _stops_the_tunnel(each: Verdict, *, waits: bool) -> bool:
    """Whether none of the tunnel's packets gets out of one end: then the other one has no session to send with.

    waits: the peer has said that it has none; that this node's call is not answered shows by itself.
    """
    classes = each.facts.packet_class if each.facts is not None else None
    return (each.direction == "reverse" or waits) and each.station in _OUT_OF_HERE and classes is None


def _both(silent: Sequence[Verdict]) -> Verdict:
    places = {each.station for each in silent}
    return Verdict(
        direction="round-trip",
        message="; ".join(dict.fromkeys(each.message for each in silent)),
        code=codes.REACH_UNREACHABLE,
        station=silent[0].station if len(places) == 1 else None,
        facts=next((each.facts for each in silent if each.facts is not None), None),
        remedies=tuple(dict.fromkeys(remedy for each in silent for remedy in each.remedies)),
        observations=tuple(said for each in silent for said in each.observations),
    )


def _verdict(
    peer: str, direction: WayDirection, said: tuple[Observation, ...], *, is_heard: bool, shakes: str
) -> Verdict:
    table = FORWARDED if any(each.station.host == "forwarder" for each in said) else PACKET
    followed = infer(table, said)
    death = followed.death
    if death is not None:
        both = death.code == codes.REACH_UNREACHABLE
        return Verdict(
            direction="round-trip" if both else direction,
            message=death.message,
            code=death.code,
            station=followed.place,
            facts=death.facts,
            remedies=tuple(dict.fromkeys((*death.remedies, *_of_the_same_rule(death, said)))),
            observations=said,
            proven=True,
        )
    found = _gap(peer, direction, said, followed, shakes)
    return found if followed.likely is None else _with_likely(found, peer, followed.likely, is_heard=is_heard)


def _of_the_same_rule(death: Death, said: Iterable[Observation]) -> Iterator[Remedy]:
    """What lets other packets of the way past the rule, or policy, that stops these: one alone does not help."""
    if death.facts is None or death.facts.chain is None:
        return
    rule = (death.facts.chain, death.facts.rule_handle)
    for each in said:
        other = each.death.facts if each.death is not None and each.death.certain else None
        if each.death is not None and other is not None and (other.chain, other.rule_handle) == rule:
            yield from each.death.remedies


def _gap(peer: str, direction: WayDirection, said: tuple[Observation, ...], followed: Followed, shakes: str) -> Verdict:
    """What two observers leave between them: its direction is proven, and its cause is not.

    shakes: what shows that handshakes pass where the network may let no more than these through.
    """
    left = followed.gap or ((followed.place,) if followed.place is not None else ())
    if not left:
        return Verdict(direction=direction, message=_so_far(direction, peer, followed), observations=said)
    large = _only_large(said)
    where = _listed(followed.gap) if followed.gap else f"at {left[0].id}"
    message = f"{_packets(direction, peer, large)} die {where}: {_between(followed, said)}"
    only_data = bool(shakes) and not large and _NETWORK in left
    return Verdict(
        direction=direction,
        message=f"{message}{f'; {shakes}' if only_data else ''}{_unseen(followed.gap, said)}",
        code=codes.MTU_BLACK_HOLE if large else _NOBODY[direction],
        station=followed.place,
        facts=DeathFacts(packet_class="data") if only_data else None,
        remedies=() if large else _look_there(peer, direction, left, said),
        observations=said,
    )


def _look_there(peer: str, direction: WayDirection, left: Iterable[Station], said: Iterable[Observation]) -> Remedies:
    """What shows more where only the peer's own machine knows which of the stations it is."""
    its_host = "receiver" if direction == "forward" else "sender"
    if not any(station.host == its_host for station in left):
        return ()
    rules = look("nft -a list ruleset; iptables-save -c", where="peer", host=peer, root=True)
    told = [each for each in said if each.by == f"{peer} by mailbox"]
    if not told or any(each.finding in ("clear", "blind") for each in told):  # it cannot be asked, or observes already
        return rules
    return (*rules, *look(f"Start the responder of {peer} with --observe: then the next run asks it what it sees."))


def _with_likely(found: Verdict, peer: str, likely: Death, *, is_heard: bool) -> Verdict:
    """The same with what fits: only a sentence and what shows more, never a place or a fix."""
    fits = f"this fits, and is not proven: {likely.message}"
    remedies = to_try(likely.remedies)
    if likely.code in _OF_THE_PRODUCT:
        return Verdict(
            direction="round-trip",
            code=likely.code,
            message=f"{_OF_THE_PRODUCT[likely.code]} {peer}; {fits}",
            facts=likely.facts,
            remedies=remedies,
            observations=found.observations,
        )
    if found.code is not None:
        return replace(found, message=f"{found.message}; {fits}", remedies=remedies)
    if is_heard:
        return replace(found, message=f"{found.message}; {fits}")
    message = f"{peer} is silent, and nobody saw where packets die; {fits}"
    return replace(found, direction="round-trip", code=codes.REACH_UNREACHABLE, message=message, remedies=remedies)


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
    return "; ".join(dict.fromkeys(parts)) or "nobody saw them behind it"


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
