"""The alert rules and the scrape configuration that are handed out."""

import re
import subprocess
from pathlib import Path

import pytest

from preflight import codes
from preflight.codes import Code

FOLDER = Path(__file__).parents[2] / "examples" / "prometheus"
RULES = (FOLDER / "preflight.rules.yml").read_text(encoding="utf-8")


@pytest.mark.needs("promtool")
@pytest.mark.parametrize(
    "arguments",
    ["test rules preflight.rules.test.yml", "check rules preflight.rules.yml", "check config prometheus.yml"],
)
def test_prometheus_own_tool_accepts_them(arguments: str) -> None:
    """Each alert fires on its fault, after its time, with its words, and is silent otherwise."""
    done = subprocess.run(["promtool", *arguments.split()], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tried() -> None:
    """A rule without a test is a guess."""
    tried = (FOLDER / "preflight.rules.test.yml").read_text(encoding="utf-8")
    alerts = re.findall(r"alert: (\w+)", RULES)
    assert len(alerts) == 7
    assert all(f"alertname: {alert}" in tried for alert in alerts)


def test_every_code_of_a_rule_exists() -> None:
    """An alert on a code that no check gives never fires."""
    known = {each.slug for each in vars(codes).values() if isinstance(each, Code)}
    named = {code for group in re.findall(r'code=~?"([^"]+)"', RULES) for code in group.split("|")}
    assert named
    assert named <= known
