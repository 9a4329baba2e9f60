"""Meshes of hundreds of peers: all is decided in time, and just the bad ones are named."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]


def report_of(scenario: str, tmp_path: Path, *arguments: str) -> dict[str, Any]:
    """What `preflight all` says in a lab of that scenario, and the text under `text`."""
    files = tmp_path / "report.json", tmp_path / "report.txt"
    outputs = [f"--output=json={files[0]}", f"--output=text={files[1]}"]
    command = [sys.executable, "-m", "preflight", "all", "--lab", scenario, *outputs, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert files[0].exists(), done.stderr
    report: dict[str, Any] = json.loads(files[0].read_text())
    return report | {"text": files[1].read_text(), "stderr": done.stderr}


def test_five_hundred_healthy_peers_pass(tmp_path: Path) -> None:
    """Our own haste loses nothing, and no limit for a few peers ends a check."""
    report = report_of("healthy-mesh", tmp_path)
    bad = [r for r in report["results"] if r["status"] not in ("pass", "skip")]
    assert bad == []
    assert report["diagnosis"] == []
    for check in ("reach.icmp", "reach.udp", "mtu.path", "udp.quality"):
        targets = {r["target"] for r in report["results"] if r["check"] == check}
        assert len(targets) == 501, check


def test_just_the_silent_peers_are_named(tmp_path: Path) -> None:
    """Three of a hundred drop everything: three causes, each with what it explains, and nobody else is accused."""
    report = report_of("mesh-silent", tmp_path)
    silent = ["p7", "p50", "p99"]
    assert [cause["target"] for cause in report["diagnosis"]] == silent
    assert {cause["code"] for cause in report["diagnosis"]} == {"reach.unreachable"}
    assert {r["target"] for r in report["results"] if r["status"] == "fail"} == set(silent)
    assert report["summary"]["warn"] == report["summary"]["inconclusive"] == 0
    skipped = {r["target"] for r in report["results"] if r["check"] == "udp.quality" and r["status"] == "skip"}
    assert skipped == set(silent)
