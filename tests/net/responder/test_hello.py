"""Hellos over real sockets: responders say them, and they are heard on the port or from the responder that has it."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from preflight.api import Peer
from preflight.lab.site import free_port
from preflight.model.heard import AGE_ERROR_S, HelloReport
from preflight.model.path import AskResult
from preflight.net import udp
from preflight.net.control.client import ControlClient
from preflight.net.responder import hello as shell
from preflight.net.responder.hello import HelloWatch, UnheardError
from preflight.net.stamp import inquiry, path
from preflight.net.stamp.path import PathProbes
from preflight.proto.control.url import parse_control_url
from preflight.proto.responder.hello import Ends, Hello, Kind, Message, encode
from preflight.proto.responder.reach import Way, forward_by_hello, forward_way, reverse_way
from preflight.proto.stamp import wire as stamp
from preflight.settings.load import Secrets, Settings
from preflight.settings.responder import ResponderSettings

KEY = b"a key that only tests know"
NODE, PEER = "127.0.0.1", "127.0.0.2"

StartResponder = Callable[..., int]


@pytest.fixture
def start_responder(tmp_path: Path) -> Iterator[StartResponder]:
    """Starts responders on one address each that greet another; gives the port."""
    running: list[subprocess.Popen[str]] = []
    (tmp_path / "key").write_bytes(KEY)

    def start(address: str, greets: str, at: int, *, port: int = 0, key: str = "key", more: str = "") -> int:
        config = tmp_path / f"{address}.yaml"
        key_file = f"key_file: {key}, " if key else ""
        config.write_text(
            f"peers: [{{address: {greets}, responder: {at}}}]\nresponder: {{{key_file}hellos: {more or 'true'}}}\n"
        )
        words = ["responder", "--bind", f"{address}:{port}", "--config", str(config)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("VOX_", "PREFLIGHT_"))}
        command = [sys.executable, "-m", "preflight", *words]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        running.append(process)
        assert process.stdout
        line = process.stdout.readline()
        assert line.startswith("listening on udp://"), line
        return int(line.rpartition(":")[2])

    yield start
    for process in running:
        process.kill()
        process.communicate(timeout=30)


def listen(
    ends: Ends, meanwhile: Callable[[], Awaitable[None]] | None = None, key: bytes = KEY
) -> tuple[HelloReport | None, str]:
    """What is heard by a node that asks after the responders have been there for a moment, or why nothing."""

    async def run() -> tuple[HelloReport | None, str]:
        await asyncio.sleep(2 * AGE_ERROR_S)  # whoever began to listen just now has not heard what it did not hear
        watch = HelloWatch(ends, key, asyncio.get_running_loop().time())
        try:
            if meanwhile is not None:
                await meanwhile()
            await watch.wait()
            return watch.report(), watch.unheard()
        finally:
            watch.close()

    return asyncio.run(run())


def test_a_responder_says_what_it_has_not_heard(start_responder: StartResponder) -> None:
    """Nothing was sent to it, and it reports this without a request to the port of its peer's responder."""
    at = free_port(NODE, socket.SOCK_DGRAM)
    port = start_responder(PEER, NODE, at)
    report, _ = listen(Ends(PEER, port, NODE, at))
    assert report is not None
    assert (report.heard.packets, report.heard.packet_age_s, report.by_responder) == (0, None, False)
    assert forward_by_hello(report) is Way.DEAD


@pytest.mark.parametrize("packet", [b"", b"what is this"], ids=["a test packet", "refused"])
def test_a_responder_says_what_it_has_heard(start_responder: StartResponder, packet: bytes) -> None:
    """One packet is enough, also one that it refused: it has arrived."""
    at = free_port(NODE, socket.SOCK_DGRAM)
    port = start_responder(PEER, NODE, at)

    async def send() -> None:
        with udp.open_udp(NODE) as sender:
            data = packet or stamp.build_request(0, time.time_ns(), 1, 7)
            assert udp.send(sender, data, (PEER, port)) == 0

    report, _ = listen(Ends(PEER, port, NODE, at), send)
    assert report is not None
    assert report.heard.packets == 1
    assert forward_by_hello(report) is Way.OPEN


def test_the_responder_of_this_node_is_asked(start_responder: StartResponder) -> None:
    """It has the port that hellos come to: it reports what it heard, and hears the other one's hellos too."""
    at = free_port(NODE, socket.SOCK_DGRAM)
    port = start_responder(PEER, NODE, at)
    start_responder(NODE, PEER, port, port=at)
    report, _ = listen(Ends(PEER, port, NODE, at))
    assert report is not None
    assert report.by_responder
    assert forward_by_hello(report) is Way.DEAD
    assert report.after_s <= shell.WAIT_S


@pytest.mark.parametrize(("key", "more"), [("", "true"), ("key", "false")])
def test_no_hellos_without_a_key_or_when_told_not_to(
    start_responder: StartResponder, monkeypatch: pytest.MonkeyPatch, key: str, more: str
) -> None:
    """A node gets nothing that it did not request unless both sides share a secret, and it can be turned off."""
    monkeypatch.setattr(shell, "WAIT_S", 3.5)
    at = free_port(NODE, socket.SOCK_DGRAM)
    port = start_responder(PEER, NODE, at, key=key, more=more)
    report, why = listen(Ends(PEER, port, NODE, at))
    assert report is None
    assert "no hello of 127.0.0.2 came to UDP port" in why


