"""Echoes, and datagrams that provoke an answer, on real sockets."""

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from preflight.model.event import Event
from preflight.model.icmp import PRIVILEGE, EchoStats
from preflight.net.icmp.probes import Icmp


def echo(address: str, count: int = 3) -> EchoStats:
    """A short burst."""

    async def burst() -> EchoStats:
        return await Icmp().echo(address, count=count, interval_s=0.005, timeout_s=1.0)

    return asyncio.run(burst())


@pytest.mark.lab
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_every_echo_to_this_host_is_answered_once(address: str) -> None:
    """A raw socket sees its own requests on loopback as well: those do not count as answers."""
    stats = echo(address)
    assert (stats.sent, stats.received, stats.error, stats.loss_percent) == (3, 3, None, 0.0)
    assert len(stats.rtt_ms) == 3
    assert min(stats.rtt_ms) > 0


@pytest.mark.lab
def test_echoes_out_of_one_device() -> None:
    """Who answers there need not be the one of whom the run asks, so it does not count; a device may be gone."""

    async def bursts() -> tuple[EchoStats, EchoStats, bool]:
        icmp = Icmp()
        by_lo, by_none = [
            await icmp.echo("127.0.0.1", count=2, interval_s=0.005, timeout_s=1.0, interface=name)
            for name in ("lo", "none0")
        ]
        return by_lo, by_none, icmp.has_answered("127.0.0.1")

    by_lo, by_none, answered = asyncio.run(bursts())
    assert (by_lo.received, by_none.sent, answered) == (2, 0, False)
    assert by_none.error is not None


@pytest.mark.lab
def test_a_thousand_targets_at_once_lose_nothing() -> None:
    """A socket per target would receive the replies to all, overflow, and show loss where there is none."""

    async def sweep() -> list[EchoStats]:
        icmp = Icmp()
        addresses = [f"127.0.{1 + n // 250}.{1 + n % 250}" for n in range(1000)]
        return await asyncio.gather(*(icmp.echo(a, count=2, interval_s=0.01, timeout_s=10.0) for a in addresses))

    assert {(stats.sent, stats.received) for stats in asyncio.run(sweep())} == {(2, 2)}


@pytest.mark.lab
def test_one_comes_while_another_goes_and_one_is_given_up() -> None:
    """Bursts share a socket: none may end, or hold up, what others still wait for."""

    async def bursts() -> tuple[list[EchoStats], EchoStats]:
        icmp = Icmp()
        slow = asyncio.create_task(icmp.echo("127.0.0.1", count=5, interval_s=0.02, timeout_s=10))
        given_up = asyncio.create_task(icmp.echo("127.0.0.2", count=1000, interval_s=0.02, timeout_s=10))
        quick = [await icmp.echo("127.0.0.3", count=1, interval_s=0, timeout_s=10) for _ in range(3)]
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        stats = await slow
        return quick, stats

    quick, slow = asyncio.run(bursts())
    assert [(stats.sent, stats.received) for stats in quick] == [(1, 1)] * 3
    assert (slow.sent, slow.received) == (5, 5)


@pytest.mark.lab
def test_without_privilege_it_says_so() -> None:
    """An ordinary user gets data, not an exception."""
    script = (
        "import asyncio\n"
        "from preflight.net.icmp.probes import Icmp\n"
        "icmp = Icmp()\n"
        "stats = asyncio.run(icmp.echo('127.0.0.1', count=1, interval_s=0, timeout_s=1))\n"
        "print(stats.error, icmp.raw_socket(), icmp.ping_socket())\n"
    )
    lowered = [
        "unshare",
        "--net",
        "setpriv",
        "--bounding-set=-all",
        "--inh-caps=-all",
        "--reuid=65534",
        "--clear-groups",
    ]
    done = subprocess.run(
        [*lowered, sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert done.stdout.split() == [PRIVILEGE, "False", "False"]


def test_what_provokes_a_handshake_is_one_datagram_and_never_raises() -> None:
    """To this host it leaves; out of an interface that does not exist the kernel's words come back."""
    assert Icmp().provoke_handshake("127.0.0.1", "lo") is None
    assert Icmp().provoke_handshake("127.0.0.1", "no-such-if") == "No such device"


def test_a_closed_port_is_distinguished_from_a_silent_one() -> None:
    """Port-unreachable is proof; silence proves nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        assert not asyncio.run(Icmp().port_closed("127.0.0.1", port, timeout_s=0.1))
        assert asyncio.run(Icmp().port_says("127.0.0.1", port, timeout_s=0.1)) == "silent"
    assert asyncio.run(Icmp().port_closed("127.0.0.1", port, timeout_s=1.0))
    said = asyncio.run(Icmp().ports_say("127.0.0.1", [port, port], gap_s=0.01, timeout_s=1.0))
    assert said == ("closed", "closed")


@pytest.mark.lab
def test_a_listener_hears_echoes_and_traces() -> None:
    """Protects `--debug`: what a sweep, a trace and a question about a port send and hear is reported."""
    events: list[Event] = []
    icmp = Icmp(listener=events.append)

    async def run() -> None:
        await icmp.echo("127.0.0.1", count=1, interval_s=0, timeout_s=5)
        await icmp.trace("127.0.0.1")
        await icmp.port_closed("127.0.0.1", 9, timeout_s=5)

    asyncio.run(run())
    by_source = {source: [e.name for e in events if e.source == source] for source in {e.source for e in events}}
    assert by_source["icmp.sweep"] == ["echo-sent", "echo-answered", "concluded"]
    assert by_source["icmp.traceroute"][0] == "wave-sent"
    assert by_source["icmp.closed_port"] == ["concluded"]
