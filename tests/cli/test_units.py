"""The systemd units that are handed out for nodes: sound, hardened, and about options that exist."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from preflight.cli.main import build

FOLDER = Path(__file__).parents[2] / "docs" / "how-to" / "systemd"
SERVICES = sorted(FOLDER.glob("*.service"))
MOST_EXPOSED = 30
"""Tenths on systemd's scale of 0 to 10: a node's tunnel is read with CAP_NET_ADMIN, and echoes need CAP_NET_RAW."""


@pytest.mark.needs("systemd-analyze")
def test_the_directives_are_known(tmp_path: Path) -> None:
    """Protects from a unit that systemd loads only in part: `systemd-analyze verify` has nothing to say."""
    program = str(Path(sys.executable).with_name("preflight"))
    for path in FOLDER.iterdir():
        text = path.read_text(encoding="utf-8")
        (tmp_path / path.name).write_text(text.replace("/opt/preflight/bin/preflight", program), encoding="utf-8")
    units = [str(path) for path in sorted(tmp_path.iterdir())]
    words = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *units]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "preflight-" not in done.stderr, done.stderr


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize("unit", SERVICES, ids=lambda path: path.stem)
def test_they_are_hardened(unit: Path) -> None:
    """Protects a node from its own monitoring."""
    words = ["systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={MOST_EXPOSED}", str(unit)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("unit", SERVICES, ids=lambda path: path.stem)
def test_their_options_are_the_program_s(unit: Path) -> None:
    """Protects from a renamed option, which would keep the service down."""
    (line,) = re.findall(r"^ExecStart=(.*)$", unit.read_text(encoding="utf-8"), re.MULTILINE)
    words = shlex.split(line)
    if words[0] == "/bin/sh":
        words = shlex.split(words[2])[1:]
    verb = words[1]
    shown = CliRunner().invoke(build(), [verb, "--help"]).output
    options = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert options
    assert options <= set(re.findall(r"--[a-z-]+", shown))
