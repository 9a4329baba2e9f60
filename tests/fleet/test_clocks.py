"""Offsets of nodes' clocks from steps that the controller saw begin and end."""

from hypothesis import given
from hypothesis import strategies as st

from preflight.fleet.clocks import Offset, offset_of

TIME = st.floats(0, 1e6)
SHORT = st.floats(0, 10)


@given(st.floats(-1e6, 1e6), st.lists(st.tuples(TIME, SHORT, SHORT), min_size=1, max_size=4))
def test_the_true_offset_is_within_the_bounds(ahead: float, steps: list[tuple[float, float, float]]) -> None:
    """Protects the rounds: a node whose clock is wrong by days still starts within the error that is given."""
    readings = [(began, began + before + after, began + before + ahead) for began, before, after in steps]
    found = offset_of(readings)
    assert found.low - 1e-6 <= ahead <= found.high + 1e-6
    assert abs(found.middle - ahead) <= found.error + 1e-6


def test_several_steps_leave_what_all_of_them_allow() -> None:
    """Protects the length of rounds: a second step makes the bound tighter."""
    assert offset_of([(0, 4, 102)]) == Offset(98, 102)
    assert offset_of([(0, 4, 102), (10, 11, 111)]) == Offset(100, 101)


def test_steps_that_contradict_each_other_leave_the_tightest() -> None:
    """Protects from an empty bound when a clock was set during the run."""
    assert offset_of([(0, 4, 102), (10, 11, 200)]) == Offset(189, 190)
