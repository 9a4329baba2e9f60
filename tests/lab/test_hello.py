"""Hellos through real tunnels, with a responder on both nodes: each has the port that the other's hellos come to."""

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from preflight.lab.labs import Lab, fresh_lab
from preflight.lab.scenarios import SCENARIOS
from preflight.lab.topology import overlay_address

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]


ATTEMPTS = 5


def forward(lab: Lab, *, acquainted: bool = False) -> dict[str, Any]:
    """What `reach.udp` says about the way from a to b, while a has a responder too.

    acquainted: the first run counts in which b reports that it heard a hello of a after a's first packet: hellos go
    their own pace, so a run may lie between two of them.
    """
    config = ["--config", str(lab.names.files("a") / "preflight.yaml")]
    program = [sys.executable, "-m", "preflight"]
    place = f"{overlay_address('a', 4)}:862"
    words = lab.command([*program, "responder", *config, "--bind", place])
    responder = subprocess.Popen(words, env=lab.environment(), stdout=subprocess.PIPE, text=True)
    try:
        assert responder.stdout
        assert responder.stdout.readline() == f"listening on udp://{place}\n"
        words = lab.command([*program, "run", "reach.udp", *config, "--output", "json"])
        for _ in range(ATTEMPTS if acquainted else 1):
            done = subprocess.run(words, env=lab.environment(), capture_output=True, text=True, timeout=60, check=False)
            found: Sequence[dict[str, Any]] = json.loads(done.stdout)["results"]
            (result,) = [each for each in found if each["id"] == "reach.udp/b/forward"]
            if heard_meanwhile(result):
                break
    finally:
        responder.kill()
        responder.communicate(timeout=30)
    return result


def heard_meanwhile(result: dict[str, Any]) -> bool:
    """Whether b heard a hello of a after a's first packet, as its own hello reports."""
    report = result["evidence"][0]["data"]["told_by_hello"] if "evidence" in result else None
    if report is None or report["heard"]["hello_age_s"] is None:
        return False
    return bool(report["heard"]["hello_age_s"] <= report["after_s"])


def test_this_nodes_responder_tells_what_it_heard() -> None:
    """The port is taken, so the check asks; b's hellos count nothing from a, neither packets nor hellos."""
    with fresh_lab(SCENARIOS["solo-drop"]) as lab:
        found = forward(lab)
    assert (found["status"], found["code"]) == ("fail", "reach.no-forward"), found
    report = found["evidence"][0]["data"]["told_by_hello"]
    assert report["by_responder"]
    assert (report["heard"]["packets"], report["heard"]["hellos"]) == (0, 0), report


def test_a_firewall_that_lets_only_known_flows_in() -> None:
    """b's hello opens the way only for a's hellos: test packets count, and the difference is reported."""
    with fresh_lab(SCENARIOS["healthy-solo"]) as lab:
        tunnel = lab.names.tunnel("b")
        rules = f"""table inet lab {{ chain input {{ type filter hook input priority 0;
            iifname "{tunnel}" ct state established accept; iifname "{tunnel}" drop; }}; }}"""
        subprocess.run(lab.command_in("b", ["nft", "-f", "-"]), input=rules, text=True, check=True, timeout=30)
        found = forward(lab, acquainted=True)
    assert (found["status"], found["code"]) == ("fail", "reach.no-forward"), found
    assert heard_meanwhile(found), found
    assert "only new flows are dropped" in found["message"], found
