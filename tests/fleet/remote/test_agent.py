"""The steps of a run on one node, without the node."""

import base64
import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from preflight.fleet.remote import agent


def given(monkeypatch: pytest.MonkeyPatch, orders: dict[str, Any]) -> None:
    """Put orders on standard input, as a task does."""
    text = agent.PREFIX + base64.b64encode(json.dumps(orders).encode()).decode()
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{text}\n"))


def test_orders_come_with_the_settings_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the key: its place is in the settings, its value is not, and no file of a run is open to others."""
    given(monkeypatch, {"turns": [], "settings": {"peers": [], "responder": {"port": 862}}})
    assert agent.main("go", str(tmp_path), "1") == 0
    settings = json.loads((tmp_path / "preflight.yaml").read_text())
    assert settings == {"peers": [], "responder": {"port": 862, "key_file": str(tmp_path / "key")}}
    assert json.loads((tmp_path / "go-1").read_text())["turns"] == []
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_a_report_is_printed_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Protects the way back of a report."""
    (tmp_path / "report-1").write_bytes(gzip.compress(b"{}"))
    (tmp_path / "done-1").touch()
    assert agent.main("collect", str(tmp_path), "1", "5") == 0
    printed = capsys.readouterr().out.strip().removeprefix(agent.PREFIX)
    assert gzip.decompress(base64.b64decode(printed)) == b"{}"


@pytest.mark.parametrize(("done", "said"), [(True, "ended without a report"), (False, "no report within 0 s")])
def test_no_report_is_told_with_the_last_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], done: bool, said: str
) -> None:
    """Protects the reader of a hole: the reason is in the log of the node, which goes with the run."""
    (tmp_path / "log").write_text("starting\nImportError: no module\n")
    if done:
        (tmp_path / "done-1").touch()
    assert agent.main("collect", str(tmp_path), "1", "0") == 1
    told = capsys.readouterr().err
    assert said in told
    assert "ImportError: no module" in told


def test_the_state_comes_with_the_clock(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Protects the start of the rounds: it depends on this reading."""
    (tmp_path / "state").write_text('{"listening": "listening on udp://10.66.0.1:862"}')
    assert agent.main("ready", str(tmp_path)) == 0
    packed = base64.b64decode(capsys.readouterr().out.strip().removeprefix(agent.PREFIX))
    state = json.loads(gzip.decompress(packed))
    assert state["listening"].endswith(":862")
    assert state["monotonic"] > 0
