"""Load as processes exchange it: who gets it, how much, and that nobody else gets a byte more than the challenge.

Each flow runs against the installed responder and against the one in one file: they must not differ.
"""

import asyncio
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from preflight.model.event import silent
from preflight.model.load import FailedFlow, Flow, FlowKind
from preflight.model.peer import Peer
from preflight.net.load import flow
from preflight.net.load.probes import LoadProbes
from preflight.proto.load import wire
from preflight.proto.load.wire import Amount, Request
from preflight.responder.load import MOST_TALKING
from preflight.responder.pack import write_pack
from preflight.settings.load import Secrets, Settings
from tests.responder.conftest import (
    INSTALLED,
    KEY,
    Running,
    Start,
    client,
    command,
    environment,
    request,
    starting,
)

SMALL = Amount(0.6, 400_000, 8_000)


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    """The shared key, as a file."""
    path = tmp_path / "key"
    path.write_bytes(KEY)
    return str(path)


@pytest.fixture(params=["installed", "packed"])
def loaded(request: pytest.FixtureRequest, tmp_path: Path, key_file: str) -> Iterator[Running]:
    """A responder that takes load."""
    program: tuple[str, ...] = INSTALLED
    if request.param == "packed":
        write_pack(tmp_path / "responder.pyz")
        program = (INSTALLED[0], "-I", "-S", str(tmp_path / "responder.pyz"))
    with starting(tmp_path, program) as start:
        yield start("--key-file", key_file, "--load")


def run(running: Running, kind: FlowKind, amount: Amount = SMALL, key: bytes = KEY) -> Flow | FailedFlow:
    """One flow with a responder."""
    address, port = running.places[0]
    return asyncio.run(flow.run(Peer(address, "b", port), kind, amount, key, silent))


def answers(running: Running) -> bool:
    """Whether a responder answers a test packet."""
    with client(running.places[0]) as link:
        link.send(request(0, KEY))
        return len(link.recv(2048)) == len(request(0, KEY))


def test_every_flow_is_counted_by_its_receiver(loaded: Running) -> None:
    """TCP and UDP, both ways, each within the bytes that were asked for."""
    tcp: tuple[FlowKind, FlowKind] = ("tcp-up", "tcp-down")
    udp: tuple[FlowKind, FlowKind] = ("udp-up", "udp-down")
    for kind in tcp:
        found = run(loaded, kind)
        assert isinstance(found, Flow), found
        assert found.arrived.bytes == SMALL.bytes
    for kind in udp:
        found = run(loaded, kind)
        assert isinstance(found, Flow), found
        assert 0 < found.arrived.bytes <= found.sent_bytes <= SMALL.bytes
        assert found.arrived.packets * wire.DATAGRAM_BYTES == found.arrived.bytes


def test_probes_are_answered_after_it(loaded: Running) -> None:
    """A flow leaves the responder as it was."""
    run(loaded, "udp-up")
    assert answers(loaded)


def test_who_has_another_key_gets_no_more_than_the_challenge(start: Start, key_file: str) -> None:
    """Protects against use as an amplifier: not a byte of data without proof, nor a word about the reason."""
    running = start("--key-file", key_file, "--load")
    assert run(running, "tcp-down", key=b"a key of another one") == FailedFlow("tcp-down", "key")
    for said in (os.urandom(wire.REQUEST_BYTES), b"GET / HTTP/1.1\r\n\r\n".ljust(wire.REQUEST_BYTES, b"\n")):
        with socket.create_connection(running.places[0], timeout=20) as link:
            assert wire.read_challenge(link.recv(100)) is not None
            link.sendall(said)
            assert link.recv(100) == b""


def test_a_recorded_request_starts_nothing(start: Start, key_file: str) -> None:
    """Each challenge is new, so what somebody saw on the way is worth nothing."""
    running = start("--key-file", key_file, "--load")
    asked = Request("tcp-down", SMALL, os.urandom(wire.NONCE_BYTES))
    with socket.create_connection(running.places[0], timeout=20) as link:
        nonce = wire.read_challenge(link.recv(100))
        assert nonce is not None
        recorded = wire.request(asked, nonce, KEY)
        link.sendall(recorded)
        assert wire.read_grant(link.recv(wire.GRANT_BYTES), asked.nonce, KEY) is not None
    with socket.create_connection(running.places[0], timeout=20) as link:
        assert link.recv(100) != wire.challenge(nonce)
        link.sendall(recorded)
        assert link.recv(100) == b""


def test_the_responders_own_limits_win(start: Start, tmp_path: Path, key_file: str) -> None:
    """What an asker wants is bounded by the settings of who gives it, and the hour's bytes end."""
    settings = tmp_path / "b.yaml"
    settings.write_text(f"responder: {{key_file: {key_file}, load: true, load_seconds: 0.5, load_megabytes: 1}}\n")
    running = start("--config", str(settings))
    found = run(running, "tcp-down", Amount(60.0, 10**9))
    assert isinstance(found, Flow)
    assert found.arrived.bytes <= 1_000_000
    assert run(running, "tcp-down", Amount(60.0, 10**9)) == FailedFlow("tcp-down", "spent")


def test_one_flow_at_a_time(start: Start, key_file: str) -> None:
    """A second asker gets this answer at once."""
    running = start("--key-file", key_file, "--load")
    asked = Request("tcp-up", SMALL, os.urandom(wire.NONCE_BYTES))
    with socket.create_connection(running.places[0], timeout=20) as link:
        nonce = wire.read_challenge(link.recv(100))
        assert nonce is not None
        link.sendall(wire.request(asked, nonce, KEY))
        assert link.recv(wire.GRANT_BYTES)
        assert run(running, "tcp-up") == FailedFlow("tcp-up", "busy")


def test_it_listens_only_where_somebody_said_so(start: Start, key_file: str) -> None:
    """Load is opt-in: without --load nothing has the TCP port."""
    assert run(start("--key-file", key_file), "tcp-up") == FailedFlow("tcp-up", "refused")


def test_idle_connections_do_not_end_it(start: Start, key_file: str) -> None:
    """Many who connect and say nothing are turned away, and the responder serves on."""
    running = start("--key-file", key_file, "--load")
    idle = [socket.create_connection(running.places[0], timeout=20) for _ in range(MOST_TALKING + 4)]
    for link in idle:
        link.close()
    assert answers(running)
    code, errors = running.end()
    assert code == 0
    assert "Traceback" not in errors


@pytest.mark.parametrize("words", [("--load",), ("--load", "--allow", "127.0.0.0/8")])
def test_it_needs_the_key(words: tuple[str, ...], tmp_path: Path) -> None:
    """A responder that cannot recognise anyone gives load to nobody."""
    program = command("--bind", "127.0.0.1:0", *words)
    done = subprocess.run(program, capture_output=True, text=True, cwd=tmp_path, env=environment(), check=False)
    assert done.returncode == 2
    assert "--key-file" in done.stderr


def test_delay_is_measured_during_a_flow(start: Start, key_file: str) -> None:
    """Small packets run before and during the flow, and their round trips are known."""
    running = start("--key-file", key_file, "--load")
    address, port = running.places[0]
    probes = LoadProbes(Settings(secrets=Secrets(responder_key=KEY)))
    found = asyncio.run(probes.delay(Peer(address, "b", port), "udp-up", Amount(1.5, 10**6, 1_000)))
    assert found is not None
    assert not isinstance(found, FailedFlow)
    assert found.way is not None
    assert found.way.packets > 0
    assert found.idle_rtt_ms > 0
