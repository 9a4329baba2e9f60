"""Clean slow lines stay clean: nothing that this program's own packets do to a line is found to be wrong with it.

Each cell is a line, a queue, a number of peers, and other traffic or none. A run is silent if it has no cause at all,
and every result that could be measured was. On lines with a real loss of 2 % the loss has to be found; on slower ones
the report says which loss it could have seen.

All cells take hours. `python -m benchmarks.gentle TIMES PART…` prints the rows of those whose name contains each part,
as soon as each is measured: `python -m benchmarks.gentle 1 "queue 40" "9 peers"`.
"""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any

import yaml

from benchmarks import measure
from benchmarks.labs import LabRun, run_in
from benchmarks.measure import Row
from preflight.lab import faults, links
from preflight.lab.labs import Lab, fresh_lab
from preflight.lab.scenarios import SCENARIOS
from preflight.lab.topology import underlay_address

SCENARIO = "healthy-mesh"
CONTROL_HOST = "c"
TRAFFIC_PORT = 4000
TRAFFIC_SHARE = 1 / 3
"""Of each direction of the line."""
REAL_LOSS_PERCENT = 2
LOSS = frozenset({"udp.loss", "reach.loss"})


@dataclass(frozen=True, slots=True)
class Line:
    """What a's line carries, and how long a packet may wait in its queues."""

    down_kbit: int
    up_kbit: int
    queue_ms: int

    def __str__(self) -> str:
        rate = f"{self.down_kbit}" if self.up_kbit == self.down_kbit else f"{self.up_kbit} up, {self.down_kbit} down"
        return f"{rate} kbit/s, queue {self.queue_ms} ms"


@dataclass(frozen=True, slots=True)
class Cell:
    """One kind of run. loss_percent: what the line really loses of a's packets."""

    line: Line
    peers: int
    traffic: bool = False
    loss_percent: int = 0

    def __str__(self) -> str:
        peers = "1 peer" if self.peers == 1 else f"{self.peers} peers"
        beside = ", other traffic" if self.traffic else ""
        loss = f", {self.loss_percent} % loss" if self.loss_percent else ""
        return f"{self.line}, {peers}{beside}{loss}"


RATES = ((200, 200), (1000, 1000), (2000, 2000), (5000, 5000), (10_000, 100))
"""What the lines carry down and up, kbit/s."""
SHALLOW_MS, USUAL_MS, DEEP_MS = 40, links.QUEUE_MS, 1000
PEERS = (1, 9, 50)
CLEAN = tuple(
    Cell(Line(down, up, queue_ms), peers, traffic)
    for (down, up), queue_ms, peers, traffic in product(RATES, (SHALLOW_MS, DEEP_MS), PEERS, (False, True))
)
TARGETS = tuple(Cell(Line(kbit, kbit, USUAL_MS), peers) for kbit, peers in ((200, 1), (1000, 9), (2000, 50)))
"""The lines of the table of targets."""
LOSSY = tuple(
    Cell(Line(kbit, kbit, USUAL_MS), peers, loss_percent=REAL_LOSS_PERCENT)
    for kbit, peers in ((1000, 1), (1000, 9), (5000, 9))
)
TOO_SLOW = tuple(
    Cell(Line(kbit, kbit, USUAL_MS), peers, loss_percent=REAL_LOSS_PERCENT)
    for kbit, peers in ((200, 1), (200, 9), (500, 9))
)
"""Lines on which a real loss may be too small for the packets that they carry."""
LIMIT_S = 900
"""Of one run: fifty peers behind 100 kbit/s that others use too take minutes."""
CLEAN_RUNS, TARGET_RUNS = 4, 10
"""Of each cell: 270 runs of clean lines together."""


def rows() -> list[Row]:
    """Several runs on each line, in one lab. Needs root."""
    if os.geteuid() != 0:
        return [Row("gentle", "clean slow lines", None, "", note="needs root")]
    if measure.quick():
        return list(measured(TARGETS[:1], 1))
    found = [*measured(TARGETS, TARGET_RUNS), *measured(CLEAN, CLEAN_RUNS)]
    return [*found, together(found), *measured((*LOSSY, *TOO_SLOW), TARGET_RUNS)]


def measured(cells: Iterable[Cell], times: int) -> Iterator[Row]:
    """A row for each cell. One that breaks does not cost what hours of others have measured."""
    for cell in cells:
        try:
            with fresh_lab(SCENARIOS[SCENARIO]) as lab, _on(lab, cell):
                found = [run_in(lab, renew=number > 0, limit_s=LIMIT_S) for number in range(times)]
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            yield Row("gentle", str(cell), None, "", target="measured", note=f"{type(error).__name__}: {error}")
            continue
        yield _row(cell, found)


def _row(cell: Cell, found: list[LabRun]) -> Row:
    if not cell.loss_percent:
        return silent_row(cell, found)
    return (honest_row if cell in TOO_SLOW else found_row)(cell, found)


