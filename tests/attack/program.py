"""The program in this process, in an empty folder: how a command ended, and what it said."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from preflight.cli.main import build

SECRET = "s3cr3t-of-the-tests"
CLOSED = "http://127.0.0.1:9"


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """What is on stderr, on one line."""
        return " ".join(self.err.split())


Preflight = Callable[..., Done]


@pytest.fixture
def preflight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Preflight:
    """The program in this process, in an empty folder, with nothing of ours in its environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [name for name in os.environ if name.startswith(("VOX_", "PREFLIGHT_", "XDG_"))]:
        monkeypatch.delenv(name)

    def run(*arguments: str, settings: str = "", **environ: str) -> Done:
        if settings:
            (tmp_path / "preflight.yaml").write_text(settings, encoding="utf-8")
        result = CliRunner().invoke(build(), arguments, env=environ, prog_name="preflight")
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return Done(result.exit_code, result.stdout, result.stderr)

    return run


def is_refused(done: Done, *phrases: str) -> None:
    """A usage error: exit code 2, nothing on standard output, and a sentence with these phrases."""
    assert (done.code, done.out) == (2, ""), done
    for phrase in phrases:
        assert phrase in done.said
    assert SECRET not in done.err
