"""How this node's own connections leave, by real rules of routing and of the firewall in a namespace."""

import asyncio
import os
from collections.abc import Iterator

import pytest

from preflight.model.kernel import Route
from preflight.net.flow_routes import KEPT_S, FlowRoutes
from preflight.net.kernel import Kernel

from .conftest import DEVICE, PEER, Namespace

pytestmark = [pytest.mark.lab]
PORT = 9847
ADDRESS = PEER[4]
LAN = "lan0"
INWARD, OUTWARD = 7, 8


@pytest.fixture
def two(namespace: Namespace) -> Iterator[Namespace]:
    """A tunnel and an uplink. Of two marks one leads to the peer through the tunnel, and one past it."""
    namespace.run("ip", "link", "add", LAN, "type", "veth", "peer", "name", "lan1")
    for device in (LAN, "lan1"):
        namespace.run("ip", "link", "set", device, "up")
    namespace.run("ip", "address", "add", "192.0.2.1/24", "dev", LAN)
    for mark, device in ((INWARD, DEVICE), (OUTWARD, LAN)):
        namespace.run("ip", "rule", "add", "fwmark", str(mark), "lookup", str(mark), "priority", "90")
        namespace.run("ip", "route", "add", f"{ADDRESS}/32", "dev", device, "table", str(mark))
    yield namespace
    namespace.run("ip", "link", "del", LAN)


def marking(namespace: Namespace, mark: int, what: str = f"ip daddr {ADDRESS}") -> None:
    """A rule that marks what this node sends."""
    namespace.nft(
        f"table inet marks {{}}; delete table inet marks; table inet marks {{ chain output {{ "
        f"type route hook output priority mangle; {what} meta mark set {mark}; }}; }}"
    )


def asked(port: int = PORT) -> Route:
    """The route of a connection there."""
    routes = FlowRoutes(Kernel())
    try:
        return asyncio.run(routes.routes_to([ADDRESS], port))[ADDRESS]
    finally:
        asyncio.run(routes.aclose())


def test_a_mark_leads_past_the_tunnel(two: Namespace) -> None:
    """Protects a bearer: without the mark the kernel would say that it goes into the tunnel."""
    marking(two, OUTWARD)
    route = asked()
    assert (route.interface, route.mark, route.doubt) == (LAN, OUTWARD, None)
    assert asyncio.run(Kernel().route_to(ADDRESS)).interface == DEVICE


def test_only_a_mark_leads_into_the_tunnel(two: Namespace) -> None:
    """Protects who sends to the overlay by marks from a leak that is not one."""
    two.run("ip", "route", "replace", f"{ADDRESS}/32", "dev", LAN)
    marking(two, INWARD)
    assert (asked().interface, asked().mark) == (DEVICE, INWARD)


def test_only_the_flows_that_a_rule_means(two: Namespace) -> None:
    """A rule for another port, or for UDP, changes nothing for a connection to this one."""
    marking(two, OUTWARD, f"tcp dport {PORT}")
    assert (asked().interface, asked(PORT + 1).interface) == (LAN, DEVICE)
    marking(two, OUTWARD, f"udp dport {PORT}")
    assert (asked().interface, asked().mark) == (DEVICE, 0)


def test_wg_quick_s_own_mark_leads_past_its_table(two: Namespace) -> None:
    """What a firewall gives the tunnel's own mark leaves outside, as the tunnel's packets do."""
    two.run("ip", "route", "replace", f"{ADDRESS}/32", "dev", LAN)
    two.run("ip", "route", "add", "default", "dev", DEVICE, "table", "51820")
    two.run("ip", "rule", "add", "not", "fwmark", "51820", "lookup", "51820", "priority", "95")
    assert asked().interface == DEVICE
    marking(two, 51820)
    assert (asked().interface, asked().mark) == (LAN, 51820)


def test_a_rule_of_routing_for_a_port(two: Namespace) -> None:
    """The kernel may choose by protocol and port, and a question about an address alone does not show it."""
    rule = ["ipproto", "tcp", "dport", str(PORT), "lookup", str(OUTWARD), "priority", "80"]
    two.run("ip", "rule", "add", *rule)
    assert (asked().interface, asked(PORT + 1).interface) == (LAN, DEVICE)


def test_who_may_not_read_the_firewall_has_a_doubt(two: Namespace) -> None:
    """An ordinary user reads which rule may decide, and where to; nothing is guessed."""
    two.run("ip", "route", "replace", f"{ADDRESS}/32", "dev", LAN)
    two.run("ip", "rule", "del", "fwmark", str(OUTWARD))
    asked()  # what it imports only root may read
    os.seteuid(65534)
    try:
        route = asked()
    finally:
        os.seteuid(0)
    assert (route.interface, route.mark) == (LAN, 0)
    assert route.doubt is not None
    assert route.doubt.interface == DEVICE
    assert "`90: fwmark 0x7 lookup 7` sends packets with its mark into wg0, and only root" in str(route.doubt)


def test_a_rule_of_the_firewall_is_seen_when_it_comes(two: Namespace) -> None:
    """Nobody reports each change of the firewall, so what it does is not remembered for longer than a second."""
    now = [100.0]
    routes = FlowRoutes(Kernel(), now=lambda: now[0])

    async def run() -> list[str | None]:
        said = [(await routes.routes_to([ADDRESS], PORT))[ADDRESS].interface]
        marking(two, OUTWARD)
        now[0] += KEPT_S
        return [*said, (await routes.routes_to([ADDRESS], PORT))[ADDRESS].interface]

    assert asyncio.run(run()) == [DEVICE, LAN]
    asyncio.run(routes.aclose())
