"""Cleaning a node: everything of one run, nothing of anyone else."""

import os
import secrets
import subprocess
import sys
from pathlib import Path

from preflight.fleet.remote import clean

BASE = "cache/overlay-preflight"


def removed(home: Path, run: str, *keep: str) -> list[str]:
    """Clean in folders of the test, never in those of the system."""
    return clean.remove_files(run, list(keep), ([home / BASE], [home / "run", home / "tmp"]))


def made(home: Path, *names: str) -> list[Path]:
    folders = [home / name for name in names]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "file").touch()
    return folders


def test_the_folders_of_a_run_go_and_those_of_others_stay(tmp_path: Path) -> None:
    """Protects a run that is under way from the end of another one on the same node."""
    ours = made(tmp_path, f"{BASE}/run-aa", "run/preflight-fleet-aa", "tmp/preflight-fleet-aa")
    others = made(tmp_path, f"{BASE}/run-bb", "run/preflight-fleet-bb", "run/preflight-lab", f"{BASE}/0123456789abcdef")
    assert removed(tmp_path, "aa") == []
    assert not any(folder.exists() for folder in ours)
    assert all(folder.exists() for folder in others)


def test_the_last_run_takes_the_delivery_with_it(tmp_path: Path) -> None:
    """Protects from litter: nothing stays that was not asked to stay."""
    made(tmp_path, f"{BASE}/run-aa", f"{BASE}/0123", f"{BASE}/4567")
    assert removed(tmp_path, "aa", "4567") == []
    assert [path.name for path in (tmp_path / BASE).iterdir()] == ["4567"]
    assert removed(tmp_path, "aa") == []
    assert not (tmp_path / BASE).exists()


def test_any_means_every_run(tmp_path: Path) -> None:
    """Protects `preflight fleet clean`."""
    folders = made(tmp_path, f"{BASE}/run-aa", "run/preflight-fleet-bb")
    assert removed(tmp_path, clean.ANY) == []
    assert not any(folder.exists() for folder in folders)


def test_only_processes_of_the_run_end() -> None:
    """Protects every other process of the node, one of another run and the controller among them."""
    run = secrets.token_hex(8)
    sleep = [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"]
    environments = [{clean.MARK: run}, {clean.MARK: run[::-1]}, {clean.MARK: run, "C": f"{clean.CONTROLLER}{run}"}]
    running = [subprocess.Popen(sleep, env=os.environ | each, stdout=subprocess.PIPE) for each in environments]
    try:
        for child in running:
            assert child.stdout is not None
            child.stdout.readline()
        assert clean.marked(clean.marks_of(run)) == [running[0].pid]
        running[0].send_signal(9)
        assert running[0].wait(10) != 0
        assert [child.poll() for child in running[1:]] == [None, None]
    finally:
        for child in running:
            child.kill()
            child.communicate()
