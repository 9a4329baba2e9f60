"""Whether anything of what a peer sent is missing here."""

import pytest

from preflight.model.path import DirectionStats, StampStats
from preflight.model.peer import Peer
from preflight.net.stamp.whole import Whole

B = Peer("10.66.0.2", "b")
ALL = DirectionStats(sent=20, received=20, observed=20)
LOST = DirectionStats(sent=20, received=19, observed=19)
ANSWERED = StampStats(sent=20, answered=20, forward=ALL, reverse=ALL)
ONE_LOST_THERE = StampStats(sent=20, answered=19, forward=LOST, reverse=ALL)
ONE_LOST_HERE = StampStats(sent=20, answered=19, forward=ALL, reverse=LOST)
NOBODY_KNOWS_WHERE = StampStats(sent=21, answered=20, forward=ALL, reverse=ALL, undirected=1)
SILENT = StampStats(sent=20, answered=0)
WITHOUT_NUMBERS = StampStats(sent=20, answered=20)


@pytest.mark.parametrize(
    ("sessions", "whole"),
    [
        ([], False),
        ([ANSWERED], True),
        ([ANSWERED, ONE_LOST_THERE], True),
        ([ANSWERED, ONE_LOST_HERE, ANSWERED], False),
        ([NOBODY_KNOWS_WHERE], False),
        ([SILENT, ANSWERED], False),
        ([ANSWERED, SILENT], False),
        ([WITHOUT_NUMBERS], False),
    ],
)
def test_one_missing_answer_is_enough(sessions: list[StampStats], whole: bool) -> None:
    """Another machine may have taken it, whatever came before and after; what was lost on the way there it did not."""
    noted = Whole()
    for session in sessions:
        noted.note(B, session)
    assert noted.came(B) == whole
    assert not noted.came(Peer("10.66.0.3", "c"))
