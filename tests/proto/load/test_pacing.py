"""When the datagrams of a UDP flow are due: at the rate, in small groups, and not for longer than granted."""

import pytest

from preflight.proto.load.pacing import MOST_AT_ONCE, Pacer
from preflight.proto.load.wire import DATAGRAM_BYTES, Amount


def sent(amount: Amount, tick_s: float) -> tuple[int, int]:
    """How many datagrams in all, and the most at once."""
    pacer, groups, now = Pacer(amount, 10.0), [], 10.0
    while (due := pacer.due(now)) is not None:
        groups.append(due)
        now += tick_s
    return sum(groups), max(groups)


@pytest.mark.parametrize("tick_s", [0.0005, 0.002, 0.004])
def test_the_rate_is_kept(tick_s: float) -> None:
    """Whatever the clock's ticks are."""
    number, _ = sent(Amount(2.0, 10**9, 50_000), tick_s)
    assert number * DATAGRAM_BYTES * 8 / 2.0 == pytest.approx(50e6, rel=0.01)


def test_a_late_sender_does_not_burst() -> None:
    """A queue on the way that is full of our own burst would be called the path's."""
    _, most = sent(Amount(5.0, 10**9, 1_000_000), 0.5)
    assert most <= MOST_AT_ONCE


def test_bytes_end_it() -> None:
    """The granted bytes are never exceeded."""
    number, _ = sent(Amount(10.0, 100 * DATAGRAM_BYTES + 5, 100_000), 0.001)
    assert number == 100
