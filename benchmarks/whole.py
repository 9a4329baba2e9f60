"""`preflight all` on a healthy lab pair: how long it takes, which check took longest, and the same asked by hand."""

import json
import os
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measure import Row, times, wall_s
from preflight.lab.labs import Lab, fresh_lab
from preflight.lab.scenarios import SCENARIOS
from preflight.lab.topology import CONTROL_NAME, CONTROL_PORT, overlay_address

RUNS = 3
LIMIT_S = 1.3
LIMIT_RATIO = 0.5

# One after the other, each as its manual shows it; -q keeps ping from printing, not from waiting.
BY_HAND = f"""
ping -q -c 4 {overlay_address("b", 4)}
tracepath -n {overlay_address("b", 4)}
traceroute -n {overlay_address("b", 4)}
dig +short {CONTROL_NAME}
ping -q -c 4 {CONTROL_NAME}
curl -sf http://{CONTROL_NAME}:{CONTROL_PORT}/health
"""


def rows() -> list[Row]:
    """Median of three runs on separate labs; the time is the report's, from reading the overlay to the verdict."""
    reports = [_run() for _ in range(times(RUNS))]
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
        ),
        *(_by_hand() if os.geteuid() == 0 else ()),
    ]


def _by_hand() -> list[Row]:
    """Whole processes of both in one lab, in turn: ours with everything, theirs with what these tools can ask."""
    with fresh_lab(SCENARIOS["healthy-dns"]) as lab:
        config = ["--config", str(lab.names.files("a") / "preflight.yaml")]
        ours = lab.command([sys.executable, "-m", "preflight", "all", "-q", *config])
        theirs = lab.command(["sh", "-ec", BY_HAND])
        pairs = [(_wall_s(lab, ours), _wall_s(lab, theirs)) for _ in range(times(RUNS))]
    mine, hand = (median(pair[side] for pair in pairs) for side in (0, 1))
    return [
        Row(
            area="all",
            name="the whole command, and the same questions one after the other",
            ours=round(mine, 2),
            theirs=round(hand, 2),
            peer="ping, tracepath, traceroute, dig, curl",
            unit="s",
            ratio=round(mine / hand, 2),
            target=f"≤ {LIMIT_RATIO:g}×",
            met=mine <= LIMIT_RATIO * hand,
            note="by hand: no direction, no enrolment, no posture",
        )
    ]


def _wall_s(lab: Lab, command: list[str]) -> float:
    return wall_s(command, lab.environment())


def _run() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        command = [sys.executable, "-m", "preflight", "all", "--lab", "pair", "-q", "--output", f"json={path}"]
        wall_s(command, expect=(0, 1, 3, 4))
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return report
