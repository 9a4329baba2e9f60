"""The kernel's own word on rules that take an overlay's packets."""

import asyncio
from ipaddress import ip_network

import pytest

from preflight import codes
from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.model.peer import Peer
from preflight.net.way.rule_order import taken_by_rules
from preflight.proto.control.url import ControlUrl, parse_control_url
from tests.net.way.network_namespace import namespaces

PEER = OverlayPeer(key="k", addresses=(ip_network("10.7.0.2/32"),))
TAILNET = OverlayState(
    "tailscale", "e0", up=True, mtu=1280, prefixes=(ip_network("10.7.0.0/24"),), peers=(PEER,), fwmark=0x80000
)
OWN_TABLE = ("route add 10.7.0.2 dev e0 table 52", "rule add pref 5270 lookup 52")
NB = Peer("10.7.0.2", "nb")


@pytest.mark.lab
def test_what_the_kernel_does_is_what_is_said() -> None:
    """A rule before the product's own; nothing where it comes later."""
    found = []
    for priority in (5209, 32765):
        other = (
            "link add d0 type veth peer name d1",
            "link set d1 up",
            "link set d0 up",
            "route add default dev d0 table 99",
        )
        with namespaces(*OWN_TABLE, *other, f"rule add pref {priority} not fwmark 7 lookup 99"):
            found.append(asyncio.run(taken_by_rules(TAILNET, (NB,), (NB,))))
    ((death,), calm) = found
    assert (death.code, calm) == (codes.OVERLAY_ROUTE_LEAK, ())
    assert "`5209: not fwmark 0x7 lookup 99` comes before `5270: from all lookup 52`" in death.message


@pytest.mark.lab
def test_an_exit_node_takes_the_lan() -> None:
    """By the product's default route; with a `throw` route for the LAN it does not."""
    url = parse_control_url("http://10.5.0.9:9847")
    assert isinstance(url, ControlUrl)
    found = []
    for more in ((), ("route add throw 10.5.0.0/24 table 52",)):
        pair = ("link add tailscale0 type veth peer name d1", "link set d1 up", "link set tailscale0 up")
        exits = (*pair, "route add default dev tailscale0 table 52")
        with namespaces(*exits, "rule add pref 5270 lookup 52", *more):
            state = OverlayState("tailscale", "tailscale0", up=True, mtu=1280)
            found.append(asyncio.run(taken_by_rules(state, (), (), url)))
    ((death,), calm) = found
    assert (death.code, calm) == (codes.OVERLAY_EXIT_NODE_LAN, ())
    assert "the control plane (10.5.0.9) is in e0's own network 10.5.0." in death.message
