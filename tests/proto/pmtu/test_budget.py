"""The pace of path-MTU probes: what a slow link spreads out is seen, and a quick one is not slowed down."""

import pytest

from preflight.proto.pmtu.budget import HEADROOM, SLOWEST_S_PER_BYTE, Budget, lead, spread
from preflight.proto.pmtu.probe import Probe


def burst(*arrivals: float | None, size: int = 1000, apart: float = 0.0001) -> list[Probe]:
    """Probes of one size, and when each arrived; None: never."""
    return [
        Probe(number, size, sent_at=number * apart, arrived=at is not None, arrived_at=at or 0.0)
        for number, at in enumerate(arrivals)
    ]


def test_a_slow_link_is_seen_by_what_it_spreads_out() -> None:
    """200 kbit/s take 40 ms for each thousand bytes behind the first."""
    assert spread(burst(0.04, 0.08, 0.12)) == pytest.approx(4e-5)
    # What vanished behind the link took its time there.
    assert spread(burst(0.04, None, 0.12)) == pytest.approx(4e-5)


@pytest.mark.parametrize("arrivals", [(), (0.5,), (0.1, 0.1005, 0.101), (0.12, 0.08), (None, 0.1, None)])
def test_a_quick_link_shows_nothing(arrivals: tuple[float | None, ...]) -> None:
    """A millisecond is a host's own; one packet and packets that overtook each other show no rate."""
    assert spread(burst(*arrivals)) is None


def test_a_slow_link_is_seen_by_how_late_its_first_packet_is() -> None:
    """A short queue loses the end of a burst; what was sent first still took its time."""
    assert lead(burst(0.05, None, None, 0.051), 0.01) == pytest.approx((0.04, 1000))
    assert lead(burst(None, 0.0901, None), 0.01) == pytest.approx((0.08, 2000))
    assert lead(burst(0.009, 0.012), 0.01) == (0.0, 1000)
    assert lead(burst(None, None), 0.01) is None


def test_packets_that_were_sent_slowly_show_no_slow_link() -> None:
    """They arrive as far apart as they were sent."""
    assert spread(burst(0.1, 0.2, 0.3, apart=0.1)) is None


def test_the_budget_spaces_what_all_searches_send() -> None:
    """Two searches share it, and each packet takes the time that the link needs."""
    budget = Budget()
    assert (budget.due(1000, 5.0), budget.due(1000, 5.0)) == (5.0, 5.0)
    assert not budget.limited
    assert budget.at_once(16) == 16
    budget.learn(burst(0.04, 0.08, 0.12), 1000, 0.04)
    pace = HEADROOM * 4e-5
    assert budget.s_per_byte == pytest.approx(pace)
    assert [budget.due(1000, 5.0), budget.due(500, 5.0), budget.due(1000, 5.0)] == pytest.approx(
        [5.0, 5.0 + 1000 * pace, 5.0 + 1500 * pace]
    )
    assert budget.due(1000, 9.0) == 9.0
    assert budget.at_once(16) == 1


def test_a_host_that_was_late_once_is_no_slow_link() -> None:
    """On a busy machine one burst is late; the next ones show it, and a large mesh is not measured slowly."""
    budget = Budget()
    budget.learn(burst(0.02, 0.021, 0.022), 1000, 0.001)
    assert budget.limited
    budget.learn(burst(0.0012, None, 0.1, apart=0.04), 999, 0.001)
    assert budget.s_per_byte < 1e-6
    budget.learn(burst(0.02, 0.021, 0.022), 1000, 0.001)
    assert budget.s_per_byte < 1e-6
    assert budget.at_once(16) == 16


def test_the_pace_falls_only_where_packets_that_fit_are_lost() -> None:
    """What is too large is lost at any pace."""
    budget = Budget()
    budget.learn(burst(0.04, 0.08, 0.12), 1000, 0.04)
    before = budget.s_per_byte
    budget.learn(burst(0.08, None, 0.12), 999, 0.04)
    assert budget.s_per_byte == pytest.approx(before)
    budget.learn(burst(0.08, None, 0.12), 1000, 0.04)
    assert budget.s_per_byte == pytest.approx(2 * before)
    for _ in range(20):
        budget.learn(burst(0.04, None, 0.12), 1000, 0.04)
    assert budget.s_per_byte == SLOWEST_S_PER_BYTE
