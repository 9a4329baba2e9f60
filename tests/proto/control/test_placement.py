"""Where an address leads."""

from dataclasses import replace
from ipaddress import ip_interface, ip_network

import pytest

from preflight.model.complaint import Complaint
from preflight.model.kernel import Route
from preflight.model.overlay import PRIVILEGE, OverlayPeer, OverlayState
from preflight.model.remedy import as_text
from preflight.model.worker_fixes import WorkersLine
from preflight.proto.control.placement import (
    host_inside,
    inside,
    lead_inside,
    leak,
    meant_places,
    of_one_member,
    outside_of,
    overlay_text,
    placement,
    set_url,
)
from preflight.proto.control.url import ControlUrl, parse_control_url
from tests.kernel_says import into, routed

TUNNEL = OverlayState(
    product="wireguard",
    interface="wg0",
    up=True,
    mtu=1420,
    addresses=(ip_interface("10.66.0.1/24"), ip_interface("fd66::1/64")),
    peers=(
        OverlayPeer("k2", "192.0.2.2:51820", (ip_network("10.66.0.2/32"),)),
        OverlayPeer("k3", "[2001:db8::3]:51820", (ip_network("fd66::3/128"), ip_network("192.168.7.0/24"))),
    ),
)
OVERLAY = routed(
    TUNNEL,
    inside=["10.66.0.2", "fd66::3", "10.66.0.9", "192.168.7.5"],
    outside=["192.168.1.9", "192.168.7.6", "2001:db8::9"],
)
REFUSED = replace(TUNNEL, routes={"10.66.0.2": Route("10.66.0.2", error="Network is unreachable")})
FULL = replace(
    TUNNEL,
    addresses=(ip_interface("10.66.0.1/32"),),
    peers=(*TUNNEL.peers, OverlayPeer("exit", addresses=(ip_network("0.0.0.0/0"),))),
    routes={
        address: into(address, "wg0", "0.0.0.0/0") for address in ("10.66.0.2", "10.0.0.9", "8.8.8.8", "192.168.7.5")
    },
)
OPENVPN = OverlayState(
    product="generic",
    interface="tun0",
    up=True,
    mtu=1300,
    addresses=(ip_interface("10.66.0.1/24"),),
    routes={
        "192.168.77.2": into("192.168.77.2", "tun0", "192.168.77.0/24"),
        "192.168.78.2": into("192.168.78.2", "tun0", "128.0.0.0/1"),
        "8.8.8.8": into("8.8.8.8", "tun0", "0.0.0.0/1"),
        "10.66.0.3": into("10.66.0.3", "eth0", "10.66.0.3/32"),
    },
)
UNREADABLE = replace(OPENVPN, product="wireguard", unreadable=PRIVILEGE)
NOT_ASKED = TUNNEL


@pytest.mark.parametrize(
    ("address", "overlay", "expected"),
    [
        ("127.0.0.1", OVERLAY, "loopback"),
        ("::1", None, "loopback"),
        ("10.66.0.2", OVERLAY, "overlay"),
        ("fd66::3", OVERLAY, "overlay"),
        ("10.66.0.1", OVERLAY, "overlay"),
        ("192.168.7.5", OVERLAY, "overlay"),
        ("10.66.0.9", OVERLAY, "unowned"),
        ("192.168.7.6", OVERLAY, "leak"),
        ("192.168.1.9", OVERLAY, "off"),
        ("2001:db8::9", OVERLAY, "off"),
        ("10.66.0.2", REFUSED, "refused"),
        ("192.168.1.9", None, "unknown"),
        ("10.66.0.2", NOT_ASKED, "unknown"),
        # A full tunnel: all that is private is inside, and the Internet is not the overlay.
        ("10.66.0.2", FULL, "overlay"),
        ("10.0.0.9", FULL, "overlay"),
        ("192.168.7.5", FULL, "overlay"),
        ("8.8.8.8", FULL, "off"),
        # Of a product that does not tell who owns what, the kernel alone decides.
        ("192.168.77.2", OPENVPN, "overlay"),
        ("192.168.78.2", OPENVPN, "overlay"),
        ("8.8.8.8", OPENVPN, "off"),
        ("10.66.0.3", OPENVPN, "leak"),
        ("192.168.77.2", UNREADABLE, "overlay"),
    ],
)
def test_placement(address: str, overlay: OverlayState | None, expected: str) -> None:
    """The kernel's way and the peers' addresses decide; without an answer of the kernel anything would be a guess."""
    assert placement(address, overlay) == expected


