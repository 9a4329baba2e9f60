"""`preflight all` on a healthy lab pair: from the tunnel up to the report, and which check took longest."""

import json
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measure import Row, wall_s

RUNS = 3
LIMIT_S = 5.0


def rows() -> list[Row]:
    """Median of three runs on labs of their own; the time is the report's, from reading the overlay to the verdict."""
    reports = [_run() for _ in range(RUNS)]
    seconds = median(report["run"]["duration_ms"] for report in reports) / 1000
    slowest = max(reports[-1]["results"], key=lambda result: result["duration_ms"])
    return [
        Row(
            area="all",
            name="preflight all --lab pair",
            ours=round(seconds, 2),
            unit="s",
            target=f"≤ {LIMIT_S:g} s",
            met=seconds <= LIMIT_S,
            correct=all(report["verdict"] == "pass" and not report["diagnosis"] for report in reports),
            note=f"slowest: {slowest['check']} ({slowest['duration_ms'] / 1000:.2f} s)",
        )
    ]


def _run() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        command = [sys.executable, "-m", "preflight", "all", "--lab", "pair", "-q", "--output", f"json={path}"]
        wall_s(command, expect=(0, 1, 3, 4))
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return report
