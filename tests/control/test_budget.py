"""The allowance for large requests and answers."""

import pytest

from preflight.control.budget import FREE_BYTES, Budget
from preflight.control.refusal import Refusal


def test_what_is_small_is_free() -> None:
    """It comes and goes without counting, in however many parts."""
    budget = Budget(0)
    with budget.share() as share:
        for _ in range(4):
            share.take(FREE_BYTES // 4)
        with pytest.raises(Refusal) as refusal:
            share.take(1)
    assert refusal.value.status == 503
    assert budget.left == 0


def test_what_is_large_is_given_back() -> None:
    """At the end of the request, also of one that was refused."""
    budget = Budget(1000)
    with budget.share() as share:
        share.take(FREE_BYTES + 600)
        share.take(400)
        assert budget.left == 0
        with budget.share() as other, pytest.raises(Refusal):
            other.take(FREE_BYTES + 1)
        assert budget.left == 0
    assert budget.left == 1000
