"""How far a node gets behind its gateway, past its tunnels, on real links."""

import asyncio
import subprocess
from collections.abc import Sequence
from dataclasses import replace

import pytest

from preflight.net.way.beyond import beyond_gateway
from preflight.proto.way.beyond import Beyond, dead_network
from tests.net.way.network_namespace import namespaces
from tests.proto.way import seeing

SILENT = (
    "there: link add d0 type veth peer name d1",
    "there: link set d0 up",
    "there: link set d1 up",
    "there: neighbour add 10.9.0.2 lladdr 02:00:00:00:00:01 dev d0",
    "there: route add default via 10.9.0.2 dev d0 onlink",
)
"""Behind this nobody takes what is sent."""
WAY_OUT = "route add default via 10.5.0.2"


def ask(*endpoints: str, interface: str = "t0") -> Sequence[Beyond]:
    """Ask for the endpoints of a tunnel's peers."""
    (peer,) = seeing.state().peers
    peers = tuple(replace(peer, key=each, endpoint=each) for each in endpoints)
    return asyncio.run(beyond_gateway(replace(seeing.state(), interface=interface, peers=peers, further=())))


def _forward(there: str) -> None:
    subprocess.run(["ip", "netns", "exec", there, "sysctl", "-qw", "net.ipv4.ip_forward=1"], check=True)


@pytest.mark.lab
def test_a_gateway_alone_answers() -> None:
    """It says what expires at it, and passes the rest to nowhere."""
    with namespaces(*SILENT, WAY_OUT) as (_, there):
        _forward(there)
        ends = ask("198.51.100.2:51820", "198.51.100.3:51820", "192.0.2.2:51820")
    assert [each.endpoint[0] for each in ends] == ["198.51.100.2", "192.0.2.2"]
    assert {(each.gateway, each.device) for each in ends} == {("10.5.0.2", "e0")}
    assert dead_network(ends) is not None


@pytest.mark.lab
def test_an_endpoint_that_answers_ends_it() -> None:
    """One look is enough then; a neighbour and an endpoint inside a tunnel are not behind the gateway."""
    with namespaces("there: address add 192.0.2.2/32 dev lo", *SILENT, WAY_OUT) as (_, there):
        _forward(there)
        ends = ask("198.51.100.2:51820", "192.0.2.2:51820", "10.5.0.2:51820")
        inside = ask("198.51.100.2:51820", "192.0.2.2:51820", interface="e0")
    assert [each.passed for each in ends] == [False, True]
    assert dead_network(ends) is None
    assert inside == ()


@pytest.mark.lab
def test_one_endpoint_is_not_enough() -> None:
    """Its host may be off, so nothing is sent."""
    with namespaces(*SILENT, WAY_OUT):
        assert ask("198.51.100.2:51820") == ()
