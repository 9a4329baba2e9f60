"""Which overlay is meant, and what happens to daemons that misbehave, read through real sockets."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from ipaddress import ip_interface, ip_network
from pathlib import Path

import pytest

from preflight.model.event import Event
from preflight.model.kernel import Link, Route
from preflight.model.overlay import PRIVILEGE, OverlayPeer, OverlayState
from preflight.overlay import local, wireguard
from preflight.overlay.links import outermost, state_of
from preflight.overlay.read import choose, found_by_route, leading, named, read_overlay, unclaimed
from preflight.settings.schema import OverlaySettings
from tests.kernel_says import into

LINK = Link(3, "wg0", 1420, up=True, carrier=True, kind="tun", addresses=(ip_interface("10.66.0.1/24"),))
WG0 = OverlayState(
    "wireguard", "wg0", up=True, mtu=1420, peers=(OverlayPeer("k", addresses=(ip_network("10.66.0.0/24"),)),)
)
WG1 = replace(WG0, interface="wg1", peers=(OverlayPeer("k", addresses=(ip_network("10.77.0.0/24"),)),))
STOPPED = OverlayState(product="tailscale", interface="tailscale0", up=False, mtu=None, condition="overlay.down")


@pytest.mark.parametrize(
    ("states", "peers", "chosen"),
    [
        ([], [], None),
        ([WG0, WG1], [], WG0),
        ([WG0, WG1], ["10.77.0.2"], WG1),
        ([WG0, WG1], ["10.77.0.2", "10.77.0.3", "10.66.0.2"], WG1),
        ([STOPPED, WG1], [], WG1),
        ([replace(WG0, up=False), WG1], [], WG1),
        ([replace(WG0, up=False), WG1], ["10.66.0.2"], replace(WG0, up=False)),
        ([STOPPED], ["10.66.0.2"], STOPPED),
    ],
)
def test_of_several_overlays(states: list[OverlayState], peers: list[str], chosen: OverlayState | None) -> None:
    """The one that holds the peers even when it is broken: that it is broken is the finding."""
    assert choose(states, peers) == chosen


def test_the_kernel_decides_between_overlays_that_do_not_tell() -> None:
    """An ordinary user reads no peers: the tunnel into which the kernel sends what is for them is the one."""
    hidden = [replace(each, peers=(), unreadable=PRIVILEGE) for each in (WG0, WG1)]
    assert choose(hidden, ["10.77.0.2"], {"10.77.0.2": into("10.77.0.2", "wg1")}) is hidden[1]


def test_a_daemon_whose_configuration_is_secret_has_the_tun_that_leads_to_the_peers() -> None:
    """An ordinary user may not read Nebula's configuration, which names its interface."""
    hidden = OverlayState("nebula", "nebula1", up=False, mtu=None, unreadable=PRIVILEGE, health=("may not be read",))
    mesh = replace(LINK, name="mesh7", index=9)
    routes = {"10.66.0.2": into("10.66.0.2", "mesh7")}
    (found,) = found_by_route([hidden], [LINK, mesh], routes)
    assert (found.product, found.interface, found.up, found.unreadable) == ("nebula", "mesh7", True, PRIVILEGE)
    assert found_by_route([WG0, hidden], [LINK], {"10.66.0.2": into("10.66.0.2", "wg0")}) == [WG0, hidden]
    assert found_by_route([hidden], [mesh], {"10.66.0.2": into("10.66.0.2", "eth0")}) == [hidden]


def test_without_a_route_the_only_tun_with_the_peers_network_is_it() -> None:
    """Where the routes are what is broken, none leads to the peers; of two devices none is taken."""
    hidden = OverlayState("nebula", "nebula1", up=False, mtu=None, unreadable=PRIVILEGE, health=("may not be read",))
    mesh, other = replace(LINK, name="mesh7"), replace(LINK, name="tun9", addresses=(ip_interface("10.9.0.1/24"),))
    (found,) = found_by_route([hidden], [mesh, other], {}, ["10.66.0.2"])
    assert found.interface == "mesh7"
    assert found_by_route([hidden], [mesh, replace(mesh, name="mesh8")], {}, ["10.66.0.2"]) == [hidden]


