"""How round trips are distributed: every packet is in one bar, and the slow tail stays visible."""

from hypothesis import given
from hypothesis import strategies as st

from preflight.model.spread import BINS, LEAST, as_data, spread

times = st.floats(0.01, 60_000)


@given(st.lists(times, min_size=LEAST, max_size=400))
def test_each_packet_is_counted_once(values: list[float]) -> None:
    """Protects from a picture of fewer packets than were measured, whatever the times are."""
    known = spread(values)
    assert known is not None
    assert sum(known.counts) == len(values)
    assert len(known.counts) == BINS
    assert known.p50_ms <= known.p95_ms <= known.p99_ms <= known.max_ms


def test_one_slow_packet_does_not_flatten_the_others() -> None:
    """The bars end at the 99th percentile: a single late answer is in the last one, and in the maximum."""
    known = spread([*(1 + n / 100 for n in range(199)), 900.0])
    assert known is not None
    assert known.from_ms + known.bin_ms * BINS < 3
    assert (known.counts[-1] > 1, known.max_ms) == (True, 900.0)


def test_of_few_packets_there_is_no_distribution() -> None:
    """Three bars of one packet each would look like knowledge."""
    assert spread([1.0] * (LEAST - 1)) is None
    same = spread([1.0] * LEAST)
    assert same is not None
    assert as_data(same)["counts"] == [LEAST] + [0] * (BINS - 1)
