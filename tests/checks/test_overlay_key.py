"""Two machines with one key."""

import asyncio
from ipaddress import ip_network
from types import SimpleNamespace
from typing import Any

import pytest
from preflight_checks import overlay_key

from preflight.api import Peer, Result
from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.proto.tunnel.endpoint_turns import Turns

B, OTHER = "192.0.2.2:51820", "192.0.2.9:51820"
NB = Peer("10.66.0.2", "b")


def tunnel(endpoint: str, handshake: float = 1.0, rx: int = 92) -> OverlayState:
    """A tunnel whose peer is at an endpoint."""
    owned = (ip_network("10.66.0.2/32"),)
    known = OverlayPeer("Bkey=", endpoint, owned, last_handshake_unix_s=handshake, rx_bytes=rx)
    return OverlayState("wireguard", "wg0", up=True, mtu=1420, peers=(known,))


@pytest.mark.parametrize(
    ("endpoints", "grows", "reads", "found"),
    [
        ([B, OTHER, B, OTHER], True, 3, True),
        ([B, B, OTHER, B, OTHER], True, 4, True),
        # It moved once, before or while it is watched.
        ([B, OTHER, OTHER, OTHER], True, None, False),
        ([B, B, B, B], True, None, False),
        # Nothing comes from the key at all: one look is enough.
        ([B, B, B, B], False, 1, False),
    ],
)
def test_an_endpoint_is_watched(
    endpoints: list[str], grows: bool, reads: int | None, found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends as soon as two machines show, and a peer that moved once is not such."""
    monkeypatch.setattr(overlay_key, "EACH_S", 0.0)
    monkeypatch.setattr(overlay_key, "SHORT_S", 0.05)
    monkeypatch.setattr(overlay_key, "LONG_S", 0.1)
    asked = 0

    async def read() -> OverlayState:
        nonlocal asked
        asked += 1
        return tunnel(endpoints[min(asked, len(endpoints) - 1)], rx=92 + 32 * grows * asked)

    results = asyncio.run(_run(tunnel(endpoints[0]), read))
    assert [each.code is not None and each.code.slug == "overlay.duplicate-key" for each in results] == [found]
    assert reads is None or asked == reads


def test_a_tunnel_that_never_came_up_is_not_watched() -> None:
    """Nothing moves an endpoint there, so the run loses no time."""

    async def read() -> OverlayState:
        raise AssertionError("it was read")

    (result,) = asyncio.run(_run(tunnel(B, handshake=0.0), read))
    assert str(result.code) == "run.not-applicable"


async def _run(first: OverlayState, read: Any) -> list[Result]:
    icmp = SimpleNamespace(provoke_handshake=lambda *_: None)
    context: Any = SimpleNamespace(
        peers=(NB,), overlay=first, tunnel=lambda _: "wg0", net=SimpleNamespace(icmp=icmp, overlay=read)
    )
    return [result async for result in overlay_key.overlay_key.function(context)]


def test_the_sentence_has_both_places() -> None:
    """And the key, for which the owner can look on both machines."""
    known = tunnel(B).peers[0]
    result = overlay_key.judge(NB, known, "wireguard", Turns((B, OTHER), 3))
    assert result.message == (
        f"wireguard sees the key of b (Bkey=) at {B} and at {OTHER} in turn, with 3 changes in this run: two machines "
        "use it"
    )
    assert "192.0.2.2 and on 192.0.2.9" in (result.remedy or "")
    tailnet = overlay_key.judge(NB, known, "tailscale", Turns((B, OTHER), 3))
    assert "tailscale logout" in (tailnet.remedy or "")
