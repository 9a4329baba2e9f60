"""What two readings of a firewall say of one flow: what stops it for certain, and what may."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

from preflight.proto.way.netfilter.action import Action
from preflight.proto.way.netfilter.attributes import text
from preflight.proto.way.netfilter.bits import Tri, certainly
from preflight.proto.way.netfilter.burst import Burst
from preflight.proto.way.netfilter.packet import Packet, State, in_host_order
from preflight.proto.way.netfilter.ruleset import FilterSnapshot, Hook, Rule, Ruleset, Tracked
from preflight.proto.way.netfilter.trace import Dropped
from preflight.proto.way.netfilter.walk import Change, Counters, Counts, Key, Kill, KillKind, Walk, key_of
from preflight.proto.way.stations import Station

_MOST_OF = 0.8
"""The share of a burst that a counter must have seen: a limit may have let the first ones pass."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that stops a flow at a station, or makes it useless."""

    station: Station
    what: Kill | Change

    @property
    def key(self) -> Key:
        """The rule."""
        return key_of(self.what.chain, self.what.rule)

    @property
    def sure(self) -> Tri:
        """Whether it happens."""
        return self.what.sure if isinstance(self.what, Kill) else self.what.action.sure


@dataclass(frozen=True, slots=True)
class World:
    """What would happen if connection tracking saw the flow in one way.

    missed: the station where a counter that every packet has to move did not move.
    """

    events: tuple[Event, ...] = ()
    missed: Station | None = None


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What is known of a flow. certain: what stops it. possible: what may. missed: no packet came as far as this.

    depends: whether it stops the flow differs by what connection tracking holds of it.
    """

    certain: Event | None = None
    possible: tuple[Event, ...] = ()
    missed: Station | None = None
    depends: bool = False


def worlds(
    snapshot: FilterSnapshot, counters: Counters, burst: Burst, passed: frozenset[Key] = frozenset()
) -> tuple[World, ...]:
    """What happens to a flow, for every state in which connection tracking may see it.

    A world whose counters contradict it is left out, unless they all do. passed: as `Walk` has it.
    """
    found = tuple(_world(snapshot, counters, burst, each, passed) for each in _states(snapshot, burst))
    return tuple(each for each in found if each.missed is None) or found


def _states(snapshot: FilterSnapshot, burst: Burst) -> list[tuple[State, Tri]]:
    """The states, and whether rules that translate are asked for the flow in them."""
    if burst.fresh:
        return [("new", Tri.YES)]
    if burst.flow.is_discovery:
        return [("untracked", Tri.NO)]  # connection tracking leaves these out, so no rule for answers lets them in
    if not snapshot.asked(burst.flow):
        unknown: list[tuple[State, Tri]] = [("new", Tri.YES), ("established", Tri.MAYBE)]
        if not burst.leaves and burst.flow.protocol != "udp":
            unknown.append(("invalid", Tri.NO))
        return unknown
    held = snapshot.held(burst.flow)
    if held is None:
        # Without an entry nothing has left, so no answer can come; one that does come begins a flow.
        answers: list[tuple[State, Tri]] = [] if burst.leaves or burst.sent else [("established", Tri.NO)]
        return [*answers, ("new", Tri.YES)]
    translated = certainly(_translated(burst, held))
    return [("established" if held.established else "new", translated)]


def _translated(burst: Burst, held: Tracked) -> bool:
    flow = burst.flow
    now = (flow.source, flow.source_port, flow.destination, flow.destination_port)
    return now != (held.source, held.source_port, held.destination, held.destination_port)


def _world(
    snapshot: FilterSnapshot,
    counters: Counters,
    burst: Burst,
    tracked: tuple[State, Tri],
    passed: frozenset[Key] = frozenset(),
) -> World:
    state, nat = tracked
    packet = Packet(
        flow=burst.flow,
        hook="output",
        mark=in_host_order(burst.flow.mark),
        state=state,
        devices=snapshot.ruleset.devices,
    )
    # No counter has seen the first packet of a flow that began before the readings.
    seen = Counters(Ruleset(), snapshot.ruleset) if burst.fresh else counters
    walk = Walk(snapshot.ruleset, Counts(seen, burst.sent), packet, nat=nat, passed=passed)
    events: list[Event] = []
    for hook, station in burst.hooks:
        kills, changes = len(walk.kills), len(walk.changes)
        walk.pass_hook(hook)
        deadly = (_deadly(snapshot, burst, hook, each) for each in walk.changes[changes:])
        events += (Event(station, each) for each in [each for each in deadly if each] + walk.kills[kills:])
        if walk.missed:
            return World(tuple(events), station)
        if not walk.alive or any(each.sure is Tri.YES for each in events):
            break
    return World(tuple(events))


def _deadly(snapshot: FilterSnapshot, burst: Burst, hook: Hook, change: Change) -> Change | None:
    """The change, with what is known of its result, if the packets cannot do their work behind it."""
    held = None if burst.fresh else snapshot.held(burst.flow)
    action = change.action
    flow = burst.flow
    if action.kind in ("snat", "masquerade"):
        source = held.source if held is not None and held.source != flow.source else action.source
        own = source in snapshot.addresses and burst.outer
        if source is None or source == flow.source or own or not burst.leaves:
            return None
        return replace(change, action=replace(action, source=source))
    if action.kind in ("dnat", "redirect"):
        return _elsewhere(burst, held, change)
    if action.kind == "rewrite":
        given = (action.source, action.source_port, action.destination, action.destination_port)
        same = (flow.source, flow.source_port, flow.destination, flow.destination_port)
        if not any(one is not None and one != other for one, other in zip(given, same, strict=True)):
            return None
        # Rules at the other hooks may undo it; only what goes into a tunnel has to keep its source.
        undone = Tri.YES if burst.leaves and not burst.outer and action.source else Tri.MAYBE
        return replace(change, action=replace(action, sure=action.sure & undone))
    return None


def _elsewhere(burst: Burst, held: Tracked | None, change: Change) -> Change | None:
    """A new destination: this node's own socket, or the peer, gets nothing any more."""
    action, flow = change.action, burst.flow
    address = held.destination if held is not None else action.destination
    port = held.destination_port if held is not None else action.destination_port
    here = (address in (None, flow.destination)) and (port in (None, flow.destination_port))
    if here and action.kind != "redirect":
        return None
    if here and (port is not None or not burst.leaves):
        return None
    return replace(change, action=_to(action, address, port))