def test_hellos_of_another_key_are_dropped(start_responder: StartResponder) -> None:
    """They are noticed, and nothing is believed."""
    at = free_port(NODE, socket.SOCK_DGRAM)
    port = start_responder(PEER, NODE, at)
    report, why = listen(Ends(PEER, port, NODE, at), key=b"another key of the tests")
    assert report is None
    assert "were dropped (bad-hello " in why


def test_a_port_of_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that has the port and does not know the question is named as a possible reason."""
    monkeypatch.setattr(shell, "WAIT_S", 0.6)
    with udp.open_udp(NODE) as taken:
        report, why = listen(Ends(PEER, 862, NODE, taken.getsockname()[1]))
    assert report is None
    assert "is it this node's responder, with the same key?" in why


@pytest.mark.parametrize(
    ("ends", "key", "words"),
    [
        (Ends(PEER, 862, NODE, 0), None, "no key"),
        (Ends(PEER, 862, "192.0.2.1", 862), KEY, "cannot be heard on UDP port 862 of 192.0.2.1 (EADDRNOTAVAIL)"),
    ],
)
def test_what_cannot_be_heard_is_said(ends: Ends, key: bytes | None, words: str) -> None:
    """The reason goes into the finding: the operator learns what would make the direction known."""

    async def run() -> None:
        HelloWatch(ends, key, 0.0)

    with pytest.raises(UnheardError) as raised:
        asyncio.run(run())
    assert words in str(raised.value)


def test_two_peers_are_listened_for_at_once(start_responder: StartResponder) -> None:
    """Each socket gets its own peer's hellos, though all come to one port."""
    at = free_port(NODE, socket.SOCK_DGRAM)
    ports = {peer: start_responder(peer, NODE, at) for peer in (PEER, "127.0.0.3")}

    async def run() -> list[HelloReport | None]:
        now = asyncio.get_running_loop().time()
        watches = [HelloWatch(Ends(peer, port, NODE, at), KEY, now) for peer, port in ports.items()]
        await asyncio.gather(*(watch.wait() for watch in watches))
        for watch in watches:
            watch.close()
        return [watch.report() for watch in watches]

    assert None not in asyncio.run(run())


def inquire(at: int, port: int, url: str | None = None) -> AskResult:
    """Ask about the peer, without any mailbox, or by that of a control plane."""
    mine, its = ("1", "2") if url else (None, None)
    settings = Settings(secrets=Secrets(responder_key=KEY), responder=ResponderSettings(port=at, agent_id=mine))

    async def run() -> AskResult:
        control = ControlClient(parse_control_url(url) if url else None, environment={})
        try:
            return await PathProbes(settings, control).ask(Peer(PEER, "b", port, its))
        finally:
            await control.aclose()

    return asyncio.run(run())


def test_an_inquiry_learns_the_direction_from_hellos_alone(start_responder: StartResponder) -> None:
    """Packets go to a port that swallows them; this node's responder hears the peer's say that it got none."""
    at = free_port(NODE, socket.SOCK_DGRAM)
    start_responder(NODE, PEER, start_responder(PEER, NODE, at), port=at)
    with udp.open_udp(PEER) as silent:
        result = inquire(at, silent.getsockname()[1])
    assert result.hello is not None, result
    assert (result.answered, result.report, result.unheard) == (0, None, "")
    assert (forward_way(result), reverse_way(result)) == (Way.DEAD, Way.OPEN)


def test_a_silent_control_plane_is_not_waited_for_once_a_hello_decides(
    start_responder: StartResponder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mailbox would show more, but nothing of it has come in this run."""
    monkeypatch.setattr(path, "DEAD_CONTROL_TIMEOUT_S", 60.0)
    monkeypatch.setattr(inquiry, "HANDSHAKE_TIMEOUT_S", 60.0)
    at = free_port(NODE, socket.SOCK_DGRAM)
    start_responder(NODE, PEER, start_responder(PEER, NODE, at), port=at)
    with udp.open_udp(PEER) as silent, socket.create_server((NODE, 0)) as mute:
        result = inquire(at, silent.getsockname()[1], f"http://{NODE}:{mute.getsockname()[1]}")
    assert (forward_way(result), reverse_way(result)) == (Way.DEAD, Way.OPEN)
    assert (result.unavailable, result.detail) == ("control", "the control plane has answered nothing in this run")


def test_silence_of_hellos_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer whose responder is off says nothing: both directions stay unknown, and the reason is kept."""
    monkeypatch.setattr(shell, "WAIT_S", 0.5)
    monkeypatch.setattr(inquiry, "WITHOUT_MAILBOX_S", 0.1)
    with udp.open_udp(PEER) as silent:
        result = inquire(free_port(NODE, socket.SOCK_DGRAM), silent.getsockname()[1])
    assert (forward_way(result), reverse_way(result)) == (Way.UNKNOWN, Way.UNKNOWN)
    assert "no hello of 127.0.0.2 came" in result.unheard


def test_a_question_is_answered_to_who_holds_the_key_only(start_responder: StartResponder) -> None:
    """What a peer said is not secret among the nodes of one key, and no other node needs it."""
    port = start_responder(NODE, PEER, 9)
    question = Message(Kind.QUESTION, Hello(PEER, NODE), b"n" * 16)
    with udp.open_towards(NODE, port) as asker:
        asker.setblocking(True)
        asker.settimeout(20)
        asker.send(encode(question, b"another key of the tests"))
        asker.send(encode(question, KEY))
        assert asker.recv(2048) == encode(Message(Kind.ANSWER, Hello(PEER, NODE), b"n" * 16), KEY)
        asker.settimeout(0.2)
        with pytest.raises(TimeoutError):
            asker.recv(2048)