def test_a_tunnel_of_an_unknown_product_leads_to_the_peers() -> None:
    """The kernel says what an overlay is: a tunnel that is up is not absent, even if nobody can ask its daemon."""
    eth0 = replace(LINK, name="eth0", index=2, kind=None)
    (found,) = found_by_route([], [eth0, LINK], {"10.66.0.2": into("10.66.0.2", "wg0")})
    assert (found.product, found.interface, found.up) == ("generic", "wg0", True)
    assert found_by_route([], [eth0, LINK], {"10.66.0.2": into("10.66.0.2", "eth0")}) == []
    assert found_by_route([], [eth0, LINK], {}, ["10.66.0.2"]) == []


BESIDE = replace(LINK, name="vx0", kind="vxlan", addresses=(ip_interface("10.55.0.1/24"),))


@pytest.mark.parametrize(
    ("states", "route", "found"),
    [
        ([WG0], into("10.55.0.2", "vx0", "10.55.0.0/24"), ["vx0"]),
        # A route alone is enough where all others say whom they have.
        ([WG0], into("10.9.0.2", "vx0", "10.9.0.0/16"), ["vx0"]),
        ([replace(WG0, unreadable=PRIVILEGE)], into("10.9.0.2", "vx0", "10.9.0.0/16"), []),
        ([replace(WG0, unreadable=PRIVILEGE)], into("10.55.0.2", "vx0", "10.55.0.0/24"), ["vx0"]),
        # It is in the way of a product that has the peer; a way for all addresses leads to nobody.
        ([WG0], into("10.66.0.2", "vx0", "10.66.0.2/32"), []),
        ([WG0], into("10.9.0.2", "vx0", "0.0.0.0/0"), []),
        ([], into("10.55.0.2", "vx0", "10.55.0.0/24"), []),
    ],
)
def test_a_tunnel_beside_those_of_the_products(states: list[OverlayState], route: Route, found: list[str]) -> None:
    """A VXLAN next to a WireGuard tunnel was in the way of its own peers."""
    free = unclaimed(states, [LINK, BESIDE, replace(BESIDE, name="vx1", up=False)])
    assert [link.name for link in leading(free, states, {route.address: route})] == found


def test_an_uplink_that_is_a_vxlan_is_not_an_overlay() -> None:
    """Where the tunnel is gone, what was for its peers goes to the router of all other addresses."""
    uplink = replace(LINK, name="eth0", kind="vxlan", addresses=(ip_interface("10.201.1.2/24"),))
    away = replace(into("10.66.0.2", "eth0"), gateway="10.201.1.1")
    assert found_by_route([], [uplink], {"10.66.0.2": away}, ["10.66.0.2"]) == []
    mesh = replace(uplink, addresses=(ip_interface("10.66.0.1/24"),))
    for routes in ({"10.66.0.2": into("10.66.0.2", "eth0")}, {"10.9.0.2": replace(away, address="10.9.0.2")}):
        (found,) = found_by_route([], [mesh], routes, ["10.66.0.2", *routes])
        assert found.interface == "eth0"


def test_an_interface_that_the_settings_name_is_an_overlay() -> None:
    """What no product claims is read as the kernel reports it; what does not exist is absent."""
    vxlan = replace(LINK, name="vx7", kind="vxlan")
    generic = named("vx7", [WG0], [LINK, vxlan])
    assert generic is not None
    assert (generic.product, generic.up, generic.mtu) == ("generic", True, 1420)
    assert generic.claims("10.66.0.9") == 24
    assert named("wg0", [WG0], [LINK]) is WG0
    assert named("wg9", [WG0], [LINK]) is None


def test_the_loopback_interface_can_be_named() -> None:
    """The lab without root measures on lo, through the real kernel."""
    state = asyncio.run(read_overlay(OverlaySettings(interface="lo", prefixes=(ip_network("127.0.0.0/8"),))))
    assert state is not None
    assert (state.product, state.interface, state.up) == ("generic", "lo", True)
    assert state.prefixes == (ip_network("127.0.0.0/8"),)


def test_a_tun_without_process_is_a_dead_daemon() -> None:
    """A persistent tun stays up when its daemon dies; only the carrier shows it."""
    state = state_of(replace(LINK, carrier=False), "generic")
    assert (state.up, state.condition) == (False, "overlay.daemon-down")


def test_link_local_addresses_are_none_of_the_overlay_s() -> None:
    """The kernel gives every interface one; no peer is reached by it."""
    state = state_of(replace(LINK, addresses=(ip_interface("fe80::1/64"),)), "generic")
    assert (state.addresses, state.prefixes) == ((), ())


