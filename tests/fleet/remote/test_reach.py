"""The first step on a node."""

import json
import os
import platform
import sys
from pathlib import Path

import pytest

from preflight.fleet.remote import reach

OWN = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture(autouse=True)
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders of the test in the place of the system's."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    if os.geteuid() == 0:  # whose folders are those of the system
        monkeypatch.setattr(reach, "Path", lambda *parts: Path(str(tmp_path) + str(Path(*parts))))


def test_a_node_says_where_things_go(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Protects the contract with the later steps, and the folder's mode: it will hold programs that root runs."""
    assert reach.main("aa", "0123", OWN, platform.machine()) == 0
    place = json.loads(capsys.readouterr().out)
    assert place["have"] is False
    assert place["incoming"].endswith("/overlay-preflight/run-aa")
    assert place["run_folder"].endswith("preflight-fleet-aa")
    assert Path(place["incoming"]).stat().st_mode & 0o777 == 0o700


def test_a_python_that_does_not_fit_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Protects from a delivery that cannot be imported."""
    assert reach.main("aa", "0123", "3.1", "vax") == reach.UNFIT
    assert "the delivery is for Python 3.1 on vax" in capsys.readouterr().err


def test_a_folder_that_others_may_write_is_not_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Protects root from programs that another user put there."""
    assert reach.main("aa", "0123", OWN, platform.machine()) == 0
    base = Path(json.loads(capsys.readouterr().out)["incoming"]).parent
    base.chmod(0o777)
    assert reach.main("bb", "0123", OWN, platform.machine()) == reach.UNFIT


def test_a_service_has_its_own_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Protects a service from the cleaning after a run, which empties the cache."""
    assert reach.main("aa", "0123", OWN, platform.machine(), f"{tmp_path}/for-good") == 0
    assert "/for-good/0123" in json.loads(capsys.readouterr().out)["folder"]
