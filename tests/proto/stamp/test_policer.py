"""A limit on the rate is distinguished from a slow link, from loss at random, and from what the ends drop."""

import asyncio
from dataclasses import replace

import pytest

from preflight.api import Peer
from preflight.model.path import Drops, StampStats
from preflight.proto.stamp import policer
from tests.proto.stamp.lines import Line, Lines

PEER = Peer("10.66.0.2", "b")


def session(line: Line, per_s: float, count: int = 90) -> StampStats:
    """What a session at this rate measures of the direction to the peer, over a line that was silent before."""
    return asyncio.run(Lines(replace(line)).stamp(PEER, count=count, interval_s=1 / per_s))


def test_the_rate_that_arrives_is_the_limit() -> None:
    """Whatever is sent above it, about as much arrives."""
    rates = [policer.suspected_per_s(session(Line(police_per_s=30), per_s), "forward") for per_s in (60, 120, 250)]
    assert [rate is not None and 30 <= rate <= 55 for rate in rates] == [True] * 3


@pytest.mark.parametrize("link_per_s", [100, 150, 190])
def test_a_limit_in_front_of_a_slow_link_is_seen(link_per_s: float) -> None:
    """The packets that its bucket lets through at first wait for the link; those after a loss do not."""
    line = Line(police_per_s=30, link_per_s=link_per_s)
    assert policer.suspected_per_s(session(line, 250, 20), "forward") is not None
    below, above = session(line, 21, 50), session(line, 60, 90)
    assert policer.policed(below, above, "forward") is not None


@pytest.mark.parametrize("line", [Line(link_per_s=60), Line(link_per_s=60, room=3), Line(loss=0.1), Line()])
def test_a_slow_link_and_a_few_losses_are_no_reason_to_try_rates(line: Line) -> None:
    """In front of a slow link packets wait; a small loss at random is measured well enough without."""
    assert policer.suspected_per_s(session(line, 250, 200), "forward") is None


def test_what_was_lost_at_a_quicker_pace_counts() -> None:
    """The pace becomes slower until nothing is lost: then only the session before shows the limit."""
    quick, slow = session(Line(police_per_s=30), 60), session(Line(police_per_s=30), 16)
    assert policer.suspected_per_s(slow, "forward") is None
    assert policer.suspected_per_s(replace(slow, quicker=quick), "forward") is not None


def test_loss_at_a_slower_pace_too_is_no_limit() -> None:
    """A third is lost at random at each pace: nobody tries rates for four seconds to find that none is the reason."""
    lossy = session(Line(loss=0.35), 250, 200)
    assert policer.suspected_per_s(lossy, "forward") is not None
    assert policer.suspected_per_s(replace(lossy, slower=session(Line(loss=0.35), 62.5)), "forward") is None
    policed = session(Line(police_per_s=30), 250, 200)
    for slower in (session(Line(police_per_s=30), 62.5), session(Line(police_per_s=30), 16)):
        assert policer.suspected_per_s(replace(policed, slower=slower), "forward") is not None


def test_what_an_end_dropped_is_no_limit_of_the_path() -> None:
    """A responder that drops what is over its own limit says so."""
    quick = session(Line(police_per_s=30), 60)
    assert policer.suspected_per_s(replace(quick, drops=Drops(limited=quick.lost)), "forward") is None


def test_a_limit_is_proven_by_two_rates() -> None:
    """All packets pass at one rate, and at the next one many are lost, none of which waited."""
    line = Line(police_per_s=30)
    below, above = session(line, 21, 50), session(line, 60, 90)
    found = policer.policed(below, above, "forward")
    assert found is not None
    assert (found.below_count, round(found.below_per_s), round(found.above_per_s)) == (50, 21, 60)
    assert 30 <= found.arriving_per_s <= 40
    assert 30 < found.loss_percent < 60
    assert policer.policed(below, above, "reverse") is None


@pytest.mark.parametrize("line", [Line(loss=0.4), Line(link_per_s=30, room=5), Line()])
def test_nothing_else_proves_one(line: Line) -> None:
    """Loss at random is there at both rates, and a queue makes packets wait."""
    assert policer.policed(session(line, 21, 50), session(line, 60, 90), "forward") is None


def test_no_try_is_long_or_large() -> None:
    """At most two hundred packets, tails included, and three seconds each."""
    assert policer.BELOW_COUNT + policer.AGAIN_COUNT + policer.ABOVE_COUNT + 3 * 10 <= 200
    for per_s in (policer.SLOWEST_PER_S, 10, 100, 1000):
        for what in (policer.try_below(per_s, policer.BELOW_COUNT), policer.try_above(per_s)):
            assert policer.FEWEST <= what.count <= policer.ABOVE_COUNT
            assert what.count * what.interval_s <= max(policer.RUNG_S, policer.FEWEST * what.interval_s) + 0.5
