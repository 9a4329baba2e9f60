"""Mistakes in the settings file, said without words of Python or of a library."""

import re
from pathlib import Path

import pytest

from preflight.settings.reading import SettingsError
from preflight.settings.schema import read_config

OF_PYTHON = re.compile(r"Input|instance|tuple|dict|pathlib|class|Settings\b|Thresholds\b|NoneType|float")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("peers: [5]", "peers.0: must be `key: value` lines"),
        ("node: []", "node: must be `key: value` lines"),
        ("thresholds: {rtt_ms: 5}", "thresholds.rtt_ms: must be `key: value` lines"),
        ("peers: 5", "peers: must be a list, as [a, b]"),
        ("peers: [{name: b}]", "peers.0.address: is missing"),
        ("peers: [{address: 10.66.0.2, responder: x}]", "peers.0.responder: must be a whole number"),
        ("responder: {port: 0}", "responder.port: must be at least 1"),
        ("report: {redact: [x]}", "report.redact.0: must be 'addresses'"),
        ("control: {ca_file: [a]}", "control.ca_file: must be the path of a file"),
        ("thresholds: {loss_percent: x}", "thresholds.loss_percent: must be a number"),
        ("checks: {third_party: 3}", "checks.third_party: must be true or false"),
        ("node: {id: [a]}", "node.id: must be text"),
    ],
)
def test_a_mistake_is_said_in_plain_words(text: str, said: str, tmp_path: Path) -> None:
    """Protects operators from "Input should be a valid dictionary or instance of PeerSettings"."""
    file = tmp_path / "preflight.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        read_config(file)
    assert str(caught.value) == f"{file}:1: {said}"
    assert not OF_PYTHON.search(said)
