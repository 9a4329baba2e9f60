"""Enough packets: a finding is certain, a clean path needs few, and a question stays open as long as chance allows."""

import pytest

from preflight.model.path import DirectionStats, StampStats
from preflight.proto.stamp.enough import certain, clean, is_graded, open_question, present, significant
from preflight.settings.schema import Thresholds

LIMITS = Thresholds()


def session(sent: int, lost: int = 0, duplicated: int = 0) -> StampStats:
    """A session that lost packets on its way to the peer, or doubled them."""
    received = sent - lost
    forward = DirectionStats(sent, received, received, 0, duplicated, (0.1,) * received)
    reverse = DirectionStats(received, received, received, delay_variation_ms=(0.1,) * received)
    return StampStats(sent=sent, answered=received, forward=forward, reverse=reverse)


@pytest.mark.parametrize(
    ("events", "packets", "certain"), [(0, 200, False), (2, 3, False), (12, 800, False), (14, 800, True)]
)
def test_a_share_is_a_finding_only_if_it_is_certain(events: int, packets: int, certain: bool) -> None:
    """The lower bound decides, and never one or two packets."""
    assert significant(events, packets, 1.0) is certain


def test_a_session_is_clean_only_without_any_event() -> None:
    """One lost packet is not a finding, and a reason to look again."""
    assert clean(session(200), LIMITS)
    assert not clean(session(200, lost=1), LIMITS)
    assert not clean(session(200, duplicated=1), LIMITS)
    assert not clean(StampStats(sent=200, answered=200), LIMITS)


@pytest.mark.parametrize(
    ("sent", "lost", "is_open"), [(200, 0, False), (200, 1, True), (1000, 1, False), (800, 9, True)]
)
def test_a_question_is_open_until_chance_cannot_explain_it(sent: int, lost: int, is_open: bool) -> None:
    """One loss of two hundred may be one in a hundred; one of a thousand is not."""
    assert open_question(session(sent, lost), LIMITS) is is_open


def test_a_path_that_breaks_off_stays_a_question() -> None:
    """Packets behind the last answer have no direction, and count too."""
    assert open_question(StampStats(sent=30, answered=20, undirected=10), LIMITS)


def test_what_is_certain_and_what_there_is_a_sign_of_are_named() -> None:
    """Trouble at one pace is the path's only if the same trouble is there at a slower one."""
    assert certain(session(200, lost=20), LIMITS) == {"loss"}
    assert certain(session(200, lost=1), LIMITS) == frozenset()
    assert present(session(200, lost=1), LIMITS) == {"loss"}
    assert present(session(200), LIMITS) == frozenset()
    for late, found in ((2, frozenset()), (20, {"jitter"})):
        way = DirectionStats(200, 200, 200, delay_variation_ms=(0.1,) * (200 - late) + (90.0,) * late)
        assert present(StampStats(sent=200, answered=200, forward=way, reverse=way), LIMITS) == found


@pytest.mark.parametrize(
    ("sent", "lost", "graded"), [(72, 4, False), (124, 17, True), (300, 30, True), (2000, 24, True), (200, 0, True)]
)
def test_a_warning_that_may_be_a_failure_is_not_enough(sent: int, lost: int, graded: bool) -> None:
    """4 of 72 are certainly too many, and may be the tenth part that they really are."""
    assert is_graded(session(sent, lost), LIMITS) is graded
