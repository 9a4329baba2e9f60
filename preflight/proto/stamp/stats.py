"""What the answers of a STAMP session prove: losses by direction, order, copies, delays and clocks. Pure."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from preflight.model.path import DirectionStats, StampStats
from preflight.proto.stamp.wire import Answer, ErrorEstimate

MAX_TAIL = 10
"""Packets after a session in which some were not answered."""
CLOCK_SLACK_NS = 100_000_000
"""How far two ways of timing one exchange may differ before the other end's times cannot be true."""
STRAY_COPIES = 3
"""In a session that lost nothing, at most this many answers may be missing to packets that were copied unnoticed."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One answer. received_ns, read_ns: when the kernel got it and when this program took it, UNIX ns."""

    answer: Answer
    received_ns: int
    read_ns: int

    @property
    def elapsed_ns(self) -> int:
        """From sending to receiving, by this node's clock alone."""
        return self.received_ns - self.answer.sender_ns

    @property
    def held_ns(self) -> int:
        """How long the reflector says that it kept the packet."""
        return self.answer.transmitted_ns - self.answer.received_ns


def judged(base: StampStats, arrivals: Sequence[Arrival], stateful: bool, error: ErrorEstimate) -> StampStats:
    """Directions, delays and clocks of a session that was answered."""
    unique: dict[tuple[int, int], Arrival] = {}
    for arrival in arrivals:
        unique.setdefault((arrival.answer.sender_sequence, arrival.answer.sequence), arrival)
    by_reflector = sorted(unique.values(), key=lambda arrival: arrival.answer.sequence)
    first: dict[int, Arrival] = {}
    for arrival in by_reflector:
        first.setdefault(arrival.answer.sender_sequence, arrival)
    in_order = [first[sequence] for sequence in sorted(first)]
    implausible = _implausible(in_order)
    stats = replace(
        base,
        undirected=base.sent - (max(first) + 1),
        rtt_ms=tuple(_rtt_ms(arrival) for arrival in in_order),
        ttl_at_peer=min(arrival.answer.sender_ttl for arrival in in_order),
        clock_error_ms=None if implausible else _clock_error_ms(error, in_order[0].answer.error),
        clock_offset_ms=None if implausible else _clock_offset_ms(min(in_order, key=_rtt_ms)),
        implausible=implausible,
        waited_ms=() if implausible else tuple(map(_waited_ms, in_order)),
    )
    reordered, extent = _reordering([arrival.answer.sequence for arrival in unique.values()])
    clean = not (base.lost or reordered or len(arrivals) > len(unique))
    # A reflector that may only copy our number does not show which direction lost, copied or delayed a packet.
    if not (stateful or clean) or not _numbers_hold(by_reflector, first):
        return stats
    reflected = by_reflector[-1].answer.sequence + 1
    reverse = DirectionStats(
        sent=max(reflected, len(unique)),
        received=len(unique),
        observed=len(unique),
        reordered=reordered,
        duplicated=len(arrivals) - len(unique),
        delay_variation_ms=() if implausible else _variation_ms(_reverse_ns(by_reflector)),
        extent=extent,
        breaks=_breaks([arrival.answer.sequence for arrival in by_reflector]),
    )
    forward = _forward(first, in_order, reflected, len(unique))
    blank = replace(forward, delay_variation_ms=())
    return replace(stats, forward=blank if implausible else forward, reverse=reverse)


def _numbers_hold(by_reflector: Sequence[Arrival], first: Mapping[int, Arrival]) -> bool:
    """Whether the reflector's numbers can be right, and count this session's packets only.

    More answers than twice the requests: it goes on with an older session. One number in the answers to two packets: it
    forgot the session and started over. More packets than were sent, plus twice the copies that were seen: no path
    loses answers to packets that were all answered.
    """
    reflected, known = by_reflector[-1].answer.sequence + 1, max(first) + 1
    restarted = len({arrival.answer.sequence for arrival in by_reflector}) < len(by_reflector)
    copies = len(by_reflector) - len(first)
    beyond = reflected - copies - known
    return reflected <= 2 * known + MAX_TAIL and not restarted and beyond <= copies + STRAY_COPIES


