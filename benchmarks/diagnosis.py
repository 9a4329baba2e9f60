"""How good the diagnosis is: the fault matrix, and each fault on each value of each axis of set-ups."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import Row

REPEAT = int(os.environ.get("BENCH_REPEAT", "1"))
"""Runs of each scenario of the matrix."""
COVER = int(os.environ.get("BENCH_COVER", "1"))
"""How often each fault meets each value of each axis. With 5, the rates of a single fault mean something."""
SEED = int(os.environ.get("BENCH_SEED", "1"))
ONLY = os.environ.get("BENCH_ONLY", "*")
"""A glob of faults; `healthy` is one of them."""
LIMIT_S = 600
SIDE_BY_SIDE = 2
RIGHT, VAGUE, HEALED = 95, 5, 90
"""The goals, percent."""


def rows() -> list[Row]:
    """The matrix and the draws, both with their remedies tried. Needs root."""
    if os.geteuid() != 0:
        return [Row("diagnosis", "the fault matrix", None, "", note="needs root")]
    return [*_matrix(), *_draws()]


def _matrix() -> list[Row]:
    score, seconds = _lab("run", "--all", "--repeat", str(REPEAT))
    missed = sorted({row["name"] for row in score["scenarios"] if not row["right"]})
    right, total, alarms = score["right"], score["total"], score["false_alarms"]
    named, time_limit = "scenarios named right", f"≤ {LIMIT_S * REPEAT} s"
    within = seconds <= LIMIT_S * REPEAT
    return [
        Row("diagnosis", named, right, f"of {total}", target="all", met=right == total, note=", ".join(missed)),
        Row("diagnosis", "false alarms in scenarios", alarms, "", target="0", met=alarms == 0),
        Row("diagnosis", f"all scenarios, {SIDE_BY_SIDE} at once", round(seconds), "s", target=time_limit, met=within),
    ]


def _draws() -> list[Row]:
    """A row for each goal, and one for each fault."""
    words = ("--seed", str(SEED), "--cover", str(COVER), "--only", ONLY, "--shrink", "0", "--heal")
    score, _ = _lab("fuzz", *words)
    total, built = score["total"], score["total"]["drawn"] - score["total"]["unbuilt"]
    healthy = [row for row in score["faults"] if row["name"] == "healthy"]
    alarms = sum(row["alarms"] for row in healthy)
    return [
        _share("draws right", total["right"], built, RIGHT),
        _share("draws vague", total["vague"], built, VAGUE, most=True),
        _share("healed of what can be healed", total["healed"], total["healable"], HEALED),
        Row("diagnosis", "harmful remedies", total["harmful"], "", target="0", met=total["harmful"] == 0),
        Row("diagnosis", "false alarms on healthy set-ups", alarms, "", target="0", met=alarms == 0),
        Row("diagnosis", "a run", total["seconds"], "s (median)"),
        *(_fault(row, score["cells"]) for row in score["faults"]),
    ]


def _share(name: str, count: int, of: int, goal: int, *, most: bool = False) -> Row:
    percent = 100 * count / of if of else 0.0
    met = percent <= goal if most else percent >= goal
    return Row("diagnosis", name, round(percent, 1), f"% of {of}", target=f"{'≤' if most else '≥'} {goal} %", met=met)


def _fault(row: dict[str, Any], cells: Sequence[dict[str, Any]]) -> Row:
    """One fault; the note says where it is wrong more often than elsewhere."""
    parts = [f"{row[key]} {key}" for key in ("vague", "wrong", "unbuilt", "alarms", "healed", "harmful") if row[key]]
    usual = row["wrong"] / row["drawn"]
    here = [cell for cell in cells if cell["fault"] == row["name"] and cell["wrong"] / cell["drawn"] > usual]
    worst = sorted(here, key=lambda cell: cell["wrong"] / cell["drawn"], reverse=True)[:3]
    places = ", ".join(f"{cell['axis']} {cell['value']}" for cell in worst)
    parts += [f"wrong on {places}"] if worst else []
    return Row("diagnosis", row["name"], row["right"], f"of {row['drawn']} right", note="; ".join(parts))


def _lab(*words: str) -> tuple[dict[str, Any], float]:
    """A command of `preflight lab`; its score, and wall seconds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "score.json"
        command = ["lab", *words, "--jobs", str(SIDE_BY_SIDE), "--output", f"json={path}"]
        began = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "preflight", *command], stderr=subprocess.DEVNULL, check=False)
        seconds = time.perf_counter() - began
        if done.returncode not in (0, 1):
            raise RuntimeError(f"preflight lab {words[0]} ended with {done.returncode}")
        score: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return score, seconds
