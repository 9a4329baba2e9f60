"""What a flow adds to the delay of small packets that are under way meanwhile, in each direction; pure.

One STAMP session runs from before the flow until after it. Both ends' clocks differ by a number that nobody knows, and
that stays the same for these seconds: it falls out where delays of one session are subtracted. So the delay that a flow
adds is known for each direction, without synchronised clocks.
"""

from collections.abc import Callable, Iterable, Sequence

from preflight.model.load import AddedDelay, Flow, LoadedDelay
from preflight.model.path import percentile
from preflight.proto.stamp.stats import Arrival

FILLING = 0.5
"""The share of a flow in which the queue still fills: not counted. A TCP that leaves its slow start early needs seconds
for a deep queue."""
LEAST_PACKETS = 10
"""Fewer packets before or during a flow say nothing."""
GRADES = ((5.0, "A+"), (30.0, "A"), (60.0, "B"), (200.0, "C"), (400.0, "D"))
"""Added milliseconds up to which each grade goes, as the usual tests of bufferbloat grade them; F beyond."""


def grade(added_ms: float) -> str:
    """From A+, where nobody notices a transfer of others, to F, where a call is not possible during it."""
    return next((letter for limit, letter in GRADES if added_ms < limit), "F")


def loaded_delay(
    flow: Flow, idle: tuple[int, int], arrivals: Sequence[Arrival], sent_ns: Sequence[int]
) -> LoadedDelay | None:
    """What packets waited during a flow. idle: a time without load, UNIX ns. None: too few of them came back.

    sent_ns: when each packet of the session left, answered or not.
    """
    began = flow.began_ns + int((flow.ended_ns - flow.began_ns) * FILLING)
    calm = [each for each in arrivals if idle[0] <= each.answer.sender_ns < idle[1]]
    busy = [each for each in arrivals if began <= each.answer.sender_ns < flow.ended_ns]
    if len(calm) < LEAST_PACKETS or len(busy) < LEAST_PACKETS:
        return None
    sent = sum(began <= at < flow.ended_ns for at in sent_ns)
    return LoadedDelay(
        flow=flow,
        way=_added(calm, busy, _forward_ns if flow.kind.endswith("up") else _reverse_ns),
        idle_rtt_ms=_median(_rtt_ms(each) for each in calm),
        loaded_rtt_ms=_median(_rtt_ms(each) for each in busy),
        lost=max(sent - len({each.answer.sender_sequence for each in busy}), 0),
        sent=sent,
    )


def _added(calm: Sequence[Arrival], busy: Sequence[Arrival], delay_ns: Callable[[Arrival], int]) -> AddedDelay:
    least = min(map(delay_ns, calm))
    loaded = [(delay_ns(each) - least) / 1e6 for each in busy]
    return AddedDelay(
        idle_ms=_median((delay_ns(each) - least) / 1e6 for each in calm),
        loaded_ms=_median(loaded),
        loaded_p95_ms=percentile(loaded, 95),
        packets=len(busy),
    )


def _forward_ns(arrival: Arrival) -> int:
    return arrival.answer.received_ns - arrival.answer.sender_ns


def _reverse_ns(arrival: Arrival) -> int:
    return arrival.received_ns - arrival.answer.transmitted_ns


def _rtt_ms(arrival: Arrival) -> float:
    return (arrival.elapsed_ns - arrival.held_ns) / 1e6


def _median(values: Iterable[float]) -> float:
    return percentile(list(values), 50)
