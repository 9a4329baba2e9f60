"""Packets are followed to the place where they die: each kind of observer decides one fault on real tunnels."""

import subprocess
import sys
from pathlib import Path

import pytest

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
    file = tmp_path / "fault.yaml"
    file.write_text(f"setup: {setup}\nfaults: [{fault}]\n", encoding="utf-8")
    command = [sys.executable, "-m", "preflight", "lab", "run", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    judged = [line for line in done.stdout.splitlines() + done.stderr.splitlines() if fault in line]
    assert done.returncode == 0, judged[:2]
