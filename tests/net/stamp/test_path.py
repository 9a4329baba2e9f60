"""Paths over real sockets: sessions, silence, and asking by a real control plane with a real responder."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from preflight.api import Peer
from preflight.model.overlay import OverlayState
from preflight.model.path import AskResult, StampStats
from preflight.net import udp
from preflight.net.control.client import ControlClient
from preflight.net.stamp import inquiry
from preflight.net.stamp.path import PathProbes
from preflight.proto.control.url import parse_control_url
from preflight.settings.load import Secrets, Settings
from preflight.settings.responder import ResponderSettings
from tests.net.conftest import MESH, SUBMITTER, WORKER

if TYPE_CHECKING:
    from tests.net.conftest import StartControlPlane

KEY = b"a key that only tests know"
AGENT = {"node": "1", "peer": "2"}
INTERVAL_S = 0.002


@dataclass
class Responder:
    """`preflight responder` as a process, on one loopback address."""

    address: str
    port: int

    def peer(self, **more: str | int) -> Peer:
        """This responder as the node knows it."""
        return Peer(self.address, "b", int(more.get("port", self.port)), AGENT["peer"])


RunResponder = Callable[..., Responder]


@pytest.fixture
def run_responder(tmp_path: Path) -> Iterator[RunResponder]:
    """Starts responders; each must end by SIGTERM with exit code 0."""
    running: list[subprocess.Popen[str]] = []
    (tmp_path / "key").write_bytes(KEY + b"\n")
    (tmp_path / "token").write_text(MESH)

    def run(
        address: str = "127.0.0.1", *, allow: str = "", key: bool = False, url: str = "", token: str = MESH
    ) -> Responder:
        (tmp_path / "token").write_text(token)
        config = tmp_path / f"responder-{len(running)}.yaml"
        control = f'control: {{url: "{url}", token_file: token}}\n' if url else ""
        config.write_text(f"{control}responder: {{agent_id: {AGENT['peer']}}}\n")
        bind = f"[{address}]:0" if ":" in address else f"{address}:0"
        words = ["-m", "preflight", "responder", "--bind", bind, "--config", str(config)]
        words += ["--allow", allow] if allow else []
        words += ["--key-file", str(tmp_path / "key")] if key else []
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("VOX_", "PREFLIGHT_"))}
        process = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True, env=environment)
        running.append(process)
        assert process.stdout
        line = process.stdout.readline()
        assert line.startswith("listening on udp://"), line
        return Responder(address, int(line.rpartition(":")[2]))

    yield run
    for process in running:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
        assert process.stdout
        process.stdout.close()


def probes(
    *, key: bytes | None = None, url: str | None = None, token: str = MESH, submitter: str | None = None
) -> PathProbes:
    """The node's probes."""
    settings = Settings(
        secrets=Secrets(responder_key=key), responder=ResponderSettings(agent_id=AGENT["node"] if url else None)
    )
    control = ControlClient(
        parse_control_url(url) if url else None,
        token=SecretStr(token),
        submitter_token=SecretStr(submitter) if submitter else None,
        environment={},
    )
    return PathProbes(settings, control)


def tunnel(interface: str) -> OverlayState:
    """A tunnel of which only the device is known."""
    return OverlayState(product="generic", interface=interface, up=True, mtu=None)


@contextmanager
def silent(address: str = "127.0.0.1") -> Iterator[int]:
    """A UDP port on which somebody listens and never answers."""
    with udp.open_udp(address) as listening:
        yield int(listening.getsockname()[1])


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("key", [None, KEY])
def test_a_session_with_a_responder(run_responder: RunResponder, address: str, key: bytes | None) -> None:
    """Both families, both modes: everything answered, both directions known."""
    peer = run_responder(address, allow=address, key=key is not None).peer()
    stats = asyncio.run(probes(key=key).stamp(peer, count=50, interval_s=INTERVAL_S))
    assert (stats.sent, stats.answered, stats.lost) == (50, 50, 0)
    assert stats.forward is not None
    assert stats.reverse is not None
    assert (stats.forward.lost, stats.reverse.lost) == (0, 0)
    assert (stats.authenticated, stats.ttl_at_peer, len(stats.rtt_ms)) == (key is not None, 255, 50)
    assert stats.local is not None
    assert stats.local[0] == address


