"""Without a control plane nobody reports for the peer: what its tunnel confirms by itself is waited for, and said."""

from pathlib import Path

import pytest

from preflight.lab.scenario_file import parse_scenario
from tests.lab.rows import run_row

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]


@pytest.mark.parametrize(
    ("fault", "said", "not_said"),
    [
        ("session-not-allowed-there", ("empty packet",), "confirms nothing"),
        # On a slow machine WireGuard calls again before the run is over; that call is not answered either.
        ("network-silent-reverse", ("the tunnel of b confirms nothing", "handshake initiation left for"), "reads them"),
    ],
)
def test_how_far_packets_come_is_said(fault: str, said: tuple[str, ...], not_said: str, tmp_path: Path) -> None:
    """Protects the network from blame for what b drops behind its tunnel, and b from blame for what never came."""
    scenario = parse_scenario("fault", f"setup: {{control: none}}\nfaults: [{fault}]\n")
    outcome, report = run_row(scenario, tmp_path)
    assert outcome.good, outcome
    cause = report["diagnosis"][0]
    assert cause["code"] == "reach.unreachable"
    assert any(words in cause["message"] for words in said)
    assert not_said not in cause["message"]
