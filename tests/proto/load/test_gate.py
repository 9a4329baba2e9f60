"""How much load a responder takes: one flow at a time, within its own limits, whatever is asked for."""

from preflight.proto.load.gate import HOUR_S, LEAST_BYTES, Gate, Limits
from preflight.proto.load.wire import Amount, Request

LIMITS = Limits(seconds=5.0, flow_bytes=1_000_000, hour_bytes=2_500_000, kbit=10_000)
GREEDY = Request("udp-down", Amount(1e6, 2**60, 10**9), b"n" * 16)
SESSION = b"session!"


def test_a_flow_is_never_more_than_the_limits() -> None:
    """The asker has the key, and may still be mad."""
    amount = Gate(LIMITS, 0.0).ask(GREEDY, SESSION, 0.0).amount
    assert amount == Amount(5.0, 1_000_000, 10_000)


def test_less_is_given_where_less_is_asked() -> None:
    """The asker's own bounds hold."""
    asked = Request("tcp-up", Amount(1.0, 5_000, 0), b"n" * 16)
    assert Gate(LIMITS, 0.0).ask(asked, SESSION, 0.0).amount == asked.amount


def test_one_at_a_time() -> None:
    """Two flows would measure each other."""
    gate = Gate(LIMITS, 0.0)
    assert gate.ask(GREEDY, SESSION, 0.0).refusal is None
    assert gate.ask(GREEDY, SESSION, 1.0).refusal == "busy"
    gate.over(10)
    assert gate.ask(GREEDY, SESSION, 2.0).refusal is None


def test_the_bytes_of_an_hour_end_and_come_back() -> None:
    """Protects a line from somebody who asks again and again; unused bytes do not count."""
    gate = Gate(LIMITS, 0.0)
    for used in (1_000_000, 0, 1_000_000, 500_000 - LEAST_BYTES // 2):
        assert gate.ask(GREEDY, SESSION, 0.0).refusal is None
        gate.over(used)
    assert gate.ask(GREEDY, SESSION, 0.0).refusal == "spent"
    assert gate.ask(GREEDY, SESSION, HOUR_S / 2).amount.bytes == 1_000_000
    gate.over(1_000_000)
    gate.over(1_000_000)  # said twice, counts once
    assert gate.ask(GREEDY, SESSION, HOUR_S / 2).amount.bytes < 1_000_000
