"""`bin/bench [AREA…] [--quick] [--json FILE] [--record]`."""

import json
import os
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks import history, quiet
from benchmarks.measure import QUICK, Row
from preflight.files import WriteError, write

AREAS = {
    "startup": "benchmarks.startup",
    "path": "benchmarks.path",
    "sweep": "benchmarks.sweep",
    "stamp": "benchmarks.stamp",
    "all": "benchmarks.whole",
    "control-plane": "benchmarks.control_plane",
    "diagnosis": "benchmarks.diagnosis",
    "broken": "benchmarks.broken",
    "gentle": "benchmarks.gentle",
    "rtt": "benchmarks.rtt",
    "redact": "benchmarks.redact",
    "load": "benchmarks.under_load",
    "mesh": "benchmarks.mesh",
    "fleet": "benchmarks.fleet",
}
NOT_MEASURED = "was not measured"
LONG = frozenset({"control-plane", "diagnosis", "sweep", "load", "mesh"})
"""Areas that take minutes however little of them is measured: `--quick` leaves them out unless they are named."""


@click.command()
@click.argument("areas", nargs=-1, type=click.Choice(list(AREAS)))
@click.option("--json", "json_file", type=click.Path(path_type=Path), metavar="FILE", help="The rows as JSON.")
@click.option("--quick", is_flag=True, help="A choice of each area, and the long areas only if they are named.")
@click.option("--record", is_flag=True, help="Add the rows to docs/bench, from committed code only.")
def bench(areas: tuple[str, ...], json_file: Path | None, *, quick: bool, record: bool) -> None:
    """Measure the named areas, or all of them."""
    if quick:
        os.environ[QUICK] = "1"
    rows: list[Row] = []
    try:
        results = history.checked_out() if record else None
        remark, busy_before = None, quiet.others()
        for area in areas or (name for name in AREAS if not (quick and name in LONG)):
            measured, busy_after = _measured(area), quiet.others()
            busy, busy_before = quiet.remark(busy_before, busy_after), busy_after
            rows, remark = [*rows, *measured], remark or busy
            if results is not None:
                results = history.record(results, area, measured, busy, quick=quick)
        if results is not None:
            history.write_page()
        Console(width=140 if not sys.stdout.isatty() else None).print(_table(rows))
        if remark:
            print(remark, file=sys.stderr)
        if json_file:
            document = {"remark": remark, "quick": quick, "rows": [row.as_dict() for row in rows]}
            write(json_file, json.dumps(document, indent=2) + "\n")
        if any(row.name == NOT_MEASURED for row in rows):
            sys.exit(1)
    except (WriteError, history.UncommittedError) as error:
        raise click.UsageError(str(error)) from None


def _measured(area: str) -> list[Row]:
    """The rows of an area. One that breaks does not cost what the others have measured."""
    print(f"measuring {area}", file=sys.stderr)
    began = time.monotonic()
    try:
        rows: list[Row] = import_module(AREAS[area]).rows()
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        rows = [Row(area, NOT_MEASURED, None, "", correct=False, note=f"{type(error).__name__}: {error}")]
    print(f"  {time.monotonic() - began:.0f} s", file=sys.stderr)
    return rows


def _table(rows: list[Row]) -> Table:
    table = Table(
        "area",
        "what",
        "ours",
        "theirs",
        "ratio",
        "target",
        "met",
        "right",
        "note",
        box=SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
    )
    for row in rows:
        theirs = f"{row.theirs:g} ({row.peer})" if row.theirs is not None else (row.peer or "")
        right = {True: "yes", False: "NO", None: ""}[row.correct]
        ours = f"{row.ours:g} {row.unit}" if row.ours is not None else "–"
        ratio = f"{row.ratio:g}" if row.ratio is not None else ""
        met = "" if row.target is None else "yes" if row.met else "NO"
        table.add_row(row.area, row.name, ours, theirs, ratio, row.target or "", met, right, row.note)
    return table


if __name__ == "__main__":
    bench()
