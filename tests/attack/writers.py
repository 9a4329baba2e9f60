"""All commands that write a document, and places to write it to: for the attacks on outputs."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from preflight import codes
from preflight.api import Direction, Result, failed
from preflight.cli.main import build
from preflight.engine.diagnosis import diagnose
from preflight.report.build import build_report
from preflight.report.model import Gate, NodeInfo, Report

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="takes root")
PROGRAM = (sys.executable, "-P", "-m", "preflight")
NOBODY = 65534
VANISHED = failed(codes.MTU_BLACK_HOLE, "b", Direction.FORWARD, "large packets vanish")
RESULTS = (replace(VANISHED, check="mtu.path", category="mtu"),)


def report_of(*results: Result) -> Report:
    """A report of these results."""
    return build_report(
        results,
        diagnose(results),
        node=NodeInfo(hostname="node-a", os="Debian", kernel="6.1", python="3.11"),
        overlay=None,
        started_at=datetime(2026, 11, 23, 12, 0, tzinfo=UTC),
        duration_ms=1,
        gate=Gate(),
    )


REPORT = report_of(*RESULTS)


def render(path: Path) -> None:
    """`report render` in this process. Raises what the program would print."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as source:
        source.write(REPORT.model_dump_json())
        source.flush()
        command("report", "render", source.name, "--output", f"json={path}")


def command(*words: str) -> None:
    build().main([*words], prog_name="preflight", standalone_mode=False)


def run(*words: str, **options: object) -> "subprocess.CompletedProcess[str]":
    """The program as a separate process."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.run([*PROGRAM, *words], text=True, timeout=60, check=False, **streams)  # type: ignore[call-overload, no-any-return]


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder like /tmp: everyone may write there, and only owners may remove."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o1777)
    yield folder
    shutil.rmtree(folder)


def alone(path: Path) -> bool:
    """Nothing else is in its folder: no draft, no document of another name."""
    return list(path.parent.iterdir()) == [path]
