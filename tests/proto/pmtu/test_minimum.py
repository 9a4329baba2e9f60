"""What a tunnel must carry."""

from ipaddress import ip_interface, ip_network

import pytest

from preflight.model.overlay import PRIVILEGE, ConfiguredTunnel, OverlayPeer, OverlayState
from preflight.proto.pmtu.minimum import carries_ipv6, least_mtu

V4 = (ip_interface("10.66.0.1/24"),)
BOTH = (*V4, ip_interface("fd66::1/64"))
PEER4 = OverlayPeer("k", addresses=(ip_network("10.66.0.2/32"),))
PEER6 = OverlayPeer("k", addresses=(ip_network("fd66::2/128"),))
FILE = ConfiguredTunnel("/etc/wireguard/wg0.conf", addresses=BOTH)


@pytest.mark.parametrize(
    ("state", "members", "known"),
    [
        (OverlayState("wireguard", "wg0", True, 1420, addresses=BOTH), [], True),
        (OverlayState("wireguard", "wg0", True, 1200, addresses=V4, peers=(PEER6,)), [], True),
        (OverlayState("wireguard", "wg0", True, 1200, addresses=V4, configured=FILE), [], True),
        (OverlayState("generic", "tun0", True, 1200, addresses=V4), ["fd66::2"], True),
        (OverlayState("wireguard", "wg0", True, 1200, addresses=V4, peers=(PEER4,)), ["10.66.0.2"], False),
        (OverlayState("generic", "tun0", True, 1300, addresses=V4), [], False),
        (OverlayState("nebula", "n0", True, 1200, addresses=V4, prefixes=(ip_network("10.66.0.0/24"),)), [], False),
        # Linux takes IPv6 off such an interface, so it may have had some.
        (OverlayState("generic", "tun0", True, 1200, addresses=V4), [], None),
        (OverlayState("wireguard", "wg0", True, 1200, addresses=V4, unreadable=PRIVILEGE), [], None),
    ],
)
def test_ipv6_inside(state: OverlayState, members: list[str], known: bool | None) -> None:
    """Peers, file and members show what an interface below 1280 bytes no longer shows."""
    assert carries_ipv6(state, members) is known


@pytest.mark.parametrize(
    ("ipv6", "fits", "least"),
    [(True, True, 1280), (True, False, 1280), (False, True, 576), (False, False, 576), (None, False, 1280)],
)
def test_the_least(ipv6: bool | None, fits: bool, least: int) -> None:
    """IPv6 needs 1280; where it is not known, a path that carries less than its interface is still reported."""
    assert least_mtu(1280, ipv6, fits=fits) == least


def test_a_small_interface_is_left_to_the_check_of_interfaces() -> None:
    """Protects a healthy overlay of IPv4 over links of 1280 bytes from an alarm about its path."""
    assert least_mtu(1280, None, fits=True) == 576
