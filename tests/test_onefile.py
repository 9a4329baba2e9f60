"""The one file that is copied onto a node: it starts where there is a Python and nothing of ours."""

import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Packed once, on one worker; its packages may have to be installed first.
pytestmark = [pytest.mark.lab, pytest.mark.xdist_group("wheel"), pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file, as `bin/onefile` makes it, alone in its folder."""
    target = tmp_path_factory.mktemp("node") / "preflight"
    done = subprocess.run([ROOT / "bin" / "onefile", target], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return target


def run(packed: Path, *words: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run it in an empty network namespace, away from the checkout, with a search path and a home only."""
    home = {"HOME": str(packed.parent)}
    alone = ["unshare", "--net", "env", "-i", *(f"{name}={value}" for name, value in {**home, **environ}.items())]
    return subprocess.run(
        [*alone, "PATH=/usr/bin:/bin", str(packed), *words],
        cwd=packed.parent,
        capture_output=True,
        text=True,
        check=False,
    )


def test_another_python_is_one_sentence(packed: Path, tmp_path: Path) -> None:
    """Protects from a page of packages that do not fit; nothing is unpacked for it."""
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    words = ["/usr/bin/env", "-i", f"HOME={tmp_path}", f"PATH={tmp_path}", "/bin/sh", str(packed), "--version"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "preflight: this file needs Python 3.11, and none is in PATH; PEX_PYTHON=FILE names one elsewhere\n"
    )
    assert not (tmp_path / ".cache").exists()


def test_it_lists_the_checks(packed: Path) -> None:
    """The catalogue comes through an entry point, which a file that is only zipped would lose."""
    done = run(packed, "list", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "overlay.interface" in {check["id"] for check in json.loads(done.stdout)}


def test_it_judges_a_node(packed: Path) -> None:
    """Where there is no overlay, `all` says so; no check breaks, and none is missing."""
    done = run(packed, "all", "--output", "json")
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    assert report["diagnosis"][0]["code"] == "overlay.absent"
    assert report["summary"]["error"] == 0
    assert "run.plugin-broken" not in {result["code"] for result in report["results"]}


def test_what_it_starts_is_the_same_program(packed: Path) -> None:
    """The processes that it starts with its own Python find it without the variables of this one."""
    words = ["-c", "import sys; print(sys.executable)"]
    python = run(packed, *words, PEX_INTERPRETER="1").stdout.strip()
    alone = ["env", "-i", "PATH=/usr/bin:/bin", python, "-P", "-m", "preflight", "--version"]
    done = subprocess.run(alone, cwd=packed.parent, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("preflight "), done.stderr


def test_it_holds_nothing_under_another_licence(packed: Path) -> None:
    """The file is handed on: what an extra brings is not in it, nor what it was packed with."""
    told = run(packed, "-c", "import importlib.util as u; print(u.find_spec('scapy'))", PEX_INTERPRETER="1")
    assert told.stdout.strip() == "None"
