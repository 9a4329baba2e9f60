"""When a request is repeated, and after what time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflight.model.control import ControlError, NotHttpError
from preflight.proto.control.backoff import CEILING_S, FIRST_S, delay_s, retriable, unheard


@given(st.integers(1, 10**6), st.floats(0, 1, exclude_max=True))
def test_waits_grow_to_a_ceiling(attempt: int, random: float) -> None:
    """Full jitter: anything from nothing to the interval of that attempt."""
    assert 0 <= delay_s(attempt, None, random) <= min(CEILING_S, FIRST_S * 2 ** min(attempt - 1, 10))


def test_retry_after_is_a_minimum() -> None:
    """Clients that the server sent away together come back spread over at most a second."""
    assert [delay_s(9, 60.0, random) for random in (0.0, 0.99)] == [60.0, 61.0]


@pytest.mark.parametrize(
    ("error", "again", "lost"),
    [
        (ControlError("timeout", None, ""), True, True),
        (ControlError("refused", None, ""), True, False),
        (ControlError("status", 429, ""), True, False),
        (ControlError("status", 502, ""), True, True),
        (ControlError("status", 401, ""), False, False),
        (ControlError("protocol", 200, ""), False, True),
        (ControlError("foreign", None, ""), False, False),
        (NotHttpError(""), False, True),
    ],
)
def test_what_an_error_means(error: ControlError, again: bool, lost: bool) -> None:
    """Whether a repeat may help, and whether the request may have been carried out: two questions, two answers."""
    assert (retriable(error), unheard(error)) == (again, lost)
