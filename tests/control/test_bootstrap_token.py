"""`preflight control-plane bootstrap-token`: a token that only its owner reads, and words on what to do with it."""

import re
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from click.testing import CliRunner, Result

from preflight.cli.control_plane import control_plane

if TYPE_CHECKING:
    from tests.control.conftest import StartServer


def run(*options: str) -> Result:
    return CliRunner().invoke(control_plane, ["bootstrap-token", *options], catch_exceptions=False)


def test_stdout_holds_the_token_and_nothing_else() -> None:
    """So that it can be piped; the instructions on stderr do not repeat it."""
    first, second = run(), run()
    assert re.fullmatch(r"[\w-]{43}\n", first.stdout)
    assert first.stdout != second.stdout
    assert first.stdout.strip() not in first.stderr
    assert "VOX_MESH_BOOTSTRAP_EXPIRES_UNIX_MS=" in first.stderr


def test_a_file_is_its_owners_alone(tmp_path: Path) -> None:
    """Mode 0600, the token in it, nothing on stdout, no other file left behind."""
    out = tmp_path / "token"
    result = run("--out", str(out))
    assert result.exit_code == 0
    assert result.stdout == ""
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert out.read_text().strip() not in result.stderr
    assert f"bootstrap_token_file: {out}" in result.stderr
    assert list(tmp_path.iterdir()) == [out]


def test_a_file_that_is_there_is_not_touched(tmp_path: Path) -> None:
    """A node may be about to use it."""
    out = tmp_path / "token"
    out.write_text("precious")
    result = run("--out", str(out))
    assert result.exit_code == 2
    assert "exists" in result.stderr
    assert out.read_text() == "precious"


def test_both_files_or_none(tmp_path: Path) -> None:
    """If the second cannot be written the first is removed."""
    result = run("--out", str(tmp_path / "token"), "--env-out", str(tmp_path / "missing" / "env"))
    assert result.exit_code == 2
    assert "missing" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("ttl", "seconds"), [("90s", 90), ("15m", 900), ("1h", 3600), ("7d", 604800), (" 30d ", 2592000)]
)
def test_how_long_it_lives(tmp_path: Path, ttl: str, seconds: int) -> None:
    """The deadline is the server's variable, Unix milliseconds."""
    out = tmp_path / "env"
    assert run("--env-out", str(out), "--ttl", ttl).exit_code == 0
    deadline = int(out.read_text().rpartition("=")[2])
    assert abs(deadline / 1000 - time.time() - seconds) < 60


@pytest.mark.parametrize("ttl", ["", "0s", "-1h", "1", "1w", "31d", "99999999999d", "1h30m"])
def test_a_life_that_is_none_is_refused(ttl: str) -> None:
    """With examples of what would be one."""
    result = run("--ttl", ttl)
    assert result.exit_code == 2
    assert "15m" in result.stderr
    assert result.stdout == ""


def test_the_server_takes_what_was_made(start_server: "StartServer", tmp_path: Path) -> None:
    """From the command to the exchange, by environment file."""
    assert run("--out", str(tmp_path / "token"), "--env-out", str(tmp_path / "env")).exit_code == 0
    variables = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    server = start_server({"VOX_MESH_TOKEN": "mesh-token-of-the-tests", **variables})
    body = {"bootstrap_token": (tmp_path / "token").read_text()}
    answer = httpx.post(f"{server.url}/v1/populi/bootstrap/exchange", json=body)
    assert answer.json()["mesh_token"] == "mesh-token-of-the-tests"