def _implausible(arrivals: Sequence[Arrival]) -> int:
    """How many answers have times that cannot be true, even if the other clock is wrong.

    The reflector cannot have kept a packet for longer than its exchange took. No direction can have taken longer than
    its best time plus that. A clock that was set during the session looks the same.
    """
    forward = _variation_ns([arrival.answer.received_ns - arrival.answer.sender_ns for arrival in arrivals])
    reverse = _variation_ns(_reverse_ns(arrivals))
    return sum(
        not _held_plausibly(arrival) or max(there, back) > arrival.elapsed_ns + CLOCK_SLACK_NS
        for arrival, there, back in zip(arrivals, forward, reverse, strict=True)
    )


def _held_plausibly(arrival: Arrival) -> bool:
    return -CLOCK_SLACK_NS <= arrival.held_ns <= arrival.elapsed_ns + CLOCK_SLACK_NS


def _waited_ms(arrival: Arrival) -> float:
    return (max(arrival.held_ns, 0) + max(arrival.read_ns - arrival.received_ns, 0)) / 1e6


def _reverse_ns(arrivals: Sequence[Arrival]) -> list[int]:
    """From the reflector's sending to this node's receiving, with the difference of the two clocks."""
    return [arrival.received_ns - arrival.answer.transmitted_ns for arrival in arrivals]


def _forward(first: Mapping[int, Arrival], in_order: Sequence[Arrival], reflected: int, answers: int) -> DirectionStats:
    """first: for each packet, the answer to the copy that arrived there first, in the order of these arrivals.

    A packet that was copied on its way there has several answers; the later ones do not count as packets.
    """
    copies = answers - len(first)
    known = max(first) + 1
    reordered, extent = _reordering(list(first))
    return DirectionStats(
        sent=known,
        received=min(max(reflected - copies, len(first)), known),
        observed=len(first),
        reordered=reordered,
        duplicated=copies,
        delay_variation_ms=_variation_ms([a.answer.received_ns - a.answer.sender_ns for a in in_order]),
        extent=extent,
        breaks=_breaks(sorted(first)),
    )


def _rtt_ms(arrival: Arrival) -> float:
    """The round trip without the time at the reflector, where that can be true."""
    held_ns = arrival.held_ns if _held_plausibly(arrival) else 0
    return max(arrival.elapsed_ns - held_ns, 0) / 1e6


def _clock_offset_ms(arrival: Arrival) -> float:
    """The other clock minus this one, as if both directions took the same time (RFC 5905 section 8)."""
    answer = arrival.answer
    return (answer.received_ns - answer.sender_ns + answer.transmitted_ns - arrival.received_ns) / 2e6


def _clock_error_ms(ours: ErrorEstimate, theirs: ErrorEstimate) -> float | None:
    if ours.synchronised and theirs.synchronised:
        return (ours.seconds + theirs.seconds) * 1000
    return None


def _reordering(sequence: Sequence[int]) -> tuple[int, int]:
    """How many numbers come after a greater one (RFC 4737 section 3.3), and the greatest extent of it.

    The extent is how many arrivals lie between a number and the first greater one before it (section 4.2).
    """
    count = extent = 0
    greatest: list[int] = []
    for place, number in enumerate(sequence):
        if greatest and number < greatest[-1]:
            count += 1
            extent = max(extent, place - bisect_right(greatest, number))
        greatest.append(max(number, greatest[-1]) if greatest else number)
    return count, extent


def _breaks(numbers: Sequence[int]) -> frozenset[int]:
    """Places of numbers that do not follow on the one before."""
    return frozenset(place for place, (one, two) in enumerate(pairwise(numbers), start=1) if two != one + 1)


def _variation_ms(delays_ns: Sequence[int]) -> tuple[float, ...]:
    """Delays less the smallest one; the unknown offset between two clocks falls out."""
    return tuple(delay / 1e6 for delay in _variation_ns(delays_ns))


def _variation_ns(delays_ns: Sequence[int]) -> list[int]:
    smallest = min(delays_ns)
    return [delay - smallest for delay in delays_ns]
