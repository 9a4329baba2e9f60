"""The networks of the lab without any program of ours: what mtu.echo on node a can prove alone, and what it leaves."""

import asyncio
from collections.abc import Callable

import pytest
from preflight_checks.mtu_echo import mtu_echo

from preflight.api import Context, Peer, Result
from preflight.lab.network import Network, inside
from preflight.net import Net
from preflight.settings.load import Settings

pytestmark = pytest.mark.lab

Build = Callable[[str], Network]
Verdicts = dict[tuple[str, str], str | None]
B, B6 = Peer("10.66.0.2", "b"), Peer("fd66::2", "b6")


def judged(network: Network, *peers: Peer) -> list[Result]:
    """Run the check on node a."""

    async def run() -> list[Result]:
        settings = Settings()
        net = Net(settings)
        context = Context(settings=settings, peers=peers, overlay=await net.overlay(), net=net)
        return [result async for result in mtu_echo.function(context)]

    with inside(network.names.namespace("a")):
        return asyncio.run(run())


@pytest.mark.parametrize(
    ("scenario", "expected"),
    [
        ("pair", [(None, "round-trip")]),
        ("hub", [(None, "round-trip")]),
        ("black-hole-forward", [("mtu.black-hole", "forward")]),
        ("black-hole-both", [("mtu.black-hole", "forward")]),
        # The way there is proven open, so what vanishes is on the way back.
        ("black-hole-reverse", [("mtu.black-hole", "reverse"), (None, "forward")]),
        ("icmp-filtered", [("run.needs-responder", "round-trip"), (None, "forward")]),
    ],
)
def test_one_side_alone(network: Build, scenario: str, expected: list[tuple[str | None, str]]) -> None:
    """Protects the verdicts without a responder, over IPv4 and IPv6 inside the tunnel."""
    made = network(scenario)
    findings = [(r.target, r.code.slug if r.code else None, r.direction.value) for r in judged(made, B, B6)]
    assert findings == [(peer, *each) for peer in ("b", "b6") for each in expected]


def test_the_exact_size(network: Build) -> None:
    """Protects the number: the largest echo that comes back through a tunnel of 1420 over 1380 has 1312 bytes."""
    (result,) = judged(network("black-hole-both"), B)
    assert result.measurements["mtu_bytes"] == 1312


def test_a_tunnel_that_fragments_outside(network: Build) -> None:
    """Protects mtu.reduced: the answers come back in fragments, so nothing vanishes and nothing is whole."""
    for result in judged(network("mtu-reduced"), B, B6):
        if result.direction.value == "round-trip":
            assert result.code is not None, result.message
            assert result.code.slug == "mtu.reduced", result.message
            assert result.measurements["mtu_bytes"] == 1312
