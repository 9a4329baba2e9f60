"""Traceroute through real routers in namespaces, and without privilege."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import count, pairwise
from pathlib import Path

import pytest

from preflight.model.icmp import Trace
from preflight.net.icmp.probes import Icmp

_serial = count()


def trace(address: str, *, timeout_s: float = 1.0, source: str | None = None) -> Trace:
    """The path to an address."""

    async def run() -> Trace:
        return await Icmp().trace(address, timeout_s=timeout_s, source=source)

    return asyncio.run(run())


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_this_host_is_one_hop_away_without_any_privilege(address: str) -> None:
    """The answer comes by the error queue, which an ordinary user may read."""
    result = trace(address)
    assert [(hop.ttl, hop.address, hop.reached) for hop in result.hops] == [(1, address, True)]
    assert result.reached


@pytest.fixture
def chain() -> Iterator[list[str]]:
    """Seven namespaces in a row, each a router; the last one has 10.77.6.2."""
    mark = f"pftr{os.getpid() % 100000}{next(_serial)}"
    names = [f"{mark}n{i}" for i in range(7)]

    def ip(name: str, command: str) -> None:
        subprocess.run(["ip", "-n", name, *command.split()], check=True)

    try:
        for name in names:
            subprocess.run(["ip", "netns", "add", name], check=True)
            ip(name, "link set lo up")
            subprocess.run(["ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv4.ip_forward=1"], check=True)
        for i, (left, right) in enumerate(pairwise(names), 1):
            ip(left, f"link add right type veth peer name left netns {right}")
            for name, end, host in ((left, "right", 1), (right, "left", 2)):
                ip(name, f"address add 10.77.{i}.{host}/24 dev {end}")
                ip(name, f"link set {end} up")
        for i, name in enumerate(names):
            if i < 6:
                ip(name, f"route add default via 10.77.{i + 1}.2")
            for j in range(1, i):
                ip(name, f"route add 10.77.{j}.0/24 via 10.77.{i}.1")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False)


@pytest.mark.lab
def test_six_hops_in_two_waves(chain: list[str]) -> None:
    """Every router by the address that it answers from, in order, up to the destination and not beyond."""
    from pyroute2 import netns

    netns.pushns(chain[0])
    try:
        result = trace("10.77.6.2")
    finally:
        netns.popns()
    assert [hop.address for hop in result.hops] == [f"10.77.{i}.2" for i in range(1, 7)]
    assert [hop.reached for hop in result.hops] == [False] * 5 + [True]
    assert all(hop.rtt_ms is not None and hop.rtt_ms > 0 for hop in result.hops)
    assert {hop.interface for hop in result.hops} == {"right"}
    assert result.distance == 6


@pytest.mark.lab
def test_a_router_that_keeps_silent_leaves_a_gap(chain: list[str]) -> None:
    """What is behind it is still shown."""
    from pyroute2 import netns

    drop = "add table ip t; add chain ip t o { type filter hook output priority 0; policy drop; }"
    subprocess.run(["ip", "netns", "exec", chain[2], "nft", drop], check=True)
    netns.pushns(chain[0])
    try:
        result = trace("10.77.4.2", timeout_s=0.4)
    finally:
        netns.popns()
    assert [hop.address for hop in result.hops] == ["10.77.1.2", None, "10.77.3.2", "10.77.4.2"]


@pytest.mark.lab
def test_a_router_that_knows_no_way_ends_the_path(chain: list[str]) -> None:
    """Its refusal is reported once, and nothing behind it is asked for."""
    from pyroute2 import netns

    subprocess.run(["ip", "-n", chain[2], "route", "del", "default"], check=True)
    netns.pushns(chain[0])
    try:
        result = trace("10.77.5.2", timeout_s=5.0)
    finally:
        netns.popns()
    assert [(hop.address, hop.reached) for hop in result.hops] == [
        ("10.77.1.2", False),
        ("10.77.2.2", False),
    ]
    assert result.distance is None


@pytest.mark.lab
def test_a_destination_that_prohibits_the_ports_is_reached(chain: list[str]) -> None:
    """Some firewalls say "prohibited" where others leave a port closed; a router that says so is not the end."""
    from pyroute2 import netns

    for name, where, who in ((chain[2], "10.77.2.2", "input"), (chain[1], "10.77.4.2", "forward")):
        rule = f"udp dport >= 33434 ip daddr {where} reject with icmp admin-prohibited"
        table = f"add table ip t; add chain ip t c {{ type filter hook {who} priority 0; }}; add rule ip t c {rule}"
        subprocess.run(["ip", "netns", "exec", name, "nft", table], check=True)
    netns.pushns(chain[0])
    try:
        prohibited, stopped = trace("10.77.2.2"), trace("10.77.4.2")
    finally:
        netns.popns()
    assert [(hop.address, hop.reached) for hop in prohibited.hops] == [("10.77.1.2", False), ("10.77.2.2", True)]
    assert [hop.address for hop in stopped.hops] == ["10.77.1.2", "10.77.1.2"]
    assert not stopped.reached


@pytest.mark.lab
def test_the_source_can_be_chosen(chain: list[str]) -> None:
    """Answers come to the address that was chosen; one that is not this node's is refused in the kernel's words."""
    from pyroute2 import netns

    netns.pushns(chain[1])
    try:
        assert [hop.address for hop in trace("10.77.2.2", source="10.77.1.2").hops] == ["10.77.2.2"]
        assert trace("10.77.2.2", source="203.0.113.1").error == "Cannot assign requested address"
    finally:
        netns.popns()


@pytest.mark.lab
def test_nobody_answers_and_no_route(chain: list[str]) -> None:
    """Silence gives no hops; what the kernel refuses is reported in its words."""
    from pyroute2 import netns

    netns.pushns(chain[6])
    try:
        assert trace("10.77.6.77", timeout_s=0.2).hops == ()
        assert trace("203.0.113.1", timeout_s=0.2).error == "Network is unreachable"
    finally:
        netns.popns()


@pytest.mark.lab
def test_an_ordinary_user_may_trace(chain: list[str]) -> None:
    """Neither raw socket nor capability, in a namespace without ping sockets."""
    script = (
        "import asyncio\n"
        "from preflight.net.icmp.probes import Icmp\n"
        "print(*(hop.address for hop in asyncio.run(Icmp().trace('10.77.3.2')).hops))\n"
    )
    lowered = ["setpriv", "--reuid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]
    done = subprocess.run(
        ["ip", "netns", "exec", chain[0], *lowered, sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert done.stdout.split() == ["10.77.1.2", "10.77.2.2", "10.77.3.2"]