def test_another_owners_tunnel_is_not_the_overlay() -> None:
    """A bearer must not go in clear to the far side of an office's VPN, but it may to the host where a tunnel ends."""
    office = OverlayState(
        "wireguard",
        "vpn0",
        up=True,
        mtu=1420,
        addresses=(ip_interface("10.99.0.2/24"),),
        peers=(
            OverlayPeer("office", addresses=(ip_network("172.20.0.0/16"), ip_network("0.0.0.0/0"))),
            OverlayPeer("end", addresses=(ip_network("172.21.0.1/32"),)),
        ),
    )
    ways = ("172.20.0.1", "10.0.0.9", "172.21.0.1", "10.66.0.2")
    both = replace(TUNNEL, further=(office,), routes={address: into(address, "vpn0") for address in ways})
    assert [placement(address, both) for address in ways] == ["off", "off", "overlay", "leak"]


def test_one_tunnel_for_each_peer() -> None:
    """They share this node's address, so each is part of the overlay, and each peer belongs to the one that owns it."""
    b, c = (
        OverlayPeer("b", addresses=(ip_network("10.66.0.2/32"),)),
        OverlayPeer("c", "192.0.2.3:51820", addresses=(ip_network("10.66.0.3/32"), ip_network("192.168.77.0/24"))),
    )
    own = (ip_interface("10.66.0.1/32"),)
    to_c = OverlayState("wireguard", "wg-c", up=True, mtu=1420, addresses=own, peers=(c,))
    state = OverlayState("wireguard", "wg-b", up=True, mtu=1420, addresses=own, peers=(b,), further=(to_c,))
    ways = {"10.66.0.2": "wg-b", "10.66.0.3": "wg-c", "192.168.77.2": "wg-c", "192.0.2.3": "eth0"}
    state = replace(state, routes={address: into(address, name) for address, name in ways.items()})
    assert [placement(address, state) for address in ways] == ["overlay", "overlay", "overlay", "off"]
    assert state.tunnel_for("192.168.77.2") is to_c
    assert host_inside(["192.0.2.3"], state) == "10.66.0.3"


def test_a_lan_behind_a_member_that_a_narrower_route_hides() -> None:
    """Protects the remedy on a product that does not list what is behind its members: it names the member."""
    address = "192.168.77.2"
    state = routed(OverlayState("generic", "tun0", up=True, mtu=1500), outside=[address])
    assert placement(address, state) == "off"
    under = Route(address, "tun0", gateway="10.66.0.3", matched=ip_network("192.168.77.0/24"))
    state = replace(state, hidden={address: under})
    assert placement(address, state) == "leak"
    message, (remedy,) = leak(address, state)
    assert "192.168.77.0/24 leads there by tun0" in message
    assert remedy.lines == ("ip route replace 192.168.77.2/32 via 10.66.0.3 dev tun0",)


@pytest.mark.parametrize(
    ("address", "router", "place"),
    [("10.66.0.9", "192.0.2.1", "leak"), ("10.66.0.9", None, "off"), ("10.67.0.9", "192.0.2.1", "off")],
    ids=["next-to-it", "own-link", "elsewhere"],
)
def test_an_address_that_a_route_takes_out_of_a_full_tunnel(address: str, router: str | None, place: str) -> None:
    """Such a tunnel has it only as a part of everything; the fix is a route into the tunnel, and not another URL."""
    outside = replace(into(address, "eth0"), gateway=router)
    state = replace(FULL, routes={address: outside})
    assert placement(address, state) == place
    message, remedies = leak(address, state)
    assert f"does not go through wg0, which has that address: {address}" in message
    assert str(as_text(remedies)).startswith(f"ip route replace {address}/32 dev wg0")


