"""What was observed of the ways of packets, as events of the run."""

import time
from collections.abc import Iterable

from preflight.model.event import Listener, telling
from preflight.proto.way.observation import Observation


def tell_observations(listener: Listener | None, target: str, found: Iterable[Observation]) -> None:
    """One event for each. target: the name of the peer."""
    tell = telling(listener, "way.follow", target)
    for each in found:
        tell(
            time.monotonic(),
            "observed",
            direction=each.direction,
            station=f"{each.station.id}@{each.station.host}",
            finding=each.finding,
            packets=each.packets,
            seen=each.seen,
            sent=each.sent,
            by=each.by,
            reason=each.death.message if each.death else each.reason,
            certain=each.death.certain if each.death else None,
        )
