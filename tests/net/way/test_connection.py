"""The kernel and the firewall are asked why a connection fails."""

import asyncio
import socket
import subprocess
from functools import partial
from threading import Thread

import pytest

from preflight import codes
from preflight.lab.fake_servers import name_server
from preflight.lab.network import inside
from preflight.model.peer import Peer
from preflight.net.names import Resolver
from preflight.net.tcp.connect import Tcp
from preflight.net.way.connection import filtered, question, refusal_of
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


_RULES = """
table inet t {
  chain out {
    type filter hook output priority 0
    tcp dport 9847 drop comment "no mesh"
    tcp dport 9848 reject with tcp reset comment "no mesh"
  }
  chain in {
    type filter hook input priority 0
    tcp sport 9849 drop comment "no mesh"
    udp sport 53 drop comment "no mesh"
  }
}
"""


def _filtered(port: int) -> Death | None:
    async def attempt() -> bool:
        return (await Tcp().connect("10.5.0.2", port, 0.3)).outcome == "refused"

    return asyncio.run(filtered(question("10.5.0.2", port, "tcp"), attempt))


@pytest.mark.lab
def test_a_rule_of_this_node_that_stops_connections_or_their_answers_is_named() -> None:
    """Its comment is in the sentence. Of a port that rules let through, nothing is said: there the host refuses."""
    with namespaces() as (here, there):
        subprocess.run(["ip", "netns", "exec", here, "nft", "-f", "-"], input=_RULES, text=True, check=True)
        with inside(there):
            listening = socket.create_server(("10.5.0.2", 9849))
        with listening:
            dropped, reset, answers, passed = map(_filtered, (9847, 9848, 9849, 80))
    assert passed is None
    for death, does in ((dropped, "drops"), (reset, "reject"), (answers, "drops")):
        assert death is not None
        assert death.code is codes.HOST_FIREWALL_DROP
        assert "no mesh" in death.message
        assert does in death.message
        assert death.certain
        assert death.remedies


@pytest.mark.lab
def test_a_rule_of_this_node_that_keeps_a_resolver_away_is_named() -> None:
    """The answer comes in, and the program that asked does not get it."""
    with namespaces() as (here, there):
        subprocess.run(["ip", "netns", "exec", here, "nft", "-f", "-"], input=_RULES, text=True, check=True)
        with inside(there):
            server = name_server("10.5.0.2", {"control.example": ("10.5.0.2",)})
        with server:
            Thread(target=server.serve_forever, daemon=True).start()
            attempt = partial(Resolver().once, "10.5.0.2", "control.example", 0.3)
            death = asyncio.run(filtered(question("10.5.0.2", 53, "udp"), attempt))
            server.shutdown()
    assert death is not None
    assert "no mesh" in death.message
    assert death.certain