def test_outermost_networks() -> None:
    """A peer's host address inside the interface's network says nothing new."""
    networks = [
        ip_network(text) for text in ("10.66.0.2/32", "10.66.0.0/24", "fd66::/64", "10.66.0.0/24", "10.7.0.0/16")
    ]
    assert [str(network) for network in outermost(networks)] == ["10.66.0.0/24", "fd66::/64", "10.7.0.0/16"]


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def _hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def _babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"private_key=zzzz\nthis is no UAPI\n\n")
    await writer.drain()
    writer.close()


async def _close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


@pytest.mark.parametrize(
    ("handler", "condition", "said"),
    [
        (_hang, "overlay.daemon-down", "did not answer"),
        (_babble, None, "does not know"),
        (_close, None, "hung up"),
    ],
)
def test_a_wireguard_daemon_that_misbehaves(
    handler: Handler, condition: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hangs, it is another program, it hangs up: the interface's state stays, with the reason."""
    monkeypatch.setattr(wireguard, "SOCKETS", tmp_path)
    monkeypatch.setattr(local, "TIMEOUT_S", 0.2)

    async def read() -> list[OverlayState]:
        server = await asyncio.start_unix_server(handler, str(tmp_path / "wg0.sock"))
        try:
            return await wireguard.read([LINK])
        finally:
            server.close()

    (state,) = asyncio.run(read())
    assert (state.interface, state.mtu, state.condition) == ("wg0", 1420, condition)
    assert said in (state.unreadable or "")
    assert "zzzz" not in repr(state)


def test_a_socket_of_another_namespace_s_interface_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sockets' folder is shared by all namespaces; only interfaces that exist here count."""
    monkeypatch.setattr(wireguard, "SOCKETS", tmp_path)
    (tmp_path / "elsewhere.sock").touch()
    assert asyncio.run(wireguard.read([LINK])) == []


def test_each_product_is_reported_with_its_time_and_the_choice() -> None:
    """Why this overlay and no other, and which daemon kept the run waiting."""
    events: list[Event] = []
    asyncio.run(read_overlay(OverlaySettings(interface="lo"), (), events.append))
    products = {event.subject for event in events if event.name in ("product-read", "product-absent")}
    assert products == {"wireguard", "tailscale", "zerotier", "nebula", "openvpn"}
    assert (events[-1].name, events[-1].fields["product"], events[-1].fields["named"]) == (
        "overlay-chosen",
        "generic",
        "lo",
    )


UPLINK = Link(2, "eth0", 1500, up=True, carrier=True, addresses=(ip_interface("192.0.2.10/24"),))
VXLAN = replace(LINK, name="mesh0", kind="vxlan")


@pytest.mark.parametrize(
    ("links", "found"),
    [
        ([UPLINK, LINK], ["wg0"]),
        ([UPLINK, VXLAN], ["mesh0"]),
        # Which of two is meant nobody knows; one without an address carries nothing of this node.
        ([UPLINK, LINK, VXLAN], []),
        ([UPLINK, LINK, replace(VXLAN, up=False)], ["wg0"]),
        ([UPLINK, replace(LINK, addresses=(ip_interface("fe80::1/64"),))], []),
        # A cluster's device for its containers, and a node whose uplink is a VXLAN.
        ([UPLINK, replace(VXLAN, addresses=(ip_interface("10.244.0.0/32"),))], []),
        ([VXLAN], []),
    ],
)
def test_the_only_tunnel_of_a_node_before_a_peer_is_known(links: list[Link], found: list[str]) -> None:
    """What `init` finds of OpenVPN, of VXLAN, and of products that are not known here."""
    assert [state.interface for state in found_by_route([], links, {})] == found


def test_a_way_to_the_internet_is_not_the_overlay_that_is_meant() -> None:
    """A second VPN has one peer for all addresses; the overlay has members."""
    exits = replace(WG0, interface="vpn0", peers=(OverlayPeer("k", addresses=(ip_network("0.0.0.0/0"),)),))
    mesh = replace(WG0, peers=(OverlayPeer("k", addresses=(ip_network("10.66.0.2/32"),)),))
    assert choose([exits, mesh], []) is mesh
    assert choose([exits], []) is exits
