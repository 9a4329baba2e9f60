"""How long a client waits before it asks again."""

import pytest

from preflight.proto.control.backoff import CEILING_S, delay_s


def test_back_off_grows_to_its_ceiling() -> None:
    """Each attempt may wait twice as long as the one before, up to the ceiling; full jitter reaches down to zero."""
    longest = [delay_s(attempt, None, 1.0) for attempt in range(1, 9)]
    assert longest[:4] == [0.5, 1.0, 2.0, 4.0]
    assert max(longest) == CEILING_S
    assert delay_s(5, None, 0.0) == 0.0


@pytest.mark.parametrize("random", [0.0, 0.5, 0.999])
def test_retry_after_is_a_least(random: float) -> None:
    """What the server asks for is kept; jitter only adds to it."""
    assert 7.0 <= delay_s(1, 7.0, random) <= 8.0


def test_huge_attempt_numbers_do_no_harm() -> None:
    """No overflow after a long outage."""
    assert delay_s(100_000, None, 0.5) == CEILING_S / 2
