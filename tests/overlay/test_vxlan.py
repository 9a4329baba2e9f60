"""The kernel's VXLAN, read from the kernel: its remote endpoints, and what overlay.mtu concludes from them."""

import asyncio
from ipaddress import ip_interface

import pytest
from preflight_checks.overlay_mtu import overlay_mtu

from preflight.api import Context, Result
from preflight.model.kernel import Link
from preflight.model.overlay import OverlayState
from preflight.net import Net
from preflight.overlay.links import state_of
from preflight.overlay.read import read_overlay
from preflight.overlay.vxlan import met_in, with_far_ends
from preflight.settings.load import Settings
from preflight.settings.schema import OverlaySettings
from tests.overlay.conftest import Node, Pair

GONE = Link(4_000_000, "vx9", 1450, up=True, carrier=True, kind="vxlan", addresses=(ip_interface("10.66.0.1/24"),))


@pytest.fixture
def node(wire: Pair) -> Node:
    """A namespace with an underlay, from which VXLANs are made."""
    return wire.a


def test_one_address_of_each_machine_that_was_met() -> None:
    """Of IPv4 if it has one; not those that every link has, nor groups."""
    known = {
        "fd66::2": "02:00:00:00:00:02",
        "10.66.0.2": "02:00:00:00:00:02",
        "fe80::2": "02:00:00:00:00:02",
        "fd66::3": "02:00:00:00:00:03",
        "ff02::1:ff00:2": "33:33:ff:00:00:02",
        "10.66.0.255": "ff:ff:ff:ff:ff:ff",
    }
    assert met_in(known) == ("10.66.0.2", "fd66::3")


def made(node: Node, mtu: int, *words: str) -> None:
    """A VXLAN interface named vx0 that is up and has an address."""
    node.run("ip", "link", "add", "vx0", "type", "vxlan", "id", "7", *words)
    node.run("ip", "address", "add", "10.66.0.1/24", "dev", "vx0")
    node.run("ip", "link", "set", "vx0", "mtu", str(mtu), "up")


def state(node: Node) -> OverlayState:
    """The overlay that the settings name."""
    with node.inside():
        found = asyncio.run(read_overlay(OverlaySettings(interface="vx0")))
    assert found is not None
    return found


def judged(node: Node) -> Result:
    """The one result of overlay.mtu."""

    async def run() -> Result:
        settings = Settings(overlay=OverlaySettings(interface="vx0"))
        net = Net(settings)
        try:
            context = Context(settings, (), await net.overlay(), net)
            results: list[Result] = [result async for result in overlay_mtu.function(context)]
            return results[0]
        finally:
            await net.control.aclose()

    with node.inside():
        return asyncio.run(run())


@pytest.mark.lab
def test_far_ends_are_those_of_the_forwarding_table(node: Node) -> None:
    """Each once, with the port of the interface; nothing is claimed about whose overlay address is where."""
    made(node, 1400, "dstport", "4790", "local", node.underlay)
    for mac, far_end in [("00:00:00:00:00:00", "10.203.1.2"), ("00:00:00:00:00:00", "10.203.1.3")]:
        node.run("bridge", "fdb", "append", mac, "dev", "vx0", "dst", far_end)
    node.run("bridge", "fdb", "append", "02:00:00:00:00:01", "dev", "vx0", "dst", "10.203.1.3")
    found = state(node)
    assert (found.product, found.overhead_bytes) == ("generic", 50)
    assert {peer.endpoint for peer in found.peers} == {"10.203.1.2:4790", "10.203.1.3:4790"}
    assert found.peer_for("10.66.0.2") is None
    assert {peer.key: peer.hardware for peer in found.peers} == {"10.203.1.2": (), "10.203.1.3": ("02:00:00:00:00:01",)}
    assert found.source == node.underlay


@pytest.mark.lab
@pytest.mark.parametrize(("mtu", "code", "remedy"), [(1450, None, None), (1451, "overlay.mtu-too-big", "mtu 1450")])
def test_the_mtu_of_a_vxlan_is_judged(mtu: int, code: str | None, remedy: str | None, node: Node) -> None:
    """50 bytes of header over IPv4: 1450 is the most over 1500, by `remote` as by the forwarding table."""
    made(node, mtu, "dstport", "4789", "remote", "10.203.1.2")
    result = judged(node)
    assert (str(result.code) if result.code else None) == code
    assert "50 bytes of tunnel header" in result.message
    assert remedy is None or remedy in (result.remedy or "")


@pytest.mark.lab
def test_a_multicast_group_is_no_far_end(node: Node) -> None:
    """Nobody can be routed to by it; the MTU is then not judged."""
    made(node, 1450, "dstport", "4789", "group", "239.1.1.1", "dev", "eth0")
    found = state(node)
    assert (found.peers, found.overhead_bytes) == ((), 50)
    assert judged(node).code is None


def test_a_vxlan_that_went_away_is_left_as_it_was() -> None:
    """An interface may disappear between two questions to the kernel."""
    before = state_of(GONE, "generic")
    assert asyncio.run(with_far_ends(before, GONE)) == before
