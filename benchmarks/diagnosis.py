"""The whole fault matrix: how many diagnoses are right, how many alarms are false, and how long one pass takes."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import Row

REPEAT = int(os.environ.get("BENCH_REPEAT", "10"))
"""Runs of each scenario; fewer for a quick look."""
LIMIT_S = 600
SIDE_BY_SIDE = 2


def rows() -> list[Row]:
    """One pass that is timed, and all that are left of `REPEAT` for the score. Needs root."""
    if os.geteuid() != 0:
        return [Row("diagnosis", "the fault matrix", None, "", note="needs root")]
    first, seconds = _run(1)
    scores = [first, _run(REPEAT - 1)[0]] if REPEAT > 1 else [first]
    right, total, alarms = (sum(score[key] for score in scores) for key in ("right", "total", "false_alarms"))
    missed = sorted({row["name"] for score in scores for row in score["scenarios"] if not row["right"]})
    return [
        Row(
            area="diagnosis",
            name=f"scenarios named right, {REPEAT} runs each",
            ours=right,
            unit=f"of {total}",
            target="all",
            met=right == total,
            correct=right == total,
            note=", ".join(missed),
        ),
        Row("diagnosis", "false alarms", alarms, "", target="0", met=alarms == 0, correct=alarms == 0),
        Row(
            area="diagnosis",
            name=f"one pass of {first['total']} scenarios, {SIDE_BY_SIDE} labs in parallel",
            ours=round(seconds),
            unit="s",
            target=f"≤ {LIMIT_S} s",
            met=seconds <= LIMIT_S,
        ),
    ]


def _run(repeat: int) -> tuple[dict[str, Any], float]:
    """`preflight lab run --all`; its score, and wall seconds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "score.json"
        words = [
            "lab",
            "run",
            "--all",
            "--repeat",
            str(repeat),
            "--jobs",
            str(SIDE_BY_SIDE),
            "--output",
            f"json={path}",
        ]
        began = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "preflight", *words], stderr=subprocess.DEVNULL, check=False)
        seconds = time.perf_counter() - began
        if done.returncode not in (0, 1):
            raise RuntimeError(f"preflight lab run ended with {done.returncode}")
        score: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return score, seconds