def test_large_packets(run_responder: RunResponder) -> None:
    """A session of packets of a size: they arrive whole and come back whole."""
    peer = run_responder(allow="127.0.0.1").peer()
    stats = asyncio.run(probes().stamp(peer, count=10, interval_s=INTERVAL_S, payload_bytes=1300))
    assert (stats.answered, stats.rejected) == (10, {})


def test_a_key_makes_a_stranger_welcome(run_responder: RunResponder) -> None:
    """Without provision only a peer with the key is served; others hear nothing."""
    peer = run_responder(key=True).peer()
    assert asyncio.run(probes(key=KEY).stamp(peer, count=5, interval_s=INTERVAL_S)).answered == 5
    for key in (None, b"another key of the tests"):
        assert asyncio.run(probes(key=key).stamp(peer, count=3, interval_s=INTERVAL_S, timeout_s=0.2)).answered == 0


def test_a_responder_without_our_key_is_noticed_once(run_responder: RunResponder) -> None:
    """When only unsigned packets are answered, the sessions after that are unsigned."""

    async def run() -> list[tuple[int, bool]]:
        path_probes = probes(key=KEY)
        peer = run_responder(allow="127.0.0.1").peer()
        seen = []
        for authenticated in (True, False, True):
            stats = await path_probes.stamp(
                peer, count=3, interval_s=INTERVAL_S, timeout_s=0.2, authenticated=authenticated
            )
            seen.append((stats.answered, stats.authenticated))
        return seen

    assert asyncio.run(run()) == [(0, True), (3, False), (3, False)]


def test_a_peer_that_has_answered_signed_packets_goes_on_getting_them(run_responder: RunResponder) -> None:
    """It answers unsigned ones too where it is provisioned so: that does not mean that it has another key."""

    async def run() -> list[bool]:
        path_probes = probes(key=KEY)
        peer = run_responder(allow="127.0.0.1", key=True).peer()
        seen = []
        for authenticated in (False, True, False, True):
            if authenticated:
                assert (await path_probes.ask(peer)).answered
            stats = await path_probes.stamp(peer, count=2, interval_s=INTERVAL_S, authenticated=authenticated)
            seen.append(stats.authenticated)
        return seen

    assert asyncio.run(run()) == [False, True, False, True]


def test_silence_is_remembered_until_there_is_an_answer(run_responder: RunResponder) -> None:
    """A silent peer is asked together with many others; one that answers, even without key, gets full care again."""
    path_probes = probes(key=KEY)
    peer = run_responder(allow="127.0.0.1").peer()

    async def silent_after(authenticated: bool) -> bool:
        await path_probes.stamp(peer, count=3, interval_s=INTERVAL_S, timeout_s=0.2, authenticated=authenticated)
        return path_probes.silent(peer)

    assert not path_probes.silent(peer)
    assert asyncio.run(silent_after(authenticated=True))
    assert not asyncio.run(silent_after(authenticated=False))


def test_who_answers_nothing_for_seconds_is_proven_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Later checks take the session that nobody answered for theirs."""
    monkeypatch.setattr(inquiry, "WITHOUT_MAILBOX_S", 0.1)
    path_probes = probes()

    async def run(peer: Peer) -> StampStats | None:
        await path_probes.stamp(peer, count=2, interval_s=INTERVAL_S, timeout_s=0.1)
        assert path_probes.proven_silent(peer) is None
        await path_probes.ask(peer)
        return path_probes.proven_silent(peer)

    with silent() as port:
        proven = asyncio.run(run(Peer("127.0.0.1", "b", port)))
    assert proven is not None
    assert (proven.sent, proven.answered) == (2, 0)


def test_nobody_listens() -> None:
    """The host's "port unreachable" ends the session at once, is kept, and nobody asks there again in this run."""
    with silent() as port:
        pass
    path_probes, peer = probes(), Peer("127.0.0.1", "b", port)
    stats = asyncio.run(path_probes.stamp(peer, count=1000, interval_s=0.05))
    assert path_probes.proven_silent(peer) == stats
    assert stats.port_unreachable
    assert stats.sent < 1000
    assert path_probes.refusals.completed(peer, StampStats(1, 0)).port_unreachable


