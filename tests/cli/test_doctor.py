"""`preflight doctor` on this machine: whatever it lacks, the answer is whole and the exit code fits it."""

import json
import subprocess
import sys
from pathlib import Path


def doctor(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run it in an empty folder."""
    command = [sys.executable, "-P", "-m", "preflight", "doctor", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_text_and_json_agree(tmp_path: Path) -> None:
    """The exit code is the one that both say."""
    text, document = doctor(tmp_path), doctor(tmp_path, "--json")
    found = json.loads(document.stdout)
    assert text.returncode == document.returncode == found["exit_code"]
    assert text.stdout.splitlines()[-1].endswith(f"exit code {text.returncode}")
    assert (text.stderr, document.stderr) == ("", "")


def test_settings_with_a_mistake_are_named(tmp_path: Path) -> None:
    """The command works where no other would."""
    (tmp_path / "preflight.yaml").write_text("peerz: []\n")
    done = doctor(tmp_path)
    assert done.returncode == 1
    assert "peerz" in done.stdout


def test_it_writes_nothing(tmp_path: Path) -> None:
    """It only reads."""
    doctor(tmp_path)
    assert list(tmp_path.iterdir()) == []
