"""Where an address leads."""

from ipaddress import ip_interface, ip_network

import pytest

from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.model.remedy import as_text
from preflight.proto.control.placement import overlay_text, overlay_twin, placement, set_url, wanted_inside
from preflight.proto.control.url import ControlUrl, parse_control_url

OVERLAY = OverlayState(
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
BARE = OverlayState(product="wireguard", interface="wg0", up=True, mtu=1420)


@pytest.mark.parametrize(
    ("address", "overlay", "expected"),
    [
        ("127.0.0.1", OVERLAY, "loopback"),
        ("::1", None, "loopback"),
        ("10.66.0.9", OVERLAY, "overlay"),
        ("fd66::9", OVERLAY, "overlay"),
        ("192.168.1.9", OVERLAY, "off"),
        ("192.168.1.9", None, "unknown"),
        ("192.168.1.9", BARE, "unknown"),
    ],
)
def test_placement(address: str, overlay: OverlayState | None, expected: str) -> None:
    """Off the overlay is said only where the overlay is known: anything else would be a guess."""
    assert placement(address, overlay) == expected


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
    assert overlay_twin(parsed, OVERLAY) == twin
    assert overlay_twin(parsed, None) is None


@pytest.mark.parametrize(
    ("addresses", "place"),
    [
        (["192.0.2.9", "10.66.0.2"], "https://10.66.0.2:9847"),
        (["192.0.2.9", "192.0.2.2"], "https://10.66.0.2:9847"),
        (["2001:db8::3"], "'https://[fd66::3]:9847'"),
        (["192.0.2.9"], "https://OVERLAY-ADDRESS:9847   # the control host's address: run ip -brief address there"),
    ],
)
def test_the_way_in_by_any_of_a_names_addresses(addresses: list[str], place: str) -> None:
    """The line is whole where the overlay gives the address, and says where to look it up where it does not."""
    remedies = wanted_inside(ControlUrl("https", "control.example", 9847), addresses, OVERLAY)
    assert as_text(remedies) == f"export VOX_ORCHESTRATOR_MESH_CONTROL_URL={place}"


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
