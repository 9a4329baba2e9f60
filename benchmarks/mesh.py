"""Large meshes: what `preflight all` takes with hundreds of peers, and how much it sends."""

import os
from statistics import median

from benchmarks import measure
from benchmarks.labs import runs
from benchmarks.measure import Row
from preflight.lab.scenario_file import parse_scenario

TARGETS = {501: 8.0, 1001: 15.0}
"""Seconds, wall and CPU, by the number of peers."""
RUNS = 3
REPORT_KIB = 3.0
"""Of JSON for each healthy peer. Eleven results with the fields of the contract are 3.2 without any number."""


def rows() -> list[Row]:
    """Median of several runs for each size. Needs root."""
    if os.geteuid() != 0:
        return [Row("mesh", "hundreds of peers", None, "", note="needs root")]
    return [row for peers in ([501] if measure.quick() else TARGETS) for row in _rows(peers)]


def _rows(peers: int) -> list[Row]:
    scenario = parse_scenario("mesh", f"faults: [mesh: {{count: {peers - 1}}}]")
    found = list(runs(scenario, measure.times(RUNS)))
    limit_s, clean = TARGETS[peers], all(not run.codes for run in found)
    seconds, cpu_s = median(run.wall_s for run in found), median(run.cpu_s for run in found)
    spread = f"{min(run.wall_s for run in found):.1f}–{max(run.wall_s for run in found):.1f} s; {found[-1].slowest}"
    packets = median(run.packets for run in found)
    return [
        _row(f"{peers} peers: wall", seconds, "s", limit_s, correct=clean, note=spread),
        _row(f"{peers} peers: CPU", cpu_s, "CPU s", limit_s, correct=clean),
        _row(f"{peers} peers: JSON a peer", found[-1].report_bytes / 1024 / peers, "KiB", REPORT_KIB),
        Row("mesh", f"{peers} peers: packets", packets, "", note=f"{packets / peers:.0f} a peer, by a's tunnel"),
    ]


def _row(name: str, ours: float, unit: str, limit: float, *, correct: bool | None = None, note: str = "") -> Row:
    return Row(
        area="mesh",
        name=name,
        ours=round(ours, 2),
        unit=unit,
        target=f"≤ {limit:g} {unit}",
        met=ours <= limit,
        correct=correct,
        note=note,
    )
