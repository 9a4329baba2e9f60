"""How long the program takes to say its name, against the bare interpreter."""

import sys
from pathlib import Path

from benchmarks.measure import Row, alternate


def rows() -> list[Row]:
    """`preflight --version` and `--help` against `python -c pass`."""
    program = str(Path(sys.executable).with_name("preflight"))
    bare = [sys.executable, "-c", "pass"]
    found = []
    for argument, limit in (("--version", 1.5), ("--help", 3.0)):
        ours, theirs = alternate([program, argument], bare)
        found.append(
            Row(
                area="startup",
                name=f"preflight {argument}",
                ours=round(ours * 1000, 1),
                theirs=round(theirs * 1000, 1),
                peer="python -c pass",
                unit="ms",
                ratio=round(ours / theirs, 2),
                target=f"≤ {limit:g}×",
                met=ours / theirs <= limit,
            )
        )
    return found
