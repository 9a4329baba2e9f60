"""What would stop a flow next, if the rule that stops it now let it pass: one line often heals only half."""

from preflight.proto.way.netfilter.bits import Tri
from preflight.proto.way.netfilter.burst import Burst
from preflight.proto.way.netfilter.judge import Event, World, worlds
from preflight.proto.way.netfilter.ruleset import FilterSnapshot, Ruleset
from preflight.proto.way.netfilter.walk import Counters

_MOST = 3
_UNCOUNTED = Counters(Ruleset(), Ruleset())
"""What has not come as far as a rule has not moved its counter either."""


def further(snapshot: FilterSnapshot, burst: Burst, first: Event) -> tuple[Event, ...]:
    """The rules behind the first one that stop the flow for certain, in their order."""
    found = [first]
    while len(found) <= _MOST:
        passed = frozenset(each.key for each in found)
        firsts = [_first(world) for world in worlds(snapshot, _UNCOUNTED, burst, passed)]
        known = {None if each is None else each.key for each in firsts}
        event = firsts[0] if firsts else None
        if event is None or len(known) != 1 or event.key in passed:
            break
        found.append(event)
    return tuple(found[1:])


def _first(world: World) -> Event | None:
    return next((event for event in world.events if event.sure is Tri.YES), None)
