"""What hosts say about packets of a run, kept for the check that follows them later."""

from preflight.api import Peer
from preflight.model.path import StampStats
from preflight.net.control.client import ControlClient
from preflight.net.stamp.path import PathProbes
from preflight.settings.load import Settings


def test_errors_about_a_peer_are_kept_until_it_answers() -> None:
    """A host limits how many it sends: those about one burst may be all that it says in a run."""
    probes, peer = PathProbes(Settings(), ControlClient(None, environment={})), Peer("10.66.0.2", "b")
    errors = {"type 3 code 13 from 10.66.0.2": 1}
    probes.note_refusals(peer, StampStats(3, 0, icmp_errors=errors), StampStats(6, 0))
    assert probes.refusals(peer) == errors
    probes.note_refusals(peer, StampStats(3, 1))
    assert probes.refusals(peer) == {}
