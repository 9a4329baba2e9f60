"""Asking about a NAT over real sockets: a real responder, and a middle box that forgets."""

import asyncio
import os
import socket
import subprocess
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from preflight.api import Peer
from preflight.model.nat import AfterSilence
from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.net import udp
from preflight.net.stun.nat import NatProbes
from preflight.proto.stun import nat
from preflight.proto.stun.nat import Kind, decode
from preflight.responder.nat import Endpoints
from preflight.settings.load import Secrets, Settings

KEY = b"a key that only tests know"
TUNNEL = b64encode(b"k" * 32).decode()


@pytest.fixture(params=[True, False], ids=["key", "no key"])
def keyed(request: pytest.FixtureRequest) -> bool:
    """Whether both sides have a shared key."""
    return bool(request.param)


@pytest.fixture
def responder(tmp_path: Path, keyed: bool) -> Iterator[Peer]:
    """`preflight responder` as a process."""
    (tmp_path / "key").write_bytes(KEY)
    words = ["responder", "--bind", "127.0.0.1:0", "--allow", "127.0.0.1"]
    words += ["--key-file", str(tmp_path / "key")] if keyed else []
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("VOX_", "PREFLIGHT_"))}
    command = [sys.executable, "-m", "preflight", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=tmp_path)
    assert process.stdout
    yield Peer("127.0.0.1", "b", int(process.stdout.readline().rpartition(":")[2]))
    process.kill()
    process.communicate(timeout=30)


def probes(keyed: bool) -> NatProbes:
    """The node's side."""
    return NatProbes(Settings(secrets=Secrets(responder_key=KEY if keyed else None)))


def test_a_responder_without_a_tunnel_does_not_guess(responder: Peer, keyed: bool) -> None:
    """It cannot report an endpoint, and says so at once."""
    assert asyncio.run(probes(keyed).seen_as(responder, TUNNEL)) is None


def test_a_packet_after_a_silence(responder: Peer, keyed: bool) -> None:
    """It is sent when it was promised, and comes in."""
    result = asyncio.run(probes(keyed).after_silence(responder, 0.5, 0.1))
    assert result == AfterSilence(0.5, arrived=True)


@asynccontextmanager
async def forgetful(peer: Peer, key: bytes | None) -> AsyncIterator[Peer]:
    """A middle box towards a responder that lets every answer in, and nothing that was not requested."""
    loop = asyncio.get_running_loop()

    class Outside(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: object) -> None:
            message = decode(data, key)
            if message and message.kind is not Kind.PROBE and inside.node:
                inside.transport.sendto(data, inside.node)

    class Inside(asyncio.DatagramProtocol):
        node: tuple[str, int] | None = None

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast("asyncio.DatagramTransport", transport)

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            self.node = addr
            outside.sendto(data)

    outside, _ = await loop.create_datagram_endpoint(Outside, remote_addr=(peer.address, peer.responder_port))
    _, inside = await loop.create_datagram_endpoint(Inside, local_addr=("127.0.0.1", 0))
    try:
        yield Peer("127.0.0.1", "b", inside.transport.get_extra_info("sockname")[1])
    finally:
        outside.close()
        inside.transport.close()
        await asyncio.sleep(0)


def test_what_a_nat_forgets(responder: Peer, keyed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing came in, the peer says that it sent, and it answers: only together these prove it."""
    monkeypatch.setattr(nat, "LATE_S", 0.5)

    async def run() -> AfterSilence | None:
        async with forgetful(responder, KEY if keyed else None) as peer:
            return await probes(keyed).after_silence(peer, 0.5, 0.0)

    assert asyncio.run(run()) == AfterSilence(0.5, arrived=False, sent=3)


def test_a_peer_that_goes_away_during_the_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not answer afterwards, so nothing is said about a NAT."""
    monkeypatch.setattr(nat, "LATE_S", 0.1)
    monkeypatch.setattr(nat, "REPORTED_WITHIN_S", 0.3)

    async def run() -> AfterSilence | None:
        with udp.open_udp("127.0.0.1") as peer:
            loop = asyncio.get_running_loop()

            def agree_once() -> None:
                datagram = udp.receive(peer)
                assert datagram is not None
                loop.remove_reader(peer)
                agreed = bytearray(datagram.data[:96])
                agreed[5] = Kind.AGREED
                udp.send(peer, bytes(agreed), datagram.source)

            loop.add_reader(peer, agree_once)
            return await probes(False).after_silence(Peer("127.0.0.1", "b", peer.getsockname()[1]), 0.1, 0.0)

    assert asyncio.run(run()) == AfterSilence(0.1, arrived=False, sent=None)


def test_nobody_there() -> None:
    """Neither a port that nobody has nor a network without a route is an error."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    nobody = probes(True)
    assert asyncio.run(nobody.seen_as(Peer("127.0.0.1", "b", port), TUNNEL)) is None
    assert not asyncio.run(nobody.after_silence(Peer("127.0.0.1", "b", port), 1.0, 0.0)).agreed


def test_endpoints_are_read_when_asked_for() -> None:
    """The first question starts the reading, the next finds it; a key that belongs to no peer gets an empty answer."""
    reads = 0

    async def read() -> OverlayState:
        nonlocal reads
        reads += 1
        peer = OverlayPeer(TUNNEL, endpoint="203.0.113.5:4711")
        return OverlayState("wireguard", "wg0", up=True, mtu=1420, peers=(peer, OverlayPeer("other")))

    async def run() -> list[str | None]:
        endpoints = Endpoints(read)
        reader = asyncio.create_task(endpoints.run(()))
        answers = [endpoints.endpoint(b"k" * 32)]
        while (answer := endpoints.endpoint(b"k" * 32)) is None:
            await asyncio.sleep(0)
        answers += [answer, endpoints.endpoint(b"x" * 32)]
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
        return answers

    assert asyncio.run(run()) == [None, "203.0.113.5:4711", ""]
    assert reads == 1
