"""Forty draws of one seed: each can be built, its fault proves itself, and preflight judges it and leaves nothing."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from preflight.lab.draws import draws
from preflight.lab.scenario_file import parse_scenario, scenario_of
from tests.lab.lifetime import preflight

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]
SEED, COUNT = 12, 40
JOBS = 4
"""More than a small machine has cores: a draw waits half its time, for packets and for time-outs of protocols."""


def test_forty_draws(tmp_path: Path) -> None:
    """Protects the laboratory: a fault or a set-up that cannot be built would leave a hole in the score.

    And the command: a score as JSON whose draws can be run again, with the report of each; nothing is left behind.

    How good the diagnosis is on them, `bin/bench diagnosis` says; it does not decide here.
    """
    file = tmp_path / "score.json"
    words = ["--seed", str(SEED), "--count", str(COUNT), "--shrink", "0", "--jobs", str(JOBS)]
    command = preflight("lab", "fuzz", *words, "--output", f"json={file}")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr[-2000:]
    rows = json.loads(file.read_text(encoding="utf-8"))["draws"]
    assert [row["file"].get("faults", []) for row in rows] == [list(each.faults) for each in draws(SEED, COUNT)]
    assert {row["number"]: row["error"] for row in rows if row["grade"] == "unbuilt"} == {}
    for row in rows:
        assert row["grade"] in ("right", "vague", "wrong"), row
        assert row["ran_ms"] > 0
        parse_scenario("again", yaml.safe_dump(row["file"]))
        assert json.loads(Path(row["report"]).read_text(encoding="utf-8"))["run"]["exit_code"] in (0, 1, 3)
    names = tuple(f"preflight-{scenario_of(each).name}-" for each in draws(SEED, COUNT))
    assert not [path for path in Path("/run/netns").iterdir() if path.name.startswith(names)]
