"""What this node's firewall says of a burst and of the tunnel's own packets around it, by three readings; pure."""

from collections.abc import Iterable, Iterator, Sequence

from preflight.proto.way.netfilter.burst import Burst
from preflight.proto.way.netfilter.observe import observe_filters
from preflight.proto.way.netfilter.ruleset import FilterSnapshot
from preflight.proto.way.netfilter.trace import Dropped
from preflight.proto.way.observation import Observation
from preflight.proto.way.stations import Station

_IN_FRONT = frozenset((Station("prerouting-outer", "receiver"), Station("input-outer", "receiver")))
"""What comes in passes these rules before the tunnel's daemon gets it."""
_SESSION = Station("session", "receiver")


def word_of_rules(
    before: FilterSnapshot,
    after: FilterSnapshot,
    latest: FilterSnapshot,
    bursts: Sequence[Burst],
    traced: Sequence[Dropped] = (),
) -> tuple[Observation, ...]:
    """The word of all rules. after: read right behind the burst; latest: once the tunnel has tried again.

    Other packets move the counters of the burst's rules later. What the tunnel sends and gets is mostly sent later too:
    WireGuard calls every five seconds, and a rule that stops its calls has counted none before.
    """
    inner = [each for each in bursts if not each.outer]
    outer = [each for each in bursts if each.outer]
    return (
        *observe_filters(before, after, inner, traced=traced),
        *observe_filters(before, latest, outer, traced=traced),
    )


def unless_filtered(found: Iterable[Observation], rules: Iterable[Observation]) -> Iterator[Observation]:
    """What is seen of the tunnel, without what it is said to refuse where a rule may have kept that from it."""
    kept = any(
        each.station in _IN_FRONT
        and each.direction == "reverse"
        and (each.finding == "blind" or (each.death is not None and not each.death.certain))
        for each in rules
    )
    for each in found:
        refuses = each.station == _SESSION and each.direction == "reverse" and each.finding == "killed"
        if not (kept and refuses):
            yield each