def test_scapy_as_reflector() -> None:
    """An independent codec in the reflector's role is understood; it copies our number, and nothing was lost."""
    from scapy.contrib.stamp import STAMPSessionReflectorTestUnauthenticated as ReflectorPacket
    from scapy.contrib.stamp import STAMPSessionSenderTestUnauthenticated as SenderPacket

    def reflect(server: socket.socket) -> None:
        for _ in range(5):
            data, source = server.recvfrom(2048)
            asked = SenderPacket(data)
            answer = ReflectorPacket(
                seq=asked.seq,
                ts=asked.ts,
                ssid=asked.ssid,
                ts_rx=asked.ts,
                seq_sender=asked.seq,
                ts_sender=asked.ts,
                ttl_sender=77,
            )
            server.sendto(bytes(answer), source)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(30)
        reflector = threading.Thread(target=reflect, args=(server,))
        reflector.start()
        peer = Peer("127.0.0.1", "scapy", server.getsockname()[1])
        stats = asyncio.run(probes().stamp(peer, count=5, interval_s=0.01, timeout_s=10.0))
        reflector.join()
    assert (stats.sent, stats.answered, stats.ttl_at_peer, stats.rejected) == (5, 5, 77, {})


async def inquire(path_probes: PathProbes, peer: Peer) -> AskResult:
    """Ask, and close the connection to the control plane."""
    try:
        return await path_probes.ask(peer)
    finally:
        await path_probes._control.aclose()


@pytest.mark.parametrize("key", [None, KEY])
def test_the_peer_tells_by_mailbox_that_forward_is_dead(
    run_responder: RunResponder, start_control_plane: "StartControlPlane", key: bytes | None
) -> None:
    """Packets go to a port that swallows them; the responder says that it got none, and its probes arrive."""
    url = start_control_plane().url
    responder = run_responder(allow="127.0.0.1", key=key is not None, url=url)
    with silent() as port:
        result = asyncio.run(inquire(probes(key=key, url=url), responder.peer(port=port)))
    assert result.report is not None, result
    assert (result.sent, result.answered) == (10, 0)
    assert (result.report.received, result.report.sent, result.probes_received) == (0, 10, 10)
    assert result.report.refused == result.report.send_errors == {}


