"""Programs are found by absolute folders only, and our own modules run without the current folder."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from preflight.programs import find, own_age_s, python_module


def test_a_program_in_the_current_folder_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user who runs us, often root, may be in another user's folder."""
    (tmp_path / "planted").write_text("#!/bin/sh\n")
    (tmp_path / "planted").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f":.:{tmp_path.name}")
    assert find("planted") is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find("planted") == str(tmp_path / "planted")


def test_our_modules_do_not_import_from_the_current_folder(tmp_path: Path) -> None:
    """A `json.py` in that folder stays what it is: a file."""
    (tmp_path / "json.py").write_text("raise SystemExit('planted')")
    words = python_module("json.tool", "--help")
    assert words[0] == sys.executable
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "usage" in done.stdout


def test_a_process_knows_how_long_it_has_been_there() -> None:
    """A run's duration counts from the process's start: its imports are time that the user waits too."""
    before = time.monotonic()
    line = "import time; time.sleep(0.05); from preflight.programs import own_age_s; print(own_age_s())"
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    tick_s = 0.01
    assert 0.05 - tick_s <= float(done.stdout) <= time.monotonic() - before + tick_s
    assert own_age_s() > float(done.stdout)
