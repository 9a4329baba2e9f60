"""How long people wait when something is broken, and how much is sent then: every row of the matrix that has a fault,
the whole command.
"""

import os
from collections.abc import Iterator, Sequence

from benchmarks import measure
from benchmarks.labs import LabRun, runs
from benchmarks.measure import Row
from preflight.lab.scenarios import SCENARIOS, Scenario

FEW_OF_THEM = ("wrong-key", "drop-forward", "black-hole-far", "loss-forward", "control-hang", "healthy-no-responder")
"""What `--quick` measures: a row of each kind of waiting."""
LIMIT_S, RETRY_LIMIT_S = 4.0, 7.5
RETRYING = frozenset({"overlay.no-handshake", "overlay.handshake-stale"})
"""Where a tunnel has no session, WireGuard's own retry after 5 s has to be seen."""
MOST_RATIO = 2.0


def rows() -> list[Row]:
    """One run of each in a fresh lab. Needs root."""
    if os.geteuid() != 0:
        return [Row("broken", "the fault matrix", None, "", note="needs root")]
    (healthy,) = runs(SCENARIOS["healthy"], 1)
    measured = [(scenario, run) for scenario in _chosen() for run in runs(scenario, 1)]
    return [*(_row(scenario, run) for scenario, run in measured), _packets(healthy, measured)]


def _chosen() -> Iterator[Scenario]:
    names = FEW_OF_THEM if measure.quick() else SCENARIOS
    return (SCENARIOS[name] for name in names if SCENARIOS[name].is_broken and SCENARIOS[name].topology != "loopback")


def _row(scenario: Scenario, run: LabRun) -> Row:
    limit_s = RETRY_LIMIT_S if RETRYING & {expected.code for expected in scenario.expected} else LIMIT_S
    return Row(
        area="broken",
        name=scenario.name,
        ours=round(run.wall_s, 1),
        unit="s",
        target=f"≤ {limit_s:g} s",
        met=run.wall_s <= limit_s,
        correct=scenario.expected[0].code in run.codes,
        note=f"{run.cpu_s:.1f} CPU s; {run.packets} packets; {run.slowest}",
    )


def _packets(healthy: LabRun, measured: Sequence[tuple[Scenario, LabRun]]) -> Row:
    """What is sent into the tunnel where something is broken, against a pair on which nothing is. Not what a mesh gets,
    and not load that was asked for.
    """
    of_pairs = [(scenario, run) for scenario, run in measured if not scenario.name.startswith("mesh-")]
    usual = [(scenario, run) for scenario, run in of_pairs if not scenario.expected[0].code.startswith("perf.")]
    most, name = max((run.packets, scenario.name) for scenario, run in usual)
    ratio = most / healthy.packets
    return Row(
        area="broken",
        name=f"most packets of a run ({name})",
        ours=most,
        unit="packets",
        theirs=healthy.packets,
        peer="healthy",
        ratio=round(ratio, 2),
        target=f"≤ {MOST_RATIO:g}×",
        met=ratio <= MOST_RATIO,
        note=f"above it: {sum(run.packets > MOST_RATIO * healthy.packets for _, run in usual)} of {len(usual)}",
    )
