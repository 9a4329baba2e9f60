"""The kernel is asked why it refuses a connection."""

import asyncio

import pytest

from preflight.model.peer import Peer
from preflight.net.way.connection import refusal_of
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
