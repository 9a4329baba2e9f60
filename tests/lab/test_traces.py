"""What traces show in real overlays: the sign of a leak, and hops of the overlay that do not show one."""

import asyncio
from collections.abc import Callable

import pytest
from preflight_checks.reach_traceroute import judge

from preflight.api import Peer, Result
from preflight.lab.network import Network, inside
from preflight.lab.processes import run
from preflight.lab.topology import Family, gateway_address, overlay_address
from preflight.model.icmp import Trace
from preflight.model.kernel import Link
from preflight.model.overlay import OverlayState
from preflight.net import Net
from preflight.net.icmp.traceroute import trace
from preflight.net.kernel import Kernel
from preflight.overlay.links import state_of
from preflight.settings.load import Settings

pytestmark = pytest.mark.lab

Build = Callable[[str], Network]


def seen_from_a(network: Network, address: str) -> tuple[Trace, Result]:
    """The trace from a, and what the check makes of it."""

    async def look() -> tuple[Trace, tuple[Link, ...]]:
        return await trace(address), await Kernel().links()

    with inside(network.names.namespace("a")):
        found, links = asyncio.run(look())
    tunnel = next(link for link in links if link.name == network.names.tunnel("a"))
    state: OverlayState = state_of(tunnel, "wireguard")
    return found, judge(Peer(address, "b"), state, found, links)


@pytest.mark.parametrize("family", [4, 6])
def test_the_router_of_the_underlay_is_a_leak(network: Build, family: Family) -> None:
    """Protects the sign of a leak: with the route leaking, the first hop is a's gateway, and it comes in by eth0."""
    found, result = seen_from_a(network("route-leak"), overlay_address("b", family))
    assert found.hops[0].interface == "eth0"
    assert not found.reached
    assert str(result.code) == "overlay.route-leak"
    assert f"is {found.hops[0].address}, which is on eth0" in result.message


@pytest.mark.parametrize(("scenario", "routers"), [("pair", []), ("hub", ["c"])])
@pytest.mark.parametrize("family", [4, 6])
def test_hops_of_the_overlay_are_none(network: Build, scenario: str, routers: list[str], family: Family) -> None:
    """Protects mesh and hub: the hub is a hop of the overlay, and its answer comes through the tunnel."""
    made = network(scenario)
    found, result = seen_from_a(made, overlay_address("b", family))
    assert [hop.address for hop in found.hops] == [overlay_address(node, family) for node in (*routers, "b")]
    assert {hop.interface for hop in found.hops} == {made.names.tunnel("a")}
    assert result.code is None


def test_a_hub_that_answers_from_another_address_is_no_leak(network: Build) -> None:
    """Protects hubs whose routers show their own addresses: the answer still comes in by the tunnel."""
    made = network("hub")
    made.wg(
        "a", "set", made.names.tunnel("a"), "peer", made.keys["c"].public, "allowed-ips", "10.66.0.0/24,192.0.2.0/24"
    )
    run(made.command("c", "ip", "address", "add", "192.0.2.77/32", "dev", "lo"))
    run(made.command("c", *f"ip route replace 10.66.0.0/24 dev {made.names.tunnel('c')} src 192.0.2.77".split()))
    found, result = seen_from_a(made, "10.66.0.2")
    assert [hop.address for hop in found.hops] == ["192.0.2.77", "10.66.0.2"]
    assert result.code is None


@pytest.mark.parametrize("family", [4, 6])
def test_a_session_tells_who_answered_it_from_outside(network: Build, family: Family) -> None:
    """Protects the other sign: routers limit their ICMP errors, so that a trace may come too late for one."""
    made, address = network("route-leak"), overlay_address("b", family)
    with inside(made.names.namespace("a")):
        stats = asyncio.run(Net(Settings()).path.stamp(Peer(address, "b"), count=3, interval_s=0.05, timeout_s=0.2))
    assert stats.answered == 0
    assert stats.icmp_from == {gateway_address("a", family): "eth0"}
