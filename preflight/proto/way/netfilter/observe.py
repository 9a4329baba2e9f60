"""What this node's firewall says of packets, station by station."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from preflight.codes import HOST_FIREWALL_DROP, MTU_BLACK_HOLE, REACH_NO_FORWARD, REACH_NO_REVERSE, Code
from preflight.model.facts import DeathFacts
from preflight.model.remedy import Remedies
from preflight.proto.way.netfilter.burst import Burst
from preflight.proto.way.netfilter.further import further
from preflight.proto.way.netfilter.judge import Event, Verdicts, World, by_trace, judge, none_came, worlds
from preflight.proto.way.netfilter.remedies import let_pass, look_at, makes_room
from preflight.proto.way.netfilter.ruleset import FilterSnapshot, Hook
from preflight.proto.way.netfilter.trace import Dropped
from preflight.proto.way.netfilter.walk import Change, Counters, Key
from preflight.proto.way.netfilter.words import chain_name, rule_name, what_it_does, what_it_may_do
from preflight.proto.way.observation import Death, Finding, Observation
from preflight.proto.way.stations import Station

NO_RULE = "no rule of this node's firewall can stop or change them"
NONE_CAME = "may stop packets that are not answers, and none was seen coming"
TRACE = "`preflight all --trace` shows which"


def observe_filters(
    before: FilterSnapshot,
    after: FilterSnapshot,
    bursts: Sequence[Burst],
    *,
    traced: Sequence[Dropped] = (),
    by: str = "node",
) -> tuple[Observation, ...]:
    """What the firewall did with bursts that were sent between two readings, or would do with what did not come.

    after: read with the bursts' flows, so that connection tracking is known. traced: what `RuleTrace` saw of these
    flows; it proves a rule without any counter.

    For each burst and each station that it passes here: `killed` where a rule stops or changes it (the later stations
    are left out then; `certain` is False where the rule fits, is the only one, and nothing counted), `absent` where a
    counter that each packet has to move did not move, `clear` where no rule can touch it, and `blind` where rules could
    not be read, or where several may have stopped it. `seen` is what the rule's counter saw, 0 where it has none. At
    `egress` and `prerouting` this is the word of rules only, not of queues and of programs in the kernel.
    """
    reason = before.unreadable or after.unreadable
    if reason is not None:
        return tuple(
            _observation(burst, station, "blind", reason, by) for burst in bursts for station in _stations(burst)
        )
    counters = Counters(before.ruleset, after.ruleset)
    found = {burst: worlds(after, counters, burst) for burst in bursts}
    expected = _expected(found)
    verdicts = {
        burst: by_trace(after, burst, traced) or judge(found[burst], counters, expected, burst.sent) for burst in bursts
    }
    return tuple(
        observation
        for burst in bursts
        for observation in _of(_Asked(burst, after, counters, verdicts, by), verdicts[burst])
    )


@dataclass(frozen=True, slots=True)
class _Asked:
    burst: Burst
    after: FilterSnapshot
    counters: Counters
    verdicts: Mapping[Burst, Verdicts]
    by: str


def _expected(found: Mapping[Burst, Sequence[World]]) -> dict[Key, int]:
    """How many packets of all bursts each rule may have seen."""
    most: dict[Key, int] = {}
    for burst, those in found.items():
        for key in {event.key for world in those for event in world.events}:
            most[key] = most.get(key, 0) + burst.sent
    return most


def _stations(burst: Burst) -> Iterable[Station]:
    return dict.fromkeys(station for _, station in burst.hooks)


def _of(asked: _Asked, verdicts: Verdicts) -> Iterable[Observation]:
    burst, by = asked.burst, asked.by
    at_stake = {event.station: event for event in reversed(verdicts.possible)}
    for station in _stations(burst):
        if verdicts.certain is not None and verdicts.certain.station == station:
            yield _killed(asked, verdicts.certain, certain=True)
            return
        if verdicts.missed == station:
            yield _observation(burst, station, "absent", "a counter that each of them has to move did not move", by)
            return
        if station not in at_stake or verdicts.certain is not None:
            yield _observation(burst, station, "clear", NO_RULE, by)
        elif none_came(asked.after, burst, verdicts):
            yield _observation(burst, station, "blind", f"{_here(verdicts.possible, station)} {NONE_CAME}", by)
        elif len(verdicts.possible) == 1:
            seen = burst.refused or _was_changed(burst, at_stake[station])
            yield _killed(asked, at_stake[station], certain=seen)
            if seen:
                return
        else:
            yield _observation(burst, station, "blind", _several(verdicts.possible, station), by)


def _several(possible: Sequence[Event], station: Station) -> str:
    return f"may be stopped by {_here(possible, station)}; {TRACE}"


def _here(possible: Sequence[Event], station: Station) -> str:
    return " or ".join(rule_name(event.what.chain, event.what.rule) for event in possible if event.station == station)


def _observation(burst: Burst, station: Station, finding: Finding, reason: str, by: str) -> Observation:
    return Observation(
        station=station,
        finding=finding,
        direction=burst.direction,
        by=by,
        reason=reason,
        packets=burst.packets,
        sent=burst.sent,
    )


def _killed(asked: _Asked, event: Event, *, certain: bool) -> Observation:
    burst, what = asked.burst, event.what
    sentence = what_it_does(burst, what) if certain else what_it_may_do(burst, what)
    large = burst.packets == "large" and not _also_small(asked, event)
    facts = DeathFacts(
        rule_handle=None if what.rule is None else what.rule.handle,
        chain=chain_name(what.chain),
        comment=None if what.rule is None else what.rule.comment,
        source=what.action.source if isinstance(what, Change) else None,
        packet_class="large" if large else None,
    )
    moved = bool(what.counted)
    remedies, behind = _heals(asked, event) if certain or moved else (look_at(what.chain), "")
    code, proven = _code(burst, event, large=large), certain and not _may_be_meant(burst, event)
    seen = asked.counters.of(event.key) or 0
    return Observation(
        station=event.station,
        finding="killed",
        direction=burst.direction,
        by=asked.by,
        reason=rule_name(what.chain, what.rule),
        packets=burst.packets,
        sent=burst.sent,
        seen=min(seen, burst.sent) if burst.sent else seen,
        # What a rule rewrites goes on, and dies where nobody takes its new source or knows its new target.
        death=Death(
            code=code,
            message=f"{sentence}{behind}",
            facts=facts,
            remedies=remedies,
            certain=proven,
            later=isinstance(what, Change) and burst.leaves,
        ),
    )


def _heals(asked: _Asked, event: Event) -> tuple[Remedies, str]:
    """What lets the packets pass this rule and those that would stop them next, and a clause that names these."""
    burst = asked.burst
    first = let_pass(burst, _hook(burst, event), event.what)
    behind = further(asked.after, burst, event) if makes_room(first) else ()
    more = [let_pass(burst, _hook(burst, each), each.what) for each in behind]
    if not behind or not all(map(makes_room, more)):
        return first, ""
    names = " and ".join(rule_name(each.what.chain, each.what.rule) for each in behind)
    every = (remedy for remedies in (first, *more) for remedy in remedies)
    return tuple(dict.fromkeys(every)), f"; behind it {names} would stop them too"


def _hook(burst: Burst, event: Event) -> Hook:
    """The hook of the station; at one with two, that of the rule's chain if it begins there."""
    hooks = [hook for hook, station in burst.hooks if station == event.station]
    own = event.what.chain.hook
    return own if own in hooks else hooks[-1]