def test_a_subnet_that_this_node_does_not_take() -> None:
    """Protects a bearer from a stranger: a peer announces the subnet, and the kernel sends to a host of the LAN."""
    said = Complaint("overlay.routes-not-accepted", "some peers are advertising routes")
    peer = OverlayPeer("nb", addresses=(ip_network("100.64.0.2/32"), ip_network("10.50.0.0/24")))
    state = OverlayState("tailscale", "tailscale0", up=True, mtu=1280, peers=(peer,), complaints=(said,))
    state = routed(state, outside=["10.50.0.7"])
    assert placement("10.50.0.7", state) == "leak"
    message, remedies = leak("10.50.0.7", state)
    assert "does not go through tailscale0" in message
    assert as_text(remedies) == "tailscale set --accept-routes"


@pytest.mark.parametrize(
    ("url", "twin"),
    [
        ("http://192.0.2.2:9847", "http://10.66.0.2:9847"),
        ("https://[2001:db8::3]:9847/p", "https://[fd66::3]:9847/p"),
        ("http://192.0.2.9:9847", None),
    ],
)
def test_the_same_node_by_its_overlay_address(url: str, twin: str | None) -> None:
    """A tunnel's endpoint shows which peer has a LAN address, so the advice can be pasted."""
    parsed = parse_control_url(url)
    assert isinstance(parsed, ControlUrl)
    found = inside(parsed, [parsed.host], OVERLAY)
    assert (str(found) if found else None) == twin
    assert inside(parsed, [parsed.host], None) is None


@pytest.mark.parametrize(
    ("addresses", "place"),
    [
        (["192.0.2.9", "10.66.0.2"], "https://10.66.0.2:9847"),
        (["192.0.2.9", "192.0.2.2"], "https://10.66.0.2:9847"),
        (["2001:db8::3"], "https://[fd66::3]:9847"),
        (["192.0.2.9"], None),
    ],
)
def test_the_way_in_by_any_of_a_names_addresses(addresses: list[str], place: str | None) -> None:
    """One of the name's own addresses, or that of the peer whose tunnel ends at one of them."""
    found = inside(ControlUrl("https", "control.example", 9847), addresses, OVERLAY)
    assert (str(found) if found else None) == place


def test_a_way_in_is_a_fix_only_where_a_control_plane_answers() -> None:
    """Protects from a fix that heals nothing: a control plane may listen on its LAN address alone."""
    url, twin = ControlUrl("http", "192.0.2.2", 9847), ControlUrl("http", "10.66.0.2", 9847)
    line = "export VOX_ORCHESTRATOR_MESH_CONTROL_URL=http://10.66.0.2:9847"
    (fix,) = lead_inside(url, twin, OVERLAY, None, lives=True)
    assert (fix.kind, fix.lines) == ("fix", (line,))
    there, here = lead_inside(url, twin, OVERLAY, None, lives=False)
    assert (there.kind, there.where, here.kind, here.lines) == ("next", "control host", "next", (line,))
    assert "No control plane answers at http://10.66.0.2:9847" in there.lines[0]
    assert "http://ADDRESS-IN-10.66.0.0/24:9847" in str(as_text(lead_inside(url, None, OVERLAY, None, lives=False)))
    alone = replace(OVERLAY, addresses=(ip_interface("10.66.0.1/32"),))
    for unknown in (None, alone):
        assert "http://OVERLAY-ADDRESS:9847" in str(as_text(lead_inside(url, None, unknown, None, lives=False)))


def test_the_overlays_text() -> None:
    """Interface and prefixes, as a message names them."""
    assert overlay_text(OVERLAY) == "wg0 (10.66.0.0/24, fd66::/64)"