def together(found: list[Row]) -> Row:
    """All clean lines in one row; what could not be measured counts as false."""
    false = [row for row in found if not row.met]
    cells = f"{len(found)} kinds of clean lines: those with a false finding"
    return Row("gentle", cells, len(false), f"of {len(found)}", target="0", met=not false)


def wrong(run: LabRun) -> tuple[str, ...]:
    """What a run on a clean line should not have said: its causes, and what it could not decide for want of time."""
    undecided = {each["code"] for each in run.report["results"] if each["status"] in ("inconclusive", "error")}
    return tuple(sorted(run.codes | undecided))


def smallest_losses(run: LabRun) -> list[float]:
    """The smallest loss that each direction of each peer could have shown, percent."""
    measured = (result["measurements"] for result in run.report["results"] if result["check"] == "udp.quality")
    return [each["smallest_loss_percent"] for each in measured if each.get("smallest_loss_percent") is not None]


def silent_row(cell: Cell, found: list[LabRun]) -> Row:
    """How many of the runs on a clean line said something of it, and what loss they could have seen."""
    false = [codes for run in found if (codes := wrong(run))]
    seen = [percent for run in found for percent in smallest_losses(run)]
    notes = [f"{max(run.wall_s for run in found):.0f} s at most"]
    notes.append(f"no loss below {max(seen):g} % would have been seen" if seen else "no loss was measured")
    notes += sorted({" ".join(codes) for codes in false})
    return Row(
        area="gentle",
        name=f"{cell}: runs with a false finding",
        ours=len(false),
        unit=f"of {len(found)}",
        target="0",
        met=not false,
        note="; ".join(notes),
    )


def found_row(cell: Cell, found: list[LabRun]) -> Row:
    """How many of the runs on a line with a real loss found it."""
    right = sum(bool(LOSS & run.codes) for run in found)
    return Row(
        area="gentle",
        name=f"{cell}: runs that find it",
        ours=right,
        unit=f"of {len(found)}",
        target="all",
        met=right == len(found),
        note=f"{max(run.wall_s for run in found):.0f} s at most",
    )


def honest_row(cell: Cell, found: list[LabRun]) -> Row:
    """How many of the runs on a line that carries few packets found a real loss, or said that they could not see it."""
    finders = [bool(LOSS & run.codes) for run in found]
    blind = [max(smallest_losses(run), default=0.0) for run in found]
    right = [finds or percent > cell.loss_percent for finds, percent in zip(finders, blind, strict=True)]
    return Row(
        area="gentle",
        name=f"{cell}: runs that find it, or say that it is too small",
        ours=sum(right),
        unit=f"of {len(found)}",
        target="all",
        met=all(right),
        note=f"{sum(finders)} find it; no loss below {max(blind):g} % would have been seen",
    )


@contextmanager
def _on(lab: Lab, cell: Cell) -> Iterator[None]:
    """Make the lab's line that of a cell, with its peers and its traffic."""
    network, line = lab.network, cell.line
    if network is None:
        raise RuntimeError("a line has a rate only between namespaces")
    _know(lab, cell.peers)
    links.rate(line.down_kbit, up_kbit=line.up_kbit, queue_ms=line.queue_ms).underlay(network)
    if cell.loss_percent:
        faults.random_loss("a", "b", cell.loss_percent).inject(network)
    running = list(_traffic(lab, line)) if cell.traffic else []
    try:
        yield
    finally:
        for child in running:
            child.terminate()
            child.wait()


def _know(lab: Lab, peers: int) -> None:
    """Let a's settings name only some of its peers."""
    file = lab.names.files("a") / "preflight.yaml"
    settings: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    settings["peers"] = settings["peers"][:peers]
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")


def _traffic(lab: Lab, line: Line) -> Iterator["subprocess.Popen[bytes]"]:
    """Both ends of the traffic next to ours: between a and the control host, outside the tunnel."""
    ends = (("a", CONTROL_HOST, line.up_kbit), (CONTROL_HOST, "a", line.down_kbit))
    for node, other, kbit in ends:
        addresses = (underlay_address(node, 4), underlay_address(other, 4))
        words = [sys.executable, "-m", "benchmarks.traffic", *addresses, str(TRAFFIC_PORT), str(kbit * TRAFFIC_SHARE)]
        yield subprocess.Popen(lab.command(words, node), env=lab.environment())


def main(times: int, *parts: str) -> None:
    """Print the rows of some cells, each as soon as it is measured."""
    cells = (cell for cell in (*TARGETS, *CLEAN, *LOSSY, *TOO_SLOW) if all(part in str(cell) for part in parts))
    for row in measured(cells, times):
        print("ok " if row.met else "NO ", row.name, row.ours, row.unit, row.note, sep="  ", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