def _also_small(asked: _Asked, event: Event) -> bool:
    """Whether the same rule stops the small packets on the same way too."""
    return any(
        other.outer == asked.burst.outer
        and other.direction == asked.burst.direction
        and other.packets != "large"
        and event.key in {each.key for each in (verdicts.certain, *verdicts.possible) if each is not None}
        for other, verdicts in asked.verdicts.items()
    )


def _code(burst: Burst, event: Event, *, large: bool) -> Code:
    if isinstance(event.what, Change) and burst.leaves and event.what.action.kind in ("snat", "masquerade", "rewrite"):
        # The peer refuses a wrong source inside the tunnel; outside it answers to that address.
        return REACH_NO_REVERSE if burst.outer else REACH_NO_FORWARD
    return MTU_BLACK_HOLE if large and burst.outer else HOST_FIREWALL_DROP


def _may_be_meant(burst: Burst, event: Event) -> bool:
    """Whether such a translation works elsewhere: an address of the site that leads back here."""
    return isinstance(event.what, Change) and burst.outer and burst.leaves and not _was_changed(burst, event)


def _was_changed(burst: Burst, event: Event) -> bool:
    """Whether a tap behind the rule saw the packets with the source that it gives them."""
    what = event.what
    return isinstance(what, Change) and burst.left_as is not None and what.action.source == burst.left_as