@pytest.mark.parametrize(
    ("source", "line"),
    [
        (None, "export VOX_ORCHESTRATOR_MESH_CONTROL_URL=http://10.66.0.3:9847"),
        ("PREFLIGHT_CONTROL_URL", "export PREFLIGHT_CONTROL_URL=http://10.66.0.3:9847"),
        ("--control-url", "preflight all --control-url http://10.66.0.3:9847"),
        ("/etc/preflight.yaml", 'control: {url: "http://10.66.0.3:9847"}   # in /etc/preflight.yaml'),
        ("preflight.yaml", 'control: {url: "http://10.66.0.3:9847"}   # in preflight.yaml'),
    ],
)
def test_a_url_is_changed_where_it_comes_from(source: str | None, line: str) -> None:
    """Protects from a line that changes nothing, because a stronger source still has the wrong URL."""
    (remedy,) = set_url("http://10.66.0.3:9847", source)
    assert (remedy.kind, remedy.lines) == ("fix", (line,))
    assert (remedy.fix is None) is (source in ("--control-url", "preflight.yaml"))


@pytest.mark.parametrize(
    ("url", "address", "places"),
    [
        ("http://10.66.0.2:80", "10.66.0.2", ["http://10.66.0.2:9847"]),
        ("http://10.66.0.2:9847", "10.66.0.2", []),
        ("https://localhost:9847", "::1", ["https://10.66.0.2:9847", "https://[fd66::3]:9847"]),
    ],
)
def test_where_a_control_plane_may_be_meant(url: str, address: str, places: list[str]) -> None:
    """At its usual port; a loopback address was copied from the control host, which is a member."""
    parsed = parse_control_url(url)
    assert isinstance(parsed, ControlUrl)
    assert [str(place) for place in meant_places(parsed, address, OVERLAY)] == places


@pytest.mark.parametrize(
    ("hosts", "first"),
    [
        (["fd66::3", "192.168.7.5"], "fd66::3"),
        (["10.66.0.2", "fd66::3"], None),
        (["10.66.0.9"], "10.66.0.9"),
        (["10.66.0.9", "10.66.0.8"], None),
        (["control.mesh.test"], "control.mesh.test"),
        (["control.mesh.test", "fd66::3"], None),
        ([], None),
    ],
)
def test_a_control_plane_may_answer_at_several_addresses_of_one_member(hosts: list[str], first: str | None) -> None:
    """Protects the fix where it listens on both families; two members are two control planes, so none is chosen."""
    url = parse_control_url("http://10.66.0.2:9847")
    assert isinstance(url, ControlUrl)
    found = of_one_member([url.at(host) for host in hosts], OVERLAY)
    assert (found.host if found else None) == first


def test_a_value_in_a_file_of_the_workers_is_changed_there() -> None:
    """It is not the settings file, and each file has its own name for it."""
    (line,) = set_url("http://10.66.0.3:9847", "VOX_MESH_CONTROL_ADDR in /home/u/.vox/populi/mesh.env")
    assert line.fix == WorkersLine(
        file="/home/u/.vox/populi/mesh.env", name="VOX_MESH_CONTROL_ADDR", value="http://10.66.0.3:9847"
    )
    (line,) = set_url("http://10.66.0.3:9847", "mesh.control_url in /srv/Vox.toml")
    assert line.lines == ('mesh.control_url = "http://10.66.0.3:9847"   # in /srv/Vox.toml',)


@pytest.mark.parametrize(
    ("endpoint", "scheme", "outer"),
    [
        ("192.0.2.3:51820", "http", "http://192.0.2.3:9847"),
        ("[2001:db8::3]:51820", "http", "http://[2001:db8::3]:9847"),
        ("192.0.2.3:51820", "https", None),
        (None, "http", None),
        ("127.0.0.1:1", "http", None),
        ("a name:1", "http", None),
    ],
)
def test_the_same_server_outside_the_overlay(endpoint: str | None, scheme: str, outer: str | None) -> None:
    """Where it may listen instead; a certificate says nothing about that address, so TLS is not tried there."""
    peer = OverlayPeer("k", endpoint, (ip_network("10.66.0.3/32"),))
    state = OverlayState(product="wireguard", interface="wg0", up=True, mtu=1420, peers=(peer,))
    overlay = routed(state, inside=["10.66.0.3"], outside=[])
    url = ControlUrl("https" if scheme == "https" else "http", "10.66.0.3", 9847)
    found = outside_of(url, "10.66.0.3", overlay)
    assert (str(found) if found else None) == outer
    assert outside_of(url, "10.66.0.3", None) is None
