"""Packets are followed to the place where they die: each kind of observer decides one fault on real tunnels."""

from pathlib import Path

import pytest

from preflight.lab.scenario_file import parse_scenario
from tests.lab.rows import run_row

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]


@pytest.mark.parametrize(
    ("fault", "setup"),
    [
        ("address-own-tunnel", "{}"),
        ("filter-out-legacy", "{}"),
        ("egress-large", "{}"),
        ("neighbour-default", "{}"),
        ("filter-outer-rule", "{outer: ipv6}"),
        ("prerouting-outer-rule", "{uplinks: two}"),
        ("rp-outer-strict", "{}"),
    ],
)
def test_the_place_is_named(fault: str, setup: str, tmp_path: Path) -> None:
    """The report names code, target, direction, place and the deciding fact, and nothing else is wrong."""
    outcome, _ = run_row(parse_scenario("fault", f"setup: {setup}\nfaults: [{fault}]\n"), tmp_path)
    assert outcome.good, outcome
