"""A NAT that forgets, made for real, and the same silence without one."""

import json
import subprocess
import sys
from typing import Any

import pytest
import yaml

from preflight.lab.scenarios import SCENARIOS
from preflight.lab.session import fresh_lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]


def silence(scenario: str, seconds: float) -> dict[str, Any]:
    """What `udp.nat-timeout` finds after one silence of so many seconds."""
    with fresh_lab(SCENARIOS[scenario]) as lab:
        files = lab.names.files("a")
        settings = yaml.safe_load((files / "preflight.yaml").read_text()) | {"checks": {"nat_silence_s": [seconds]}}
        (files / "silence.yaml").write_text(yaml.safe_dump(settings))
        words = [sys.executable, "-m", "preflight", "run", "udp.nat-timeout", "--output", "json"]
        done = subprocess.run(
            lab.command([*words, "--config", str(files / "silence.yaml")]),
            env=lab.environment(),
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
    report = json.loads(done.stdout)
    (found,) = [result for result in report["results"] if result["check"] == "udp.nat-timeout"]
    assert report["run"]["exit_code"] == 0, found
    return dict(found)


def test_a_nat_forgets_within_25_s() -> None:
    """The peer does not get in, and does again once this node has spoken: a warning with the keepalive that helps."""
    found = silence("nat-timeout", 25.0)
    assert (found["status"], found["code"], found["direction"]) == ("warn", "udp.nat-timeout", "reverse"), found
    assert "there is no keepalive" in found["message"]
    assert "persistent-keepalive 15" in found["remedy"]


def test_without_a_nat_nothing_is_forgotten() -> None:
    """The same over a way that remembers nothing: the peer gets in, and the tunnel's counters stood still."""
    found = silence("healthy-silent", 8.0)
    assert (found["status"], found["code"]) == ("pass", None), found
    assert found["measurements"]["survived_s"] >= 7.0, found
