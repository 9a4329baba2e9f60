"""Clean slow lines stay clean: no loss, jitter or slow control plane that this program's own packets make."""

import os

from benchmarks import measure
from benchmarks.labs import LabRun, runs
from benchmarks.measure import Row
from preflight.lab.scenario_file import parse_scenario

SETUPS = (
    "rate: 2mbit",
    "rate: 200kbit",
    "rate: 2mbit, delay: far",
    "rate: 200kbit, delay: far",
    "rate: 2mbit, others: many-offline",
)
RUNS, QUICK_RUNS = 10, 2
OWN_LOAD = frozenset({"udp.loss", "udp.jitter", "udp.reordering", "reach.loss", "control.slow"})
"""What a queue that we fill ourselves looks like."""


def rows() -> list[Row]:
    """Several runs on each clean line. Needs root."""
    if os.geteuid() != 0:
        return [Row("gentle", "clean slow lines", None, "", note="needs root")]
    return [_row(setup) for setup in (SETUPS[:2] if measure.quick() else SETUPS)]


def _row(setup: str) -> Row:
    found = list(runs(parse_scenario("gentle", f"setup: {{{setup}}}"), QUICK_RUNS if measure.quick() else RUNS))
    false = sum(bool(OWN_LOAD & run.codes) for run in found)
    seen = [percent for run in found for percent in smallest_losses(run)]
    return Row(
        area="gentle",
        name=f"{setup}: runs with a false finding",
        ours=false,
        unit=f"of {len(found)}",
        target="0",
        met=not false,
        note=f"no loss below {max(seen):g} % would have been seen" if seen else "",
    )


def smallest_losses(run: LabRun) -> list[float]:
    """The smallest loss that each direction of each peer could have shown, percent."""
    measured = (result["measurements"] for result in run.report["results"] if result["check"] == "udp.quality")
    return [each["smallest_loss_percent"] for each in measured if each.get("smallest_loss_percent") is not None]