def _to(action: Action, address: str | None, port: int | None) -> Action:
    return replace(action, destination=address, destination_port=port)


def none_came(snapshot: FilterSnapshot, burst: Burst, verdicts: Verdicts) -> bool:
    """Whether what may stop the flow depends on whether its packets are answers, and none was seen coming."""
    unasked = snapshot.asked(burst.flow) and snapshot.held(burst.flow) is None
    counted = any(event.what.counted for event in verdicts.possible)
    return verdicts.depends and unasked and not (burst.leaves or burst.sent or counted)


def judge(found: Sequence[World], counters: Counters, expected: Mapping[Key, int], sent: int) -> Verdicts:
    """What all worlds of a flow say together.

    expected: how many packets of all flows each rule may have seen. sent: packets of this flow, 0 if that is not known.
    """
    missed = [each.missed for each in found]
    if found and all(each is not None for each in missed):
        return Verdicts(missed=missed[0])
    events = sorted((event for world in found for event in world.events), key=attrgetter("sure"))
    everything = {event.key: event for event in events}
    for event in everything.values():
        if _is_counted(event, counters, expected, sent):
            return Verdicts(certain=event)
    firsts = {_first(world) for world in found}
    if len(firsts) == 1 and (only := firsts.pop()) is not None:
        return Verdicts(certain=everything[only])
    keys = {frozenset(event.key for event in world.events) for world in found}
    return Verdicts(possible=tuple(everything.values()), depends=len(keys) > 1)


def _is_counted(event: Event, counters: Counters, expected: Mapping[Key, int], sent: int) -> bool:
    """Whether a rule's counter moved by about as many packets as it may have seen; one of a flow if it translates."""
    if isinstance(event.what, Kill) and event.what.open:
        return False
    if event.what.chain.kind == "nat" and event.sure is Tri.YES:
        sent = min(sent, 1)
        expected = {}
    seen, most = counters.of(event.key), expected.get(event.key, sent)
    return bool(sent and seen is not None and most * _MOST_OF <= seen <= most + max(2, most // 2))


def _first(world: World) -> Key | None:
    """The rule that stops the flow for certain in one world."""
    if world.missed is not None:
        return None
    return next((event.key for event in world.events if event.sure is Tri.YES and _has_come(event)), None)


def _has_come(event: Event) -> bool:
    """Whether the rule has ever counted a packet, if it counts."""
    counter = event.what.chain.counter if event.what.rule is None else event.what.rule.counter
    return counter is None or counter.packets > 0


def by_trace(snapshot: FilterSnapshot, burst: Burst, traced: Sequence[Dropped]) -> Verdicts | None:
    """What a trace says of a flow; None if it says nothing."""
    chains = {chain.key: chain for chain in snapshot.ruleset.chains}
    for each in traced:
        base, chain = chains.get((False, *each.base)), chains.get((False, each.family, each.table, each.chain))
        station = next((station for hook, station in burst.hooks if base is not None and hook == base.hook), None)
        if each.flow != burst.flow or chain is None or station is None:
            continue
        rule = next((rule for rule in chain.rules if rule.handle == each.handle), None)
        if (rule is None) is (each.handle is None):
            return Verdicts(certain=Event(station, Kill(chain, rule, _how(rule), Tri.YES)))
    return None


def _how(rule: Rule | None) -> KillKind:
    """A trace calls a rejection a drop."""
    for each in rule.expressions if rule is not None else ():
        if each.name == "reject" or (each.name == "target" and text(each.attributes.get(1)) == "REJECT"):
            return "reject"
    return "drop"
