"""Whose packets a silent peer sends, watched from the first trouble on."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_network
from types import SimpleNamespace
from typing import Any, Self, cast

import pytest

from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.model.peer import Peer
from preflight.model.tapped import TapPacket, Tapped
from preflight.net.way import sessions
from preflight.net.way.sessions import MOST_PEERS, Sessions
from tests.proto.tunnel.test_sessions_seen import ACCEPTED, RENEWED, STRANGE, B

NB = Peer("10.66.0.2", "b")
KNOWN = OverlayPeer("Bkey=", B, (ip_network("10.66.0.2/32"),), last_handshake_unix_s=1.0, rx_bytes=500)
TUNNEL = OverlayState("wireguard", "wg0", up=True, mtu=1420, peers=(KNOWN,))
SECONDS = (1, 4, 9)
"""When the tunnel is read; its count grows with the last time."""


class Seen:
    """A tap that sees these packets."""

    def __init__(self, packets: Sequence[TapPacket], *, blind: bool = False) -> None:
        self.packets, self.blind = packets, blind

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing to close."""

    def taken(self) -> Tapped:
        """All of them."""
        return Tapped(packets=tuple(self.packets))


def found(monkeypatch: pytest.MonkeyPatch, tap: Seen, tunnel: OverlayState = TUNNEL, peer: Peer = NB) -> int:
    """What is proven once the tunnel was read at these seconds."""
    reads, moments = 0, iter((*SECONDS, *(SECONDS[-1:] * 1000)))
    all_read = asyncio.Event()

    async def read() -> OverlayState:
        nonlocal reads
        reads += 1
        if reads > len(SECONDS) + 1:
            all_read.set()
        late = replace(KNOWN, rx_bytes=700)
        return tunnel if reads < len(SECONDS) or not tunnel.peers else replace(tunnel, peers=(late,))

    async def test() -> int:
        watching = Sessions(read, lambda *_: cast("Any", tap))
        watching.begin(peer)
        watching.begin(peer)
        reading = asyncio.create_task(all_read.wait())
        watched = watching._begun[peer.address][0]
        async with asyncio.timeout(5):
            await asyncio.wait((reading, watched), return_when=asyncio.FIRST_COMPLETED)
        reading.cancel()
        messages = await watching.for_another(peer)
        await watching.aclose()
        return messages

    monkeypatch.setattr(sessions, "EACH_S", 0.0)
    monkeypatch.setattr(sessions, "time", SimpleNamespace(time=lambda: 10.0, time_ns=lambda: next(moments) * 10**9))
    return asyncio.run(test())


def test_packets_for_another_machine_are_seen_although_the_peer_answers_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """WireGuard's next handshake ends the silence after 15 s: who looks only then finds nothing."""
    assert found(monkeypatch, Seen((*STRANGE, *RENEWED, ACCEPTED))) == len(STRANGE)
    assert found(monkeypatch, Seen((*RENEWED, ACCEPTED))) == 0


@pytest.mark.parametrize(
    ("tunnel", "blind"),
    [
        (TUNNEL, True),
        (replace(TUNNEL, product="tailscale"), False),
        (replace(TUNNEL, peers=()), False),
        (replace(TUNNEL, peers=(replace(KNOWN, last_handshake_unix_s=-sessions.SESSION_S),)), False),
    ],
)
def test_where_nothing_can_be_seen(monkeypatch: pytest.MonkeyPatch, tunnel: OverlayState, blind: bool) -> None:
    """Without the privilege, another product, a peer that the tunnel does not have, and no session that lives."""
    assert found(monkeypatch, Seen((*STRANGE, *RENEWED, ACCEPTED), blind=blind), tunnel) == 0


def test_few_are_watched_and_nobody_for_ever() -> None:
    """A mesh of hundreds of silent peers does not need hundreds of taps."""

    async def read() -> OverlayState:
        return TUNNEL

    async def test() -> None:
        watching = Sessions(read, lambda *_: cast("Any", Seen(())))
        for number in range(2 * MOST_PEERS):
            watching.begin(Peer(f"10.66.0.{number + 2}", f"p{number}"))
        assert len(watching._begun) == MOST_PEERS
        assert await watching.for_another(Peer("10.9.9.9", "x")) == 0
        await watching.aclose()
        assert all(task.done() for task, _ in watching._begun.values())

    asyncio.run(test())
