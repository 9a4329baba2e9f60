"""No file in the current folder, in TMPDIR or in HOME is executed, whatever user wrote it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from preflight.programs import search_path

ROOT = Path(__file__).parents[2]
MODULES = ("yaml", "click", "json", "sitecustomize", "usercustomize", "pydantic", "httpx", "pyroute2", "pip", "venv")
PACKAGES = ("preflight", "preflight_checks", "preflight_runbook")
PROGRAMS = (
    "ip",
    "wg",
    "nft",
    "bridge",
    "wireguard-go",
    "git",
    "nice",
    "sh",
    "bash",
    "dirname",
    "sha256sum",
    "tailscale",
)


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder full of modules and programs that leave a mark when they are executed."""
    folder = tmp_path / "hostile"
    site = folder / ".local" / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    for place in (folder, site):
        place.mkdir(parents=True)
        for name in (*MODULES, *(f"{package}/__init__" for package in PACKAGES)):
            path = place / f"{name}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"open({str(tmp_path / 'marks')!r}, 'a').write('{name}.py ')\n")
    for name in PROGRAMS:
        path = folder / name
        path.write_text(f"#!/bin/sh\nprintf '%s ' './{name}' >>{tmp_path / 'marks'}\nexit 1\n")
        path.chmod(0o755)
    return folder


def run(folder: Path, program: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run a program of ours in a folder that is also HOME, TMPDIR and, in three ways, part of PATH."""
    environ = {"PATH": f":.:../{folder.name}:{os.environ['PATH']}", "HOME": str(folder), "TMPDIR": str(folder)}
    return subprocess.run(
        [program, *words], cwd=folder, env=environ, capture_output=True, text=True, timeout=100, check=False
    )


def marks(folder: Path) -> str:
    """What was executed."""
    file = folder.parent / "marks"
    return file.read_text() if file.exists() else ""


def ours() -> Path:
    """The installed program."""
    return Path(sys.executable).with_name("preflight")


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("run", "overlay.interface"), id="a check that starts programs"),
        pytest.param(("run", "host.clock", "--lab", "pair"), id="a lab of real tunnels", marks=pytest.mark.lab),
        pytest.param(("lab", "run", "loopback"), id="lab run"),
    ],
)
def test_a_hostile_current_folder_is_never_executed(hostile: Path, words: tuple[str, ...]) -> None:
    """No module and no program of the current folder runs, and the command works as anywhere else."""
    done = run(hostile, ours(), *words, "--output", "json")
    assert marks(hostile) == ""
    assert done.stdout.startswith("{"), done.stderr


def test_bin_preflight_runs_only_what_is_its_own(hostile: Path) -> None:
    """`bin/preflight` executes nothing from the current folder, even where PATH asks for that."""
    done = run(hostile, ROOT / "bin" / "preflight", "--version")
    assert marks(hostile) == ""
    assert (done.returncode, done.stdout.split()[0]) == (0, "preflight"), done.stderr


def test_the_folder_above_the_clone_is_as_good_as_any(tmp_path: Path) -> None:
    """A folder called `preflight` next to us, such as the clone's, does not replace the program."""
    (tmp_path / "preflight" / "preflight").mkdir(parents=True)
    done = run(tmp_path, ours(), "run", "host.clock", "--lab", "loopback", "--output", "json")
    assert done.stdout.startswith("{"), done.stderr


@pytest.mark.parametrize("word", ["sys.executable", "shutil.which("])
def test_programs_are_found_in_one_place(word: str) -> None:
    """Whatever we start is looked up by `preflight/programs.py`, which ignores the current folder."""
    files = (file for file in (ROOT / "preflight").rglob("*.py") if word in file.read_text(encoding="utf-8"))
    # What runs alone on a node of a fleet has nothing but the Python that Ansible found there.
    users = {file.name for file in files if file.parent != ROOT / "preflight" / "fleet" / "remote"}
    fixed_folders = {"collect.py"}  # the evidence's programs come from the system's folders only
    assert users - fixed_folders == {"programs.py"}


@pytest.mark.parametrize(
    ("path", "searched"),
    [
        pytest.param("", "", id="empty"),
        pytest.param(":/a", "/a:", id="empty entry"),
        pytest.param(".:/a::b:./c:/a:/d", "/a:/d:", id="relative entries"),
    ],
)
def test_path_never_means_the_current_folder(path: str, searched: str) -> None:
    """Of PATH only absolute folders are searched, each once, and the system's own behind them."""
    assert search_path({"PATH": path}) == f"{searched}/usr/local/sbin:/usr/sbin:/sbin"
