"""`lab run`: real labs, real runs of preflight, and the score."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from preflight.lab.matrix import repeated
from preflight.lab.scenarios import SCENARIOS
from preflight.report.timeline import parse

pytestmark = pytest.mark.lab
RUN = [sys.executable, "-m", "preflight", "lab", "run"]


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*RUN, *words], capture_output=True, text=True, timeout=110, check=False)


def test_one_scenario(tmp_path: Path) -> None:
    """Protects programs that read one run: the score and the report are in one file."""
    file = tmp_path / "score.json"
    done = run("bootstrap-invalid", "--output", f"json={file}")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("right   bootstrap-invalid (")
    score = json.loads(file.read_text())
    (row,) = score["scenarios"]
    assert row["expected"]["code"] == row["got"]["code"] == "enroll.bootstrap-invalid"
    assert (score["right"], score["total"]) == (1, 1)
    assert score["report"]["diagnosis"][0]["code"] == "enroll.bootstrap-invalid"
    assert score["report"]["run"]["lab"] == "wireguard"
    assert row["report"] == score["report"]
    assert list(tmp_path.iterdir()) == [file]


def test_several_side_by_side(tmp_path: Path) -> None:
    """Protects the matrix: labs in parallel, one report for each run, the table on standard output."""
    file = tmp_path / "score.json"
    outputs = ["--output", f"json={file}", "--output", "text"]
    done = run("bootstrap-disabled", "interface-missing", "--jobs", "2", *outputs)
    assert done.returncode == 0
    assert "2 right, 0 wrong, 0 missed, 0 false alarms, 2 in all" in done.stdout
    rows = json.loads(file.read_text())["scenarios"]
    assert [(row["name"], row["repeat"]) for row in rows] == [
        ("bootstrap-disabled", 1),
        ("interface-missing", 1),
    ]
    for row in rows:
        assert json.loads(Path(row["report"]).read_text())["diagnosis"][0]["code"] == row["got"]["code"]


def test_all_once_before_any_twice() -> None:
    """Protects a matrix that is stopped early: no scenario was run twice before each was run once."""
    one, two = SCENARIOS["bootstrap-disabled"], SCENARIOS["interface-missing"]
    assert list(repeated([one, two], 2)) == [(one, 1), (two, 1), (one, 2), (two, 2)]


def test_interrupted_run() -> None:
    """Protects the machine from Ctrl-C in the middle of a run: its lab goes, and it says 130."""
    child = subprocess.Popen([*RUN, "slow-control"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (lab := lab_of(child.pid)):
        assert time.monotonic() < deadline
        assert child.poll() is None
        time.sleep(0.05)  # leaves the processor to the command
    assert Path(f"/run/netns/preflight-{lab.name}-a").exists()
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=30)
    assert child.returncode == 130
    assert not lab.exists()
    assert not list(Path("/run/netns").glob(f"preflight-{lab.name}-*"))


def lab_of(pid: int) -> Path | None:
    """The directory of the lab in which a run has its `preflight all` at work."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            words = (process / "cmdline").read_text().split("\0")
        except OSError:
            continue
        if parent == pid and "--config" in words:
            return Path(words[words.index("--config") + 1]).parent.parent
    return None


WRONG = """
topology: loopback
expect: [mtu.black-hole forward]
exit_code: 1
"""


def test_a_bad_run_leaves_its_timeline(tmp_path: Path) -> None:
    """Protects the person who must find out why a row failed: the screen shows how the run ended, a file the rest."""
    scenario = tmp_path / "incident.yaml"
    scenario.write_text(WRONG)
    file = tmp_path / "score.json"
    done = run(str(scenario), "--repeat", "2", "--jobs", "1", "--output", f"json={file}")
    assert done.returncode == 1
    rows = json.loads(file.read_text())["scenarios"]
    assert [row["timeline"] for row in rows] == [
        str(tmp_path / "score-reports" / f"incident-{number}.timeline.jsonl") for number in (1, 2)
    ]
    for row in rows:
        assert parse(Path(row["timeline"]).read_bytes()).events[-1].source in (
            "engine.runner",
            "engine.diagnosis",
            "kernel",
        )
        assert f"timeline: {row['timeline']}, its last 40 of" in done.stderr


def test_a_bad_run_without_a_folder_leaves_its_timeline_too(tmp_path: Path) -> None:
    """With scores as text only, it is in a temporary folder, which stays for that, and is named."""
    scenario = tmp_path / "incident.yaml"
    scenario.write_text(WRONG)
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [*RUN, str(scenario)], env=environment, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 1
    (path,) = tmp_path.glob("preflight-lab-*/incident-1.timeline.jsonl")
    assert f"timeline: {path}, its last" in done.stderr
