"""Facts of set-ups: what their addresses and routes really look like, seen without the product."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from preflight.lab.axes.setup import Setup
from preflight.lab.draws import Draw
from preflight.lab.labs import fresh_lab
from preflight.lab.network import Network, inside, netlink
from preflight.lab.part import Part, planned
from preflight.lab.processes import run
from preflight.lab.scenario_file import scenario_of
from preflight.lab.site import wait_for_answer

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

LAN = "192.168.77.0/24"
SERVER = "192.168.77.1"
_PORT_OF_NOBODY = 1


@contextmanager
def network_of(setup: Setup, *parts: Part) -> Iterator[Network]:
    """The network of a healthy set-up with further parts."""
    scenario = scenario_of(Draw(setup))
    with fresh_lab(replace(scenario, faults=(*scenario.faults, *parts))) as lab:
        assert lab.network is not None
        yield lab.network


def way(network: Network, node: str, *words: str) -> str:
    """The kernel's answer to `ip route get`."""
    return run(network.command(node, "ip", "route", "get", *words))


def answers(network: Network, node: str, address: str) -> None:
    """Return once the host with an address answers a node. Raises LabError."""
    with inside(network.names.namespace(node)):
        wait_for_answer(address, _PORT_OF_NOBODY, time.monotonic() + 5)


def give_c_a_lan(network: Network) -> None:
    """An address of the LAN on c itself, in place of a host there."""
    with netlink(network.names.namespace("c")) as route:
        route.addr("add", index=route.link_lookup(ifname="lo")[0], address=SERVER, prefixlen=24)


BEHIND_C = (planned("a LAN behind c", lans={"c": LAN}), Part("an address in it", tunnels=give_c_a_lan))


@pytest.mark.parametrize(
    "setup",
    [
        Setup(),
        Setup(layout="hub"),
        Setup(product="vxlan"),
        Setup(product="nebula", families="ipv4"),
        Setup(product="openvpn"),
        Setup(product="openvpn", home="peer"),
    ],
    ids=str,
)
def test_a_lan_behind_a_member_is_reached_through_the_tunnel(setup: Setup) -> None:
    """Protects set-ups with a control plane behind a peer: the way there is the overlay, with every product."""
    with network_of(setup, *BEHIND_C) as network:
        for node in ("a", "b"):
            assert f"dev {network.names.tunnel(node)}" in way(network, node, SERVER)
            answers(network, node, SERVER)
        assert run(network.command("c", "sysctl", "-n", "net.ipv4.ip_forward")).strip() == "1"
