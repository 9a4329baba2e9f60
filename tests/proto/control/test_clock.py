"""How far two clocks differ, with the error that `Date` has."""

from dataclasses import replace
from email.utils import formatdate

import pytest

from preflight.model.control import HttpAnswer
from preflight.proto.control.clock import clock_offset


def answer(sent: float, received: float, date: float | None, **headers: str) -> HttpAnswer:
    dated = {"date": formatdate(date, usegmt=True)} if date is not None else {}
    return HttpAnswer(200, {**dated, **headers}, b"ok\n", (received - sent) * 1000, sent, received)


@pytest.mark.parametrize("skew_s", [-600.0, -7.3, 0.0, 0.4, 7.3, 600.0])
@pytest.mark.parametrize("lag_s", [0.0, 0.9])
def test_the_truth_lies_within_the_bounds(skew_s: float, lag_s: float) -> None:
    """Whatever fraction of a second `Date` cuts off, and however late a server renews it, the true offset is inside."""
    answers = []
    for start in (1000.05, 1000.65, 1001.3):
        stamped = int(start + 0.1 + skew_s - lag_s)
        answers.append(answer(start, start + 0.2, stamped))
    offset = clock_offset(answers)
    assert offset is not None
    assert offset.low_s <= skew_s <= offset.high_s
    assert offset.error_s <= 1.2


def test_no_date_no_verdict() -> None:
    """Without a `Date`, or with one from a cache, nothing is claimed."""
    assert clock_offset([]) is None
    assert clock_offset([answer(1000, 1001, None)]) is None
    assert clock_offset([answer(1000, 1001, 900, age="100")]) is None
    assert clock_offset([replace(answer(1000, 1001, 900), kept=True)]) is None


def test_contradiction_is_no_verdict() -> None:
    """Two servers with different clocks behind one name do not average to a third."""
    assert clock_offset([answer(1000, 1000.1, 1000), answer(1000, 1000.1, 1600)]) is None


def test_least_difference() -> None:
    """Within its error bar a difference counts as none."""
    close, far = clock_offset([answer(1000, 1000.1, 1000)]), clock_offset([answer(1000, 1000.1, 1600)])
    assert close is not None
    assert far is not None
    assert close.least_s == 0.0
    assert far.least_s == pytest.approx(599.9)
    assert far.middle_s == pytest.approx(601, abs=0.1)
