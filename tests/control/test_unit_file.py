"""The documented systemd unit: sound, hardened as far as a network service goes, and about options that there are."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from preflight.cli.control_plane import control_plane

UNIT = Path(__file__).parents[2] / "docs/how-to/control-plane/preflight-control-plane.service"
MOST_EXPOSED = 10
"""Tenths on systemd's scale of 0 to 10. What is left: it listens, asks netlink for addresses, and wakes its loop."""


def settings(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.needs("systemd-analyze")
def test_it_is_hardened() -> None:
    """`systemd-analyze security` calls it OK, at an exposure of 1.0 or less."""
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={MOST_EXPOSED}", str(UNIT)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.needs("systemd-analyze")
def test_its_directives_are_known(tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing to say, once the program is where it is."""
    text = UNIT.read_text(encoding="utf-8")
    program = str(Path(sys.executable).with_name("preflight"))
    copy = tmp_path / UNIT.name
    copy.write_text(text.replace("/opt/preflight/bin/preflight", program), encoding="utf-8")
    run = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(copy)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout) == (0, ""), run.stdout + run.stderr
    assert copy.name not in run.stderr, run.stderr


def test_its_options_are_the_program_s() -> None:
    """A renamed option would keep the service down."""
    (command,) = settings("ExecStart")
    words = shlex.split(command)
    assert words[1:3] == ["control-plane", "serve"]
    options = {word for word in words if word.startswith("--")}
    shown = CliRunner().invoke(control_plane, ["serve", "--help"]).output
    assert options == {"--bind", "--metrics-bind", "--config"}
    assert options <= set(re.findall(r"--[a-z-]+", shown))


@pytest.mark.parametrize("name", ["StateDirectory", "DynamicUser", "NoNewPrivileges", "SystemCallFilter"])
def test_what_it_rests_on_is_set(name: str) -> None:
    """The database's place, a separate account, no way up, and no calls that it does not need."""
    assert settings(name)
