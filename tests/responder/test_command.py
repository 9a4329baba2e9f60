"""`preflight responder` as a process: what only the installed one has, and what it says when it cannot start."""

import socket
import subprocess
from pathlib import Path

import pytest

from preflight.proto.stamp import wire as stamp
from tests.responder.conftest import KEY, Start, client, command, environment, request


def test_a_settings_file_provisions_its_peers(start: Start, tmp_path: Path) -> None:
    """The peers of --config may ask, with its key."""
    (tmp_path / "b.key").write_bytes(KEY)
    (tmp_path / "b.yaml").write_text("peers: [{address: 127.0.0.1}]\nresponder: {key_file: b.key}\n")
    responder = start("--config", "b.yaml")
    with client(responder.places[0]) as link:
        link.send(request(3, key=KEY))
        assert stamp.parse_answer(link.recv(2048), KEY).sender_sequence == 3


def test_an_unreachable_control_plane_does_not_stop_it(start: Start, tmp_path: Path) -> None:
    """It answers probes whether or not there is a mailbox, says so once, and shows no token."""
    (tmp_path / "token").write_text("a-token-of-the-tests")
    (tmp_path / "b.yaml").write_text("control: {token_file: token}\nresponder: {agent_id: 2}\n")
    responder = start("--allow", "127.0.0.1", "--config", "b.yaml", "--control-url", "http://127.0.0.1:1")
    assert responder.process.stderr
    assert "mailbox 2: 127.0.0.1:1 refused the connection" in responder.process.stderr.readline()
    with client(responder.places[0]) as link:
        link.send(request())
        assert len(link.recv(2048)) == 44
    code, errors = responder.end()
    assert (code, errors) == (0, "preflight responder: received 1, answered 1\n")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--bind", "127.0.0.1"], "nobody may ask this responder: give --allow PREFIX"),
        (["--bind", "b:862", "--allow", "::/0"], "--bind b:862: expected ADDRESS[:PORT]"),
        (["--bind", "127.0.0.1", "--allow", "all"], "--allow all: expected a prefix"),
        (["--bind", "192.0.2.1", "--allow", "::/0"], "192.0.2.1 is not an address of this node"),
        (["--bind", "127.0.0.1", "--key-file", "none.key"], "none.key: no such file"),
        (["--bind", "127.0.0.1", "--key-file", "short.key"], "short.key holds 5 bytes, at least 16"),
        (["--bind", "127.0.0.1", "--config", "bad.yaml"], "bad.yaml:1: unknown key 'peer'"),
        (["--bind", "TAKEN", "--allow", "::/0"], "is in use"),
    ],
)
def test_one_sentence_and_exit_code_2(tmp_path: Path, words: list[str], sentence: str) -> None:
    """What cannot work is reported before anything is served: the thing, and what to do; no traceback, no output."""
    (tmp_path / "short.key").write_bytes(b"short")
    (tmp_path / "bad.yaml").write_text("peer: []\n")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        result = subprocess.run(
            command(*(place if word == "TAKEN" else word for word in words)),
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert result.returncode == 2
    assert result.stdout == ""
    assert sentence in result.stderr
    assert len(result.stderr.splitlines()) == 1
