"""When another overlay with a silent peer's address is asked, and what an answer there means."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_network
from types import SimpleNamespace
from typing import Any

from preflight_checks.overlay_rivals import overlay_rivals

from preflight.api import Peer, Result, Status
from preflight.model.facts import EchoFacts
from preflight.model.icmp import EchoStats
from preflight.model.overlay import OverlayPeer, OverlayState

B = Peer("100.64.0.2", "b")
MEMBER = OverlayPeer("k", addresses=(ip_network("100.64.0.2/32"),))
TAILNET = OverlayState("tailscale", "tailscale0", up=True, mtu=1280, peers=(MEMBER,))
WIREGUARD = OverlayState("wireguard", "wg0", up=True, mtu=1420, peers=(MEMBER,))


def run(overlay: OverlayState, *, received: int = 0, answers: Sequence[str] = ()) -> tuple[list[Result], list[str]]:
    """The results, and by which devices it asked. received: of the run's echoes. answers: devices where one answers."""
    asked: list[str] = []

    async def echo(_: str, *, count: int, interface: str, **__: Any) -> EchoStats:
        asked.append(interface)
        return EchoStats(count, count if interface in answers else 0)

    context: Any = SimpleNamespace(
        overlay=overlay,
        peers=(B,),
        facts=lambda kind, _: [EchoFacts(sent=4, received=received)] if kind is EchoFacts else [],
        net=SimpleNamespace(icmp=SimpleNamespace(echo=echo)),
    )

    async def results() -> list[Result]:
        return [each async for each in overlay_rivals.function(context)]

    return asyncio.run(results()), asked


def test_who_is_not_asked() -> None:
    """Nobody where the peer answers, or where one overlay alone has it."""
    both = replace(TAILNET, further=(WIREGUARD,))
    for overlay, received in ((TAILNET, 0), (both, 4)):
        (result,), asked = run(overlay, received=received)
        assert (result.status, asked) == (Status.SKIP, [])


def test_what_an_answer_means() -> None:
    """The sentence has both overlays with their networks, and which one the kernel takes; silence shows neither."""
    both = replace(TAILNET, further=(WIREGUARD,))
    (result,), asked = run(both, answers=("wg0",))
    assert (str(result.code), result.target, asked) == ("overlay.subnet-conflict", "b", ["wg0"])
    assert result.message == (
        "100.64.0.2 is in tailscale on tailscale0 (100.64.0.2/32) and in wireguard on wg0 (100.64.0.2/32): the kernel "
        "takes tailscale0, where nothing answers, and a machine with that address answers on wg0"
    )
    assert result.remedies
    (result,), _ = run(both)
    assert result.status is Status.SKIP
