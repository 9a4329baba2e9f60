"""The simulated fleet: what its bench claims, on a small one."""

import gzip
from pathlib import Path

from benchmarks.fleet import Simulated, Size, join
from preflight.fleet.schedule import Pairs
from preflight.report.json import render


def test_each_fault_is_one_finding_and_nothing_else_is(tmp_path: Path) -> None:
    """Protects the voting on a fleet with sites: a dead uplink, a dead pair of sites and a dead node."""
    fleet = Simulated(Size(60, 5, Pairs(sample=16), 0, 0))
    for number, report in enumerate(fleet.reports()):
        (tmp_path / f"{number}.gz").write_bytes(gzip.compress(render(report).encode(), 1))
    matrix, _, page = join(fleet, tmp_path)
    assert {(finding.scope, *finding.nodes) for finding in matrix.findings} == fleet.expected()
    assert page < 1_000_000
