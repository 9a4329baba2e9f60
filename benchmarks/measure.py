"""What the areas share: running whole processes in turn, and the row of the table."""

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

QUICK = "BENCH_QUICK"
"""The environment variable by which `--quick` reaches the areas."""


def quick() -> bool:
    """Whether three minutes have to be enough: fewer runs, and a choice of what is measured."""
    return bool(os.environ.get(QUICK))


def times(usual: int) -> int:
    """How often to measure: once where it has to be quick."""
    return 1 if quick() else usual


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `target` says in words what `met` means."""

    area: str
    name: str
    ours: float | None
    unit: str
    peer: str | None = None
    theirs: float | None = None
    ratio: float | None = None
    target: str | None = None
    met: bool = False
    correct: bool | None = None
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def wall_s(command: Sequence[str], environ: Mapping[str, str] | None = None, expect: Sequence[int] = (0,)) -> float:
    """Wall seconds of one whole process. Raises RuntimeError if it ends with an unexpected code."""
    began = time.perf_counter()
    done = subprocess.run(command, env=environ, capture_output=True, timeout=120, check=False)
    seconds = time.perf_counter() - began
    if done.returncode not in expect:
        raise RuntimeError(f"{command[0]} … ended with {done.returncode}: {done.stderr.decode()[-300:]}")
    return seconds


def alternate(ours: Sequence[str], theirs: Sequence[str], runs: int = 9) -> tuple[float, float]:
    """Median wall seconds of two commands run in turn after one warm-up, so that drift hits both."""
    wall_s(ours), wall_s(theirs)
    pairs = [(wall_s(ours), wall_s(theirs)) for _ in range(runs)]
    return median(pair[0] for pair in pairs), median(pair[1] for pair in pairs)
