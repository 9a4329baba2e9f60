"""What a run takes for a line on which packets wait in no queue."""

import pytest

from preflight.model.path import StampStats
from preflight.net.control.client import ControlClient
from preflight.net.stamp.path import PathProbes
from preflight.settings.load import Settings


@pytest.mark.parametrize(
    ("answered", "rtt_ms", "quick"), [(3, 1.0, True), (2, 1.0, False), (3, 700.0, False), (0, 0.0, False)]
)
def test_a_line_is_quick_where_a_peer_answered_everything_at_once(answered: int, rtt_ms: float, quick: bool) -> None:
    """A lost or late answer may be a full queue, behind which others have to be waited for longer."""
    path_probes = PathProbes(Settings(), ControlClient(None, environment={}))
    assert not path_probes.quick
    if answered:
        path_probes._first["10.66.0.2"] = StampStats(sent=3, answered=answered, rtt_ms=(0.5,) * 2 + (rtt_ms,))
    assert path_probes.quick is quick
