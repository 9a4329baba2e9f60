"""What hosts say about packets of a run, kept for later bursts of it."""

from preflight.api import Peer
from preflight.model.path import StampStats
from preflight.net.stamp.refusals import Refusals

PEER = Peer("10.66.0.2", "b")
ERRORS = {"type 3 code 13 from 10.66.0.2": 1}


def test_errors_about_a_peer_are_kept_until_it_answers() -> None:
    """A host limits how many it sends: those about one burst may be all that it says in a run."""
    refusals, silent = Refusals(), StampStats(6, 0)
    refusals.note(PEER, StampStats(3, 0, icmp_errors=ERRORS, port_unreachable=True), silent)
    assert refusals.completed(PEER, silent) == StampStats(6, 0, icmp_errors=ERRORS, port_unreachable=True)
    assert refusals.closed(PEER)
    refusals.note(PEER, StampStats(3, 1))
    assert not refusals.closed(PEER)
    assert refusals.completed(PEER, silent) == silent


def test_an_answered_session_and_another_peer_stay_as_they_are() -> None:
    """Protects who answers from what was said before, or about another peer."""
    refusals, answered = Refusals(), StampStats(3, 3)
    refusals.note(PEER, StampStats(3, 0, icmp_errors=ERRORS))
    assert refusals.completed(PEER, answered) is answered
    assert refusals.completed(Peer("10.66.0.3", "c"), StampStats(3, 0)) == StampStats(3, 0)
