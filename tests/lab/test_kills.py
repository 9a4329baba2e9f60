"""What a run adds to a node goes with it, whenever it is killed: tables, rules, taps and processes."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from preflight.lab.axes.setup import Setup
from preflight.lab.draws import Draw
from preflight.lab.labs import Lab, fresh_lab
from preflight.lab.processes import program
from preflight.lab.scenario_file import scenario_of

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1800)]

KILLS = int(os.environ.get("PREFLIGHT_KILLS", "5"))
LONGEST_S = 9.0
"""A run of a broken pair takes about this long."""
SEED = int(os.environ.get("PREFLIGHT_SEED", "13"))


def left(lab: Lab) -> dict[str, str]:
    """What could be left in a's namespace: its rules of all kinds, packet sockets, devices and who runs there."""
    own = lab.names.namespace("a")

    def said(*words: str) -> str:
        return subprocess.run(lab.command(words), capture_output=True, text=True, check=False).stdout

    return {
        "nftables": said(program("nft"), "list", "ruleset"),
        "iptables": said(program("cat"), "/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"),
        "taps": said(program("cat"), "/proc/net/packet"),
        "raw sockets": said(program("cat"), "/proc/net/raw", "/proc/net/raw6"),
        "devices": said(program("ip"), "-o", "link"),
        "rules": said(program("ip"), "rule") + said(program("ip"), "route"),
        "processes": subprocess.run(
            [program("ip"), "netns", "pids", own], capture_output=True, text=True, check=False
        ).stdout,
    }


def killed(lab: Lab, after_s: float) -> bool:
    """Start a run and kill it, as `kill -9` or the kernel does; whether it still ran."""
    words = [sys.executable, "-m", "preflight", "all", "--trace"]
    words += ["--config", str(lab.names.files("a") / "preflight.yaml")]
    child = subprocess.Popen(
        lab.command(words),
        env=lab.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        child.wait(after_s)
    except subprocess.TimeoutExpired:
        os.kill(child.pid, signal.SIGKILL)
    return child.wait() == -signal.SIGKILL


def test_a_killed_run_leaves_nothing() -> None:
    """Protects the node that is examined: no table, tap, rule or process outlives a run that is killed."""
    moments = random.Random(SEED)
    with fresh_lab(scenario_of(Draw(Setup(), ("filter-out-drop",)))) as lab:
        before, seen, still = left(lab), 0, 0
        for _ in range(KILLS):
            seen += killed(lab, moments.uniform(0.2, LONGEST_S))
            after = settled(lab, before)
            still += after != before
            assert after == before
    print(f"{KILLS} runs, {seen} of them killed, {still} with something left")
    assert seen


def settled(lab: Lab, before: dict[str, str]) -> dict[str, str]:
    """What is there once the kernel has freed the killed process's sockets, which takes a grace period."""
    deadline = time.monotonic() + 5
    while (after := left(lab)) != before and time.monotonic() < deadline:
        pass
    return after
