"""The steps of a run on one node, without the node."""

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from preflight.fleet.remote import agent


def packed(orders: dict[str, Any]) -> str:
    """Orders as the controller packs them."""
    return agent.PREFIX + base64.b64encode(gzip.compress(json.dumps(orders).encode())).decode()


def test_orders_come_with_the_settings_of_the_run(tmp_path: Path) -> None:
    """Protects the key: its place is in the settings, its value is not, and no file of a run is open to others."""
    orders = {"turns": [], "settings": {"peers": [], "responder": {"port": 862}}}
    assert agent.main("go", str(tmp_path), "1", packed(orders)) == 0
    settings = json.loads((tmp_path / "preflight.yaml").read_text())
    assert settings == {"peers": [], "responder": {"port": 862, "key_file": str(tmp_path / "key")}}
    assert json.loads((tmp_path / "go-1").read_text())["turns"] == []
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_a_playbook_needs_not_compress(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Protects users' playbooks: they encode orders as JSON, and read the report as JSON."""
    orders = {"settings": {"peers": []}, "within_s": 5}
    plain = agent.PREFIX + base64.b64encode(json.dumps(orders).encode()).decode()
    assert agent.main("go", str(tmp_path), "1", plain) == 0
    (tmp_path / "report-1").write_bytes(gzip.compress(b'{"verdict": "pass"}'))
    (tmp_path / "done-1").touch()
    assert agent.main("collect", str(tmp_path), "1", "plain") == 0
    assert json.loads(capsys.readouterr().out) == {"verdict": "pass"}


def test_a_report_is_printed_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Protects the way back of a report."""
    (tmp_path / "report-1").write_bytes(gzip.compress(b"{}"))
    (tmp_path / "done-1").touch()
    (tmp_path / "go-1").write_text('{"within_s": 5}')
    assert agent.main("collect", str(tmp_path), "1", agent.PACKED) == 0
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
    (tmp_path / "go-1").write_text('{"within_s": 0}')
    assert agent.main("collect", str(tmp_path), "1", agent.PACKED) == 1
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


def test_a_responder_that_did_not_start_fails_with_its_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Protects the other nodes: who cannot answer takes no part in the rounds, and says why."""
    (tmp_path / "state").write_text('{"error": "port 862 is taken"}')
    assert agent.main("ready", str(tmp_path)) == 1
    assert capsys.readouterr().err == "port 862 is taken\n"


def test_a_measurement_that_cannot_run_is_not_started_again(tmp_path: Path) -> None:
    """Protects a node from a process that dies and is started for as long as the run lasts."""
    (tmp_path / "given").write_text('{"bind": null, "life_s": 0.5}')
    (tmp_path / "lib").mkdir()
    assert agent.Keeper(tmp_path, tmp_path).run() == 0
    assert not tmp_path.exists()