@pytest.mark.parametrize(("again", "answered"), [(0, 0), (2, 1)])
def test_an_answer_to_the_peer_s_probes_opens_no_new_flow(
    again: int, answered: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stateful filter lets this node's packets pass as answers to the peer's probes: a fresh flow decides."""

    async def inquired(self: object) -> AskResult:
        return AskResult(sent=10, answered=1, probes_received=10)

    async def fresh(self: object, peer: Peer, **values: object) -> StampStats:
        return StampStats(sent=3, answered=again)

    monkeypatch.setattr(inquiry.Inquiry, "run", inquired)
    monkeypatch.setattr(PathProbes, "stamp", fresh)
    with silent() as port:
        result = asyncio.run(inquire(probes(), Peer("127.0.0.1", "b", port)))
    assert (result.answered, result.probes_received) == (answered, 10)


def test_the_mailbox_is_left_empty(run_responder: RunResponder, start_control_plane: "StartControlPlane") -> None:
    """Requests and results are acknowledged by their receivers."""
    url = start_control_plane().url
    responder = run_responder(allow="127.0.0.1", url=url)

    async def run() -> list[int]:
        with silent() as port:
            assert (await inquire(probes(url=url), responder.peer(port=port))).report is not None
        control = ControlClient(parse_control_url(url), token=SecretStr(MESH), environment={})
        try:
            return [len(await control.inbox(agent)) for agent in AGENT.values()]
        finally:
            await control.aclose()

    assert asyncio.run(run()) == [0, 0]


def test_a_worker_may_not_ask(start_control_plane: "StartControlPlane") -> None:
    """The missing role is named, and no token is shown."""
    url = start_control_plane().url
    with silent() as port:
        result = asyncio.run(inquire(probes(url=url, token=WORKER), Peer("127.0.0.1", "b", port, "2")))
    assert result.unavailable == "role"
    assert "submitter" in result.detail
    assert WORKER not in result.detail


def test_a_worker_with_the_submitters_token_may(
    run_responder: RunResponder, start_control_plane: "StartControlPlane"
) -> None:
    """Reading takes the worker's, delivering the submitter's role: with both the peer is asked."""
    url = start_control_plane().url
    responder = run_responder(allow="127.0.0.1", url=url)
    with silent() as port:
        result = asyncio.run(inquire(probes(url=url, token=WORKER, submitter=SUBMITTER), responder.peer(port=port)))
    assert result.report is not None, result


def test_a_stranger_gets_no_probes(run_responder: RunResponder, start_control_plane: "StartControlPlane") -> None:
    """A node that is not provisioned and has no key learns so, and nothing is sent to the address it names."""
    url = start_control_plane().url
    responder = run_responder(allow="10.66.0.0/24", url=url)
    with silent() as port:
        result = asyncio.run(inquire(probes(url=url), responder.peer(port=port)))
    assert (result.unavailable, result.report, result.probes_received) == ("refused", None, 0)
    assert "127.0.0.1 is not provisioned" in result.detail


def test_another_host_that_reads_the_mailbox_is_found_out(
    run_responder: RunResponder, start_control_plane: "StartControlPlane"
) -> None:
    """With a wrong agent id another node answers: its counts say nothing about the path to this peer."""
    url = start_control_plane().url
    run_responder("127.0.0.3", allow="127.0.0.0/8", url=url)
    with silent("127.0.0.2") as port:
        result = asyncio.run(inquire(probes(url=url), Peer("127.0.0.2", "b", port, AGENT["peer"])))
    assert (result.unavailable, result.report) == ("impostor", None)
    assert "127.0.0.3" in result.detail


@pytest.mark.parametrize(
    ("agent", "url", "why"),
    [
        ("2", None, "no-own-agent-id"),
        (None, "http://127.0.0.1:1", "no-agent-id"),
        ("2", "http://127.0.0.1:1", "control"),
    ],
)
def test_without_a_mailbox(agent: str | None, url: str | None, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is named, and waiting is cut short."""
    monkeypatch.setattr(inquiry, "WITHOUT_MAILBOX_S", 0.1)
    with silent() as port:
        result = asyncio.run(inquire(probes(url=url), Peer("127.0.0.1", "b", port, agent)))
    assert (result.unavailable, result.report, result.answered) == (why, None, 0)
    assert result.detail


def test_a_peer_that_does_not_read_its_mailbox(
    start_control_plane: "StartControlPlane", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting for the peer's report is bounded."""
    monkeypatch.setattr(inquiry, "HANDSHAKE_TIMEOUT_S", 1.0)
    with silent() as port:
        result = asyncio.run(inquire(probes(url=start_control_plane().url), Peer("127.0.0.1", "b", port, "2")))
    assert (result.unavailable, result.report) == ("silent", None)


def test_an_answer_after_all_ends_the_inquiry(run_responder: RunResponder) -> None:
    """A tunnel that was only not up yet is not a dead path."""
    result = asyncio.run(inquire(probes(), run_responder(allow="127.0.0.1").peer()))
    assert result.answered == 10


@pytest.mark.lab
def test_this_nodes_own_eyes(monkeypatch: pytest.MonkeyPatch, run_responder: RunResponder) -> None:
    """Counts what comes in on the interface and what reaches the socket; without an interface it says why."""
    monkeypatch.setattr(inquiry, "WITHOUT_MAILBOX_S", 0.1)
    peer = run_responder(allow="127.0.0.1").peer()
    assert asyncio.run(probes().ask(peer, tunnel("lo"))).on_interface == 10
    missing = asyncio.run(probes().ask(peer, tunnel("preflight-none")))
    assert missing.on_interface is None
    assert "No such device" in missing.unwatched
