"""What a flow adds to the delay: by direction, without a common clock, and only of its steady part."""

from collections.abc import Callable

import pytest

from preflight.model.load import Counted, Flow, FlowKind
from preflight.proto.load.added import GRADES, LEAST_PACKETS, grade, loaded_delay
from preflight.proto.stamp.stats import Arrival
from preflight.proto.stamp.wire import Answer, ErrorEstimate

MS = 1_000_000
OFFSET_NS = 7_000_000_000
"""The reflector's clock is seconds away from ours."""
START = 1_700_000_000_000_000_000


def arrival(number: int, at_ms: float, there_ms: float, back_ms: float) -> Arrival:
    """The answer to a packet; the reflector keeps it for half a millisecond."""
    sent = START + int(at_ms * MS)
    reached = sent + int(there_ms * MS)
    left = reached + MS // 2
    answer = Answer(
        sequence=number,
        transmitted_ns=left + OFFSET_NS,
        error=ErrorEstimate(),
        ssid=1,
        received_ns=reached + OFFSET_NS,
        sender_sequence=number,
        sender_ns=sent,
        sender_ttl=255,
    )
    received = left + int(back_ms * MS)
    return Arrival(answer, received, received)


def session(there_ms: Callable[[float], float], back_ms: Callable[[float], float]) -> list[Arrival]:
    """Ten seconds of packets every 50 ms."""
    return [arrival(number, at, there_ms(at), back_ms(at)) for number, at in enumerate(range(0, 10_000, 50))]


def flow(kind: FlowKind) -> Flow:
    """From the second second to the tenth."""
    return Flow(kind, Counted(10**6, 100, 8.0, 10**6, 7.0), 10**6, START + 2_000 * MS, START + 10_000 * MS)


IDLE = (START, START + 1_500 * MS)


def filling(at_ms: float) -> float:
    """A queue that a flow fills from the second second on, in two seconds, up to 120 ms."""
    return 10.0 + min(max((at_ms - 2_000) / 2_000, 0.0), 1.0) * 120.0


def still(at_ms: float) -> float:
    """A direction with no queue."""
    return 10.0


@pytest.mark.parametrize(
    ("kind", "there", "back"),
    [("tcp-up", filling, still), ("tcp-down", still, filling)],
)
def test_the_queue_counts_in_its_direction(
    kind: FlowKind, there: Callable[[float], float], back: Callable[[float], float]
) -> None:
    """The delay is that of the full queue, whatever the other clock says, and the round trip follows."""
    arrivals = session(there, back)
    found = loaded_delay(flow(kind), IDLE, arrivals, [each.answer.sender_ns for each in arrivals])
    assert found is not None
    assert found.way is not None
    assert found.way.added_ms == pytest.approx(120.0, abs=0.1)
    assert found.idle_rtt_ms == pytest.approx(20.0, abs=0.1)
    assert found.loaded_rtt_ms == pytest.approx(140.0, abs=0.1)
    assert (found.lost, found.sent) == (0, 80)


def test_the_other_direction_is_left_alone() -> None:
    """An upload whose acknowledgements come back through a full queue adds nothing in its own direction."""
    arrivals = session(still, filling)
    found = loaded_delay(flow("tcp-up"), IDLE, arrivals, [each.answer.sender_ns for each in arrivals])
    assert found is not None
    assert found.way is not None
    assert found.way.added_ms == pytest.approx(0.0, abs=0.1)
    assert found.loaded_rtt_ms == pytest.approx(140.0, abs=0.1)


def test_lost_packets_are_counted() -> None:
    """What a full queue drops has no delay, and is counted."""
    arrivals = session(filling, still)
    sent = [each.answer.sender_ns for each in arrivals]
    found = loaded_delay(flow("tcp-up"), IDLE, [each for number, each in enumerate(arrivals) if number % 4], sent)
    assert found is not None
    assert (found.lost, found.sent) == (20, 80)


def test_few_packets_say_nothing() -> None:
    """A flow that was over at once gives no number."""
    arrivals = session(filling, still)[: 30 + LEAST_PACKETS]
    short = Flow("tcp-up", Counted(), 0, START + 2_000 * MS, START + 2_400 * MS)
    assert loaded_delay(short, IDLE, arrivals, []) is None
    assert loaded_delay(flow("tcp-up"), IDLE, arrivals[30:], []) is None


def test_grades_go_from_best_to_worst() -> None:
    """Each limit begins the next grade."""
    assert [grade(limit) for limit, _ in GRADES] == ["A", "B", "C", "D", "F"]
    assert grade(0.0) == "A+"
    assert grade(29.9) == "A"
