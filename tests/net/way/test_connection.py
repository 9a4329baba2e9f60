"""The kernel and the firewall are asked why a connection fails."""

import asyncio
import subprocess

import pytest

from preflight import codes
from preflight.model.peer import Peer
from preflight.net.tcp.connect import Tcp
from preflight.net.way.connection import filtered, refusal_of
from preflight.proto.way.observation import Death
from tests.net.way.network_namespace import namespaces


@pytest.mark.lab
def test_a_route_of_this_node_that_refuses_is_named() -> None:
    """Both families and a host that nothing refuses, without any overlay."""
    more = ("route add blackhole 10.9.0.7", "-6 rule add to fd05::9 prohibit priority 60")
    with namespaces(*more):
        asked = [asyncio.run(refusal_of(Peer(to, "the host"), 80, None)) for to in ("10.9.0.7", "fd05::9", "10.5.0.2")]
    four, six, open_way = asked
    assert four is not None
    assert "TCP port 80 for the host (10.9.0.7): its route `blackhole 10.9.0.7` is of type blackhole" in four.message
    assert six is not None
    assert "is of type prohibit" in six.message
    assert open_way is None


@pytest.mark.lab
def test_a_rule_of_this_node_that_drops_connections_is_named() -> None:
    """Its comment is in the sentence, and a port that it lets through has nothing to say of it."""
    rules = (
        'table inet t {\nchain out {\ntype filter hook output priority 0\ntcp dport 9847 drop comment "no mesh"\n}\n}\n'
    )
    with namespaces() as (here, _):
        subprocess.run(["ip", "netns", "exec", here, "nft", "-f", "-"], input=rules, text=True, check=True)

        def asked(port: int) -> Death | None:
            return asyncio.run(filtered("10.5.0.2", port, lambda: Tcp().connect("10.5.0.2", port, 0.3)))

        dropped, passed = asked(9847), asked(80)
    assert passed is None
    assert dropped is not None
    assert dropped.code is codes.HOST_FIREWALL_DROP
    assert "no mesh" in dropped.message
    assert dropped.remedies
