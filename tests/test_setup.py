"""The newcomer's door: what bin/test, .editorconfig and pre-commit promise."""

import configparser
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.programs import ALL

ROOT = Path(__file__).parents[1]
UNIT = "tests/proto/control/test_backoff.py"


def bin_test(*words: str) -> "subprocess.CompletedProcess[str]":
    """Run bin/test with the virtual environment that runs this test."""
    environ = {**os.environ, "PREFLIGHT_VENV": sys.prefix}
    return subprocess.run([ROOT / "bin" / "test", *words], env=environ, capture_output=True, text=True, check=False)


def test_a_unit_test_needs_no_debian_package() -> None:
    """The programs are hidden here, so bin/test has to find out which tests need them: none does."""
    done = bin_test(UNIT, "-q")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Debian" not in done.stderr


def test_what_is_needed_follows_from_what_is_asked_for() -> None:
    """bin/test reads this line, and installs what it names."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "tests/browser", UNIT]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert [line for line in done.stdout.splitlines() if line.startswith("needs:")] == ["needs: chromium"]


def test_a_test_finds_no_program_that_it_does_not_declare() -> None:
    """A declaration that is forgotten fails here, and not on another machine that lacks the program."""
    assert [program for program in ALL if shutil.which(program)] == []
    assert shutil.which("git")
    assert shutil.which("sh")


@pytest.mark.needs("systemd-analyze")
def test_a_test_finds_the_program_that_it_declares() -> None:
    """Only that one."""
    assert [program for program in ALL if shutil.which(program)] == ["systemd-analyze"]


def test_help_names_every_option() -> None:
    """`bin/test --help` sets nothing up and says what there is."""
    done = subprocess.run(
        [ROOT / "bin" / "test", "--help"], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert all(option in done.stdout for option in ("--fast", "--coverage", "--python", "tests/proto"))


def test_a_python_that_is_not_there_is_reported(tmp_path: Path) -> None:
    """The tests never run on another Python than the one that was asked for."""
    environ = {**os.environ, "PREFLIGHT_VENV": str(tmp_path / "venv")}
    command = [str(ROOT / "bin" / "test"), "--python", "3.99", UNIT]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Python 3.99 is needed and was not found" in done.stderr


def test_editors_and_ruff_agree() -> None:
    """An editor must not wrap what ruff joins."""
    parser = configparser.ConfigParser()
    parser.read_string("[root]\n" + (ROOT / ".editorconfig").read_text(encoding="utf-8"))
    ruff = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]
    assert int(parser["*.py"]["max_line_length"]) == ruff["line-length"]


def test_files_are_as_the_editorconfig_says() -> None:
    """A file that an editor would change on saving makes noise in the next commit."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [ROOT / name for name in names.split("\0") if name.endswith((".py", ".md", ".toml", ".yaml", ".yml"))]
    texts = {path: path.read_bytes() for path in files if path.is_file()}
    untidy = [
        str(path.relative_to(ROOT))
        for path, text in texts.items()
        if b"\r" in text
        or (text and not text.endswith(b"\n"))
        or any(line.endswith((b" ", b"\t")) for line in text.split(b"\n"))
    ]
    assert untidy == []


def test_the_hooks_run_the_locked_tools() -> None:
    """pre-commit accepts the file, and each hook starts a program of the virtual environment."""
    file = ROOT / ".pre-commit-config.yaml"
    subprocess.run([sys.executable, "-m", "pre_commit", "validate-config", str(file)], check=True)
    hooks = [hook for repo in yaml.safe_load(file.read_text(encoding="utf-8"))["repos"] for hook in repo["hooks"]]
    for hook in hooks:
        folder, _, program = hook["entry"].partition(" ")[0].rpartition("/")
        assert folder == ".venv/bin"
        assert (Path(sys.executable).parent / program).exists(), program
