"""Enough packets: a finding is certain, a clean path needs few, and a question stays open as long as chance allows."""

import pytest

from preflight.model.path import DirectionStats, StampStats
from preflight.proto.stamp.enough import clean, open_question, significant
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
