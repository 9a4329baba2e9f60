"""Runs of `preflight all` in labs: how long the whole command takes, what it costs, and what took longest in it."""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from preflight.lab.labs import Lab, fresh_lab
from preflight.lab.scenarios import Scenario

LIMIT_S = 180


@dataclass(frozen=True, slots=True)
class LabRun:
    """One run. wall_s, cpu_s: of the whole command, from start to exit. report: what it wrote.

    packets: what a's tunnel sent meanwhile; 0 where it has none.
    """

    wall_s: float
    cpu_s: float
    report: dict[str, Any]
    packets: int = 0
    report_bytes: int = 0

    @property
    def codes(self) -> set[str]:
        """The codes of its diagnosis."""
        return {cause["code"] for cause in self.report["diagnosis"]}

    @property
    def slowest(self) -> str:
        """The checks that took longest."""
        took: dict[str, float] = {}
        for result in self.report["results"]:
            took[result["check"]] = max(took.get(result["check"], 0.0), result["duration_ms"] / 1000)
        longest = sorted(took.items(), key=lambda item: -item[1])[:3]
        return ", ".join(f"{check} {seconds:.1f}" for check, seconds in longest)


def runs(scenario: Scenario, times: int) -> Iterator[LabRun]:
    """Several runs, one after the other, in one lab."""
    with fresh_lab(scenario) as lab:
        for number in range(times):
            yield run_in(lab, renew=number > 0)


def run_in(lab: Lab, *, renew: bool = False, limit_s: float = LIMIT_S) -> LabRun:
    """One run in a lab. renew: an earlier run has used the one-time token. limit_s: for the whole command."""
    if renew and "--enroll" in lab.preflight_arguments():
        lab.renew_token()
    path = lab.names.directory / "bench.json"
    words = [sys.executable, "-m", "preflight", "all", "-q", *lab.preflight_arguments(), "--output", f"json={path}"]
    sent, used, began = _sent(lab), _cpu_s(), time.perf_counter()
    done = subprocess.run(
        lab.users_command(words), env=lab.environment(), capture_output=True, timeout=limit_s, check=False
    )
    wall_s, cpu_s = time.perf_counter() - began, _cpu_s() - used
    try:
        text = path.read_bytes()
        return LabRun(wall_s, cpu_s, json.loads(text), _sent(lab) - sent, len(text))
    except (OSError, ValueError):
        raise RuntimeError(f"preflight all ended with {done.returncode}: {done.stderr.decode()[-300:]}") from None


def _sent(lab: Lab) -> int:
    """Packets that a's tunnel has sent so far."""
    words = lab.command(["cat", f"/sys/class/net/{lab.names.tunnel('a')}/statistics/tx_packets"])
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return int(done.stdout) if done.returncode == 0 else 0


def _cpu_s() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime
