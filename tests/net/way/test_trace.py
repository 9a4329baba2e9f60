"""Traces along a flow through real routers, one of them with a filter."""

import asyncio
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from os import getpid

import pytest

from preflight.model.facts import DeathFacts
from preflight.model.flow import Flow
from preflight.model.network_state import TunnelSide
from preflight.net.way.trace import OuterTrace
from preflight.proto.way.observation import Observation
from preflight.proto.way.trace import Traces, observe_traces

FLOW = Flow(source="10.71.0.1", destination="10.73.0.2", source_port=51820, destination_port=51820)
SIX = replace(FLOW, source="fd71::1", destination="fd73::2")
TUNNEL = TunnelSide(peer="b", product="wireguard", interfaces=("wg0",), endpoint="10.73.0.2:51820")


@contextmanager
def line() -> Iterator[dict[str, str]]:
    """a - r - s - b, both families; this thread is at a. The names of the namespaces by their letters."""
    from pyroute2 import netns

    names = {letter: f"pfline{getpid()}{letter}" for letter in "arsb"}
    try:
        for name in names.values():
            subprocess.run(["ip", "netns", "add", name], check=True)
            for setting in ("ipv4.ip_forward", "ipv6.conf.all.forwarding"):
                _in(name, "sysctl", "-qw", f"net.{setting}=1")
        for number, (left, right) in enumerate((("a", "r"), ("r", "s"), ("s", "b")), 1):
            devices = (f"to{right}", f"to{left}")
            pair = ["type", "veth", "peer", "name", devices[1], "netns", names[right]]
            subprocess.run(["ip", "-n", names[left], "link", "add", devices[0], *pair], check=True)
            for side, (letter, device) in enumerate(zip((left, right), devices, strict=True), 1):
                _ip(names[letter], f"address add 10.7{number}.0.{side}/24 dev {device}")
                _ip(names[letter], f"address add fd7{number}::{side}/64 dev {device} nodad")
                _ip(names[letter], f"link set {device} up")
        for letter, via4, via6 in (
            ("a", "10.71.0.2", "fd71::2"),
            ("r", "10.72.0.2", "fd72::2"),
            ("b", "10.73.0.1", "fd73::1"),
        ):
            _ip(names[letter], f"route add default via {via4}")
            _ip(names[letter], f"-6 route add default via {via6}")
        _ip(names["s"], "route add 10.71.0.0/24 via 10.72.0.1")
        _ip(names["s"], "-6 route add fd71::/64 via fd72::1")
        netns.pushns(names["a"])
        try:
            for destination in (FLOW.destination, SIX.destination):
                _wait_for_refusal(destination)
            yield names
        finally:
            netns.popns()
    finally:
        for name in names.values():
            subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)


def _wait_for_refusal(address: str) -> None:
    """The way is there once the host at its end refuses a datagram: until then routers look for their neighbours."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with socket.socket(family, socket.SOCK_DGRAM) as asking:
            asking.settimeout(0.5)
            asking.connect((address, 9))
            try:
                asking.send(b"")
                asking.recv(1)
            except ConnectionRefusedError:
                return
            except OSError:
                continue
    raise TimeoutError(address)


def _in(name: str, *argv: str, text: str | None = None) -> None:
    subprocess.run(["ip", "netns", "exec", name, *argv], input=text, text=True, check=True)


def _ip(name: str, words: str) -> None:
    subprocess.run(["ip", "-n", name, *words.split()], check=True)


def follow(flow: Flow) -> Traces:
    return asyncio.run(OuterTrace().follow(flow))


def judged(traces: Traces, flow: Flow) -> Observation:
    return observe_traces(traces, flow, TUNNEL)


@pytest.mark.lab
@pytest.mark.parametrize("flow", [FLOW, SIX])
def test_the_routers_in_their_order_and_the_host(flow: Flow) -> None:
    """A closed port and an echo are answered by the host itself; echoes without any limit."""
    with line():
        traces = follow(flow)
    routers = ["fd71::2", "fd72::2", "fd73::2"] if flow.is_ipv6 else ["10.71.0.2", "10.72.0.2", "10.73.0.2"]
    for trace in (traces.own, traces.fresh, traces.echo):
        # The host's own may be missing, for hosts limit their errors; nobody looks behind the place of its echoes.
        heard = [hop.address for hop in trace.hops if hop.address]
        assert heard in (routers, routers[:-1])
        assert trace.reached == (heard == routers)
    assert traces.echo.reached
    assert judged(traces, flow).finding == "blind"


@pytest.mark.lab
@pytest.mark.parametrize("flow", [FLOW, SIX])
def test_a_router_that_holds_on_to_the_old_flow(flow: Flow) -> None:
    """The one that drops still answers what expires at it; a fresh port gets past it."""
    rules = "table inet f { chain f { type filter hook forward priority 0; udp sport 51820 drop; }; }"
    with line() as names:
        _in(names["r"], "nft", "-f", "-", text=rules)
        traces = follow(flow)
    first = "fd71::2" if flow.is_ipv6 else "10.71.0.2"
    assert [hop.address for hop in traces.own.hops] == [first]
    assert traces.fresh.reached
    found = judged(traces, flow)
    assert found.death is not None
    assert f"from UDP port 51820 vanish behind {first}" in found.death.message


@pytest.mark.lab
def test_udp_is_filtered_and_echoes_are_not() -> None:
    """Both flows die alike, where routers behind that place answer echoes."""
    rules = "table ip f { chain f { type filter hook forward priority 0; meta l4proto udp drop; }; }"
    with line() as names:
        _in(names["r"], "nft", "-f", "-", text=rules)
        traces = follow(FLOW)
    assert (traces.own.reached, traces.fresh.reached, traces.echo.reached) == (False, False, True)
    found = judged(traces, FLOW)
    assert found.death is not None
    assert "vanishes behind 10.71.0.2" in found.death.message
    assert "echoes get on to 10.72.0.2" in found.death.message
    assert found.death.facts == DeathFacts(offender="10.71.0.2")


@pytest.mark.lab
def test_a_host_that_answers_echoes_shows_no_filter_before_it() -> None:
    """No daemon answers a trace: where only the endpoint is behind the last router, UDP may get there."""
    rules = "table ip f { chain f { type filter hook forward priority 0; meta l4proto udp drop; }; }"
    with line() as names:
        _in(names["s"], "nft", "-f", "-", text=rules)
        traces = follow(FLOW)
    found = judged(traces, FLOW)
    assert (found.finding, "is alive" in found.reason) == ("blind", True)


@pytest.mark.lab
def test_its_packets_have_the_tunnel_s_mark() -> None:
    """A rule for the mark sends them where it sends the tunnel: elsewhere they would follow another way."""
    with line() as names:
        _ip(names["a"], "rule add fwmark 7 prohibit")
        marked = asyncio.run(OuterTrace().trace(replace(FLOW, mark=7)))
        plain = asyncio.run(OuterTrace().trace(FLOW))
    assert (marked.hops, bool(marked.error), plain.reached) == ((), True, True)


@pytest.mark.lab
def test_what_this_node_s_filter_drops_is_said() -> None:
    """The packets pass this node's own rules, as the tunnel's do."""
    rules = "table ip f { chain o { type filter hook output priority 0; udp dport 51820 drop; }; }"
    with line() as names:
        _in(names["a"], "nft", "-f", "-", text=rules)
        trace = asyncio.run(OuterTrace().trace(FLOW))
    assert (trace.hops, trace.error) == ((), "Operation not permitted")
