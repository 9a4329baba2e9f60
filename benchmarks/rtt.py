"""What a long way costs: `preflight all` on healthy pairs that are further and further apart."""

import os
from statistics import median

from benchmarks import measure
from benchmarks.labs import runs
from benchmarks.measure import Row
from preflight.lab.scenario_file import parse_scenario

DELAYS = {"near": 5, "far": 80, "very-far": 200}
"""Round trips in milliseconds, by the lab's name of the delay."""
QUICKLY = "far"
"""What `--quick` measures."""
RUNS = 3
NEXT_DOOR_S, ROUND_TRIPS = 1.3, 10
"""The goals: what all takes next door, and how many round trips more may be waited for one after the other."""


def rows() -> list[Row]:
    """Median of several runs for each delay. Needs root."""
    if os.geteuid() != 0:
        return [Row("rtt", "far pairs", None, "", note="needs root")]
    return [_row(name, rtt_ms) for name, rtt_ms in DELAYS.items() if name == QUICKLY or not measure.quick()]


def _row(name: str, rtt_ms: int) -> Row:
    found = list(runs(parse_scenario("rtt", f"setup: {{delay: {name}}}"), measure.times(RUNS)))
    wall_s, limit_s = median(run.wall_s for run in found), NEXT_DOOR_S + ROUND_TRIPS * rtt_ms / 1000
    return Row(
        area="rtt",
        name=f"preflight all at {rtt_ms} ms",
        ours=round(wall_s, 2),
        unit="s",
        target=f"≤ {limit_s:g} s",
        met=wall_s <= limit_s,
        correct=all(not run.codes for run in found),
        note=f"{median(run.cpu_s for run in found):.2f} CPU s; {found[-1].slowest}",
    )
