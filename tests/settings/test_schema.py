"""preflight.yaml: every mistake is named with file, line and the nearest key."""

import os
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from preflight.model.peer import Peer
from preflight.settings.reading import SettingsError
from preflight.settings.schema import MOST_MISTAKES, MOST_PEERS, ConfigFile, PeerSettings, config_schema, read_config

WHOLE = """\
node: {id: node-a, labels: [pool=infer]}
peers:
  - {address: 10.66.0.2, name: b, responder: 862, agent_id: "2"}
control: {url: "http://10.66.0.2:9847", scope_id: my-cluster, token_file: token, submitter_token_file: submit,
          ca_file: ca.pem}
responder: {key_file: responder.key, agent_id: "1"}
overlay: {interface: wg0, prefixes: [10.66.0.0/24]}
checks: {skip: ["udp.nat-timeout"], third_party: true}
thresholds: {loss_percent: 1.0, jitter_ms: 30, rtt_ms: {interactive: 150}, stale_ms: 90000}
report: {redact: [addresses]}
accept: [{code: overlay.relayed, target: b, reason: "no direct way", until: "2027-01-31"}]
"""


def test_the_documented_file_validates_against_the_published_schema() -> None:
    """Editors use the schema: it must accept what the program accepts."""
    Draft202012Validator.check_schema(config_schema())
    Draft202012Validator(config_schema()).validate(yaml.safe_load(WHOLE))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("checks:\n  skip: x\n", ":2: checks.skip: must be a list, as [a, b]"),
        ("node:\n  idd: x\n", ":2: unknown key 'node.idd'; did you mean 'id'?"),
        ("peers:\n  - address: 10.0.0.1\n    nam: b\n", ":3: unknown key 'peers.0.nam'; did you mean 'name'?"),
        ("contrl: {}\n", ":1: unknown key 'contrl'; did you mean 'control'?"),
        ("peers:\n  - address: here\n", ":2: peers.0.address: 'here' is not an IP address"),
        ("thresholds: {loss_percent: 101}\n", ":1: thresholds.loss_percent"),
        ("node: {id: a}\nnode: {id: b}\n", ":2: not valid YAML: key 'node' appears twice"),
        ("a: [1\n", ":2: not valid YAML"),
        ("- 1\n", ":1: expected `key: value` lines"),
        ("overlay: {prefixes: [10.66.0.1/24]}\n", ":1: overlay.prefixes.0: must be a network, as 10.66.0.0/24"),
        ("control: {timeout_ms: 1}\n", ":1: control.timeout_ms"),
        ("stun:\n  servers: ['host:0']\n", ":2: stun.servers.0: 'host:0' is not HOST[:PORT]"),
        ("responder: {port: 0}\n", ":1: responder.port"),
        (
            "accept:\n  - {code: x, target: b, reason: y, until: 2027-01-31}\n",
            ":2: accept.0.code: 'x' is not a finding",
        ),
        ("accept:\n  - {code: a.b, target: b, until: 2027-01-31}\n", ":2: accept.0.reason: is missing"),
        ("accept:\n  - {code: a.b, target: b, reason: '', until: 2027-01-31}\n", "accept.0.reason: must not be empty"),
        ("accept:\n  - {code: a.b, target: b, reason: y, until: 3}\n", "accept.0.until: must be a date, as 2027-01-31"),
        ("accept:\n  - {code: a.b, target: b, reason: y, until: soon}\n", "until: must be a date, as 2027-01-31"),
        (
            "accept:\n  - {code: a.b, target: b, reason: y, til: 3}\n",
            "unknown key 'accept.0.til'; did you mean 'until'?",
        ),
        ("checks: {nat_silence_s: [600]}\n", ":1: checks.nat_silence_s.0"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    """The operator learns where to look and what was probably meant."""
    path = tmp_path / "preflight.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        read_config(path)
    assert (f"{path}{said}" if said.startswith(":") else said) in str(caught.value)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"\x00"])
def test_binary_is_no_settings_file(tmp_path: Path, content: bytes) -> None:
    """Bytes that are not text end in one sentence, not in a traceback."""
    path = tmp_path / "preflight.yaml"
    path.write_bytes(content)
    with pytest.raises(SettingsError):
        read_config(path)


def test_an_empty_file_is_a_file_without_settings(tmp_path: Path) -> None:
    """So is a pipe that nobody writes to: reading it does not wait."""
    os.mkfifo(tmp_path / "pipe")
    assert read_config(tmp_path / "pipe") == ConfigFile()


def test_a_peer_of_the_file_is_a_peer_of_the_run() -> None:
    """By the same rules as one of the command line: the address in its shortest form."""
    peer = PeerSettings(address="[FD66:0::2]", name=" b ", responder=8620, agent_id="2").peer
    assert peer == Peer("fd66::2", "b", 8620, "2")


@pytest.mark.parametrize("count", [MOST_PEERS + 1, 50_000])
def test_more_peers_than_a_run_measures_are_refused_before_they_are_parsed(count: int, tmp_path: Path) -> None:
    """Protects from minutes of silence: the sentence says the limit and what to do, whatever the size of the file."""
    file = tmp_path / "preflight.yaml"
    peers = "".join(f"- {{address: 10.{number >> 16}.{number >> 8 & 255}.{number & 255}}}\n" for number in range(count))
    file.write_text(f"peers:\n{peers}")
    with pytest.raises(SettingsError, match=f"has more than .*; a run measures at most {MOST_PEERS} peers"):
        read_config(file)


def test_one_habit_in_every_line_is_not_told_for_every_line(tmp_path: Path) -> None:
    """Thousands of lines about the same would hide what to do, and take many seconds."""
    file = tmp_path / "preflight.yaml"
    file.write_text("peers:\n" + "".join(f"- 10.66.0.{number}\n" for number in range(100)))
    with pytest.raises(SettingsError) as raised:
        read_config(file)
    lines = str(raised.value).splitlines()
    assert lines[0] == f"{file}:2: peers.0: must be `key: value` lines"
    assert lines[-1] == f"{file}: and {100 - MOST_MISTAKES} more"
