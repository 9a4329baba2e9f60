"""STUN over real sockets: our responder as server, servers that lie, are silent, closed or refuse."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest
from aioice import stun as codec

from preflight.api import Peer
from preflight.model.stun import StunAnswer
from preflight.net import udp
from preflight.net.stun.servers import Stun
from preflight.proto.stun import binding as stun
from preflight.proto.stun import servers

KEY = b"a key that only tests know"
Say = Callable[[codec.Message, tuple[str, int]], codec.Message | None]


@asynccontextmanager
async def server(say: Say, address: str = "127.0.0.1") -> AsyncIterator[str]:
    """A STUN server made of the codec alone; None from `say` is silence."""

    class Server(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast("asyncio.DatagramTransport", transport)

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            if (answer := say(codec.parse_message(data), addr)) is not None:
                self.transport.sendto(bytes(answer), addr)

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Server, local_addr=(address, 0))
    try:
        yield f"{address}:{transport.get_extra_info('sockname')[1]}"
    finally:
        transport.close()
        await asyncio.sleep(0)


def seeing(host: str, port: int) -> Say:
    """A server behind a NAT that made this of every source."""
    return lambda asked, source: codec.Message(
        codec.Method.BINDING, codec.Class.RESPONSE, asked.transaction_id, {"XOR-MAPPED-ADDRESS": (host, port)}
    )


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Starts responders; gives `ADDRESS:PORT`."""
    running: list[subprocess.Popen[str]] = []

    def run(address: str, *words: str) -> str:
        (tmp_path / "key").write_bytes(KEY)
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("VOX_", "PREFLIGHT_"))}
        command = [sys.executable, "-m", "preflight", "responder", "--bind", f"{address}:0", *words]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=tmp_path)
        running.append(process)
        assert process.stdout
        return process.stdout.readline().strip().removeprefix("listening on udp://")

    yield run
    for process in running:
        process.kill()
        process.communicate(timeout=30)


@pytest.mark.parametrize(("address", "host"), [("127.0.0.1", "127.0.0.1"), ("[::1]", "::1")])
@pytest.mark.parametrize("key", [None, KEY])
def test_our_responder_is_a_server(start: Callable[..., str], address: str, host: str, key: bytes | None) -> None:
    """Both families, signed and not: without a NAT it sees the socket as it is."""
    place = start(address, "--allow", host, "--key-file", "key")
    (answer,) = asyncio.run(Stun().ask([place], key))
    assert answer.mapped is not None, answer
    assert (answer.server, answer.address, answer.mapped, answer.why) == (place, host, answer.local, None)
    assert answer.rtt_ms is not None


@pytest.mark.parametrize(("address", "host"), [("127.0.0.1", "127.0.0.1"), ("[::1]", "::1")])
def test_a_peer_is_asked_with_the_key(start: Callable[..., str], address: str, host: str) -> None:
    """A responder that knows this node only by the key reports where it sees it."""
    port = int(start(address, "--key-file", "key").rpartition(":")[2])
    answer = asyncio.run(Stun(lambda _: KEY).ask_peer(Peer(host, "b", port)))
    assert answer.mapped is not None
    assert answer.mapped == answer.local


def test_strangers_show_the_key(start: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that is not provisioned gets an answer to a signed question only."""
    monkeypatch.setattr(servers, "RTO_S", (0.3,))
    place = start("127.0.0.1", "--key-file", "key")
    assert [asyncio.run(Stun().ask([place], key))[0].why for key in (KEY, None)] == [None, "silent"]


def test_a_test_packet_with_the_number_of_a_binding_request(start: Callable[..., str]) -> None:
    """STAMP goes on whatever its sequence number looks like."""
    from preflight.proto.stamp import wire as stamp

    host, port = start("127.0.0.1", "--allow", "127.0.0.1").rsplit(":", 1)
    with udp.open_towards(host, int(port)) as link:
        link.setblocking(True)
        link.settimeout(20)
        for magic in (stun.magics()[0], stun.request(bytes(12))[:4]):
            number = int.from_bytes(magic)
            link.send(stamp.build_request(number, 1_795_479_667_927_000_000, 1, 7))
            assert stamp.parse_answer(link.recv(2048)).sender_sequence == number


def test_two_servers_see_one_socket() -> None:
    """Whether a mapping depends on the destination is shown by servers that were asked from the same port."""

    async def run() -> tuple[StunAnswer, ...]:
        async with (
            server(seeing("203.0.113.5", 4000), "127.0.0.2") as one,
            server(seeing("203.0.113.5", 4001), "127.0.0.3") as other,
        ):
            return await Stun().ask([one, other])

    answers = asyncio.run(run())
    assert [answer.mapped for answer in answers] == ["203.0.113.5:4000", "203.0.113.5:4001"]
    assert len({answer.local for answer in answers}) == 1


def test_what_servers_do_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence, a closed port, a name without address, a wrong transaction, an error: each is distinguished."""
    monkeypatch.setattr(servers, "RTO_S", (0.2, 0.2))

    def wrong(asked: codec.Message, source: tuple[str, int]) -> codec.Message:
        return codec.Message(codec.Method.BINDING, codec.Class.RESPONSE, bytes(12), {"XOR-MAPPED-ADDRESS": source})

    def refuse(asked: codec.Message, source: tuple[str, int]) -> codec.Message:
        error = {"ERROR-CODE": (401, "Unauthorized")}
        return codec.Message(codec.Method.BINDING, codec.Class.ERROR, asked.transaction_id, error)

    async def run() -> tuple[StunAnswer, ...]:
        with udp.open_udp("127.0.0.1") as nobody:
            closed = f"127.0.0.1:{nobody.getsockname()[1]}"
        async with (
            server(lambda asked, source: None) as silent,
            server(wrong) as other,
            server(refuse) as refusing,
            server(seeing("203.0.113.5", 4000)) as good,
        ):
            return await Stun().ask([silent, closed, "a..b", other, refusing, good])

    answers = asyncio.run(run())
    assert [answer.why for answer in answers] == ["silent", "closed", "no-name", "silent", "refused", None]
    assert answers[4].detail == "401 Unauthorized"
    assert answers[5].mapped == "203.0.113.5:4000"


def test_a_lost_question_is_asked_again() -> None:
    """One lost datagram does not mean a blocked network."""
    heard: list[bytes] = []

    def second(asked: codec.Message, source: tuple[str, int]) -> codec.Message | None:
        heard.append(asked.transaction_id)
        return seeing("203.0.113.5", 4000)(asked, source) if len(heard) > 1 else None

    async def run() -> tuple[StunAnswer, ...]:
        async with server(second) as place:
            return await Stun().ask([place])

    assert asyncio.run(run())[0].mapped == "203.0.113.5:4000"
    assert len(set(heard)) == 1
