"""overlay.mtu: tunnel packets against the interface under them."""

from ipaddress import ip_interface
from typing import Any

import pytest
from preflight_checks.overlay_mtu import Underlay, judge, needed, widest

from preflight.api import Status
from preflight.model.kernel import Link
from preflight.model.overlay import ConfiguredTunnel, OverlayState

V4 = Underlay("203.0.113.1", "eth0", 1500)
V6 = Underlay("2001:db8::1", "eth0", 1500)


def tunnel(mtu: int, **more: Any) -> OverlayState:
    """A WireGuard tunnel of that MTU."""
    return OverlayState(
        **{"product": "wireguard", "interface": "wg0", "up": True, "overhead_bytes": 60, "mtu": mtu, **more}
    )


def test_a_smaller_mtu_than_the_file_has_gets_that_of_the_file() -> None:
    """Protects a file that is right from being changed to the least that is enough."""
    lost = ip_interface("fd66::1/64")
    state = tunnel(1200, configured=ConfiguredTunnel("/etc/wireguard/wg0.conf", mtu=1420, addresses=(lost,)))
    remedy = judge(state, [V4], 1280).remedy or ""
    assert "ip link set dev wg0 mtu 1420" in remedy
    assert "fd66::1/64" in remedy.partition("mtu 1420")[2], "Linux takes it back at the larger MTU only"


@pytest.mark.parametrize(
    ("mtu", "underlays", "code", "remedy"),
    [
        (1420, [V4], None, None),
        (1440, [V4], None, None),
        (1441, [V4], "overlay.mtu-too-big", "ip link set dev wg0 mtu 1420"),
        (1420, [V6], None, None),
        (1421, [V6], "overlay.mtu-too-big", "ip link set dev wg0 mtu 1420"),
        (1500, [V4], "overlay.mtu-too-big", "MTU = 1420"),
        (1420, [V4, Underlay("198.51.100.7", "ppp0", 1400)], "overlay.mtu-too-big", "mtu 1320"),
        (1420, [Underlay("192.0.2.1", "eth1", 9000), V4], None, None),
        (
            1420,
            [Underlay("192.0.2.1", "ppp0", 1300)],
            "overlay.mtu-too-big",
            "Make ppp0 and the path behind it carry 1340",
        ),
        (1279, [V4], "overlay.mtu-too-small", "ip link set dev wg0 mtu 1280"),
        (1280, [], None, None),
    ],
)
def test_sizes(mtu: int, underlays: list[Underlay], code: str | None, remedy: str | None) -> None:
    """The tightest endpoint decides, an IPv6 underlay costs 20 bytes more, and the advice is what fits exactly."""
    result = judge(tunnel(mtu), underlays, 1280)
    assert (str(result.code) if result.code else None) == code
    assert remedy is None or remedy in (result.remedy or "")


@pytest.mark.parametrize(
    ("overhead", "underlays", "ipv6", "least"),
    [
        (60, [V4], True, 1280),
        (60, [V4], False, 576),
        (60, [V4], None, 1280),
        (60, [Underlay("203.0.113.1", "ppp0", 1300)], None, 576),
        # Who may not read the endpoints does not know what the packets pass: behind a home router it may be small.
        (60, [], None, 576),
        (60, [Underlay("", "eth0", 1500)], None, 576),
        (None, [V4], None, 576),
    ],
)
def test_a_small_tunnel_is_wrong_where_ipv6_would_fit(
    overhead: int | None, underlays: list[Underlay], ipv6: bool | None, least: int
) -> None:
    """Protects a healthy overlay of IPv4 over small links from an alarm about IPv6 that nobody saw."""
    assert needed(1280, tunnel(1200, overhead_bytes=overhead), underlays, ipv6) == least


ETH0 = Link(2, "eth0", 1500, up=True, carrier=True, addresses=(ip_interface("192.0.2.2/24"),))
LOOPBACK = Link(1, "lo", 65536, up=True, carrier=True, loopback=True, addresses=(ip_interface("127.0.0.1/8"),))
WG0 = Link(4, "wg0", 9000, up=True, carrier=True, addresses=(ip_interface("10.66.0.1/24"),))


@pytest.mark.parametrize(
    ("mtu", "others", "code"),
    [
        (1500, [ETH0], "overlay.mtu-too-big"),
        (1440, [ETH0], None),
        (1500, [ETH0, Link(3, "eth1", 9000, up=True, carrier=True, addresses=ETH0.addresses)], None),
        # One that is down now may be the way out at other times.
        (1500, [ETH0, Link(3, "eth1", 9000, up=False, carrier=False)], None),
        (1500, [], None),
    ],
)
def test_a_tunnel_that_no_way_out_carries_is_too_big(mtu: int, others: list[Link], code: str | None) -> None:
    """Protects who may not read where the peers are: whichever interface leads there, it carries less."""
    result = judge(tunnel(mtu), widest(tunnel(mtu), [LOOPBACK, WG0, *others]), 1280)
    assert (str(result.code) if result.code else None) == code
    assert (code is None) == ("carries" not in result.message), result.message


def test_a_product_that_fragments_by_itself_is_not_judged_by_overhead() -> None:
    """ZeroTier's 2800 bytes go out in pieces by design: no false alarm."""
    result = judge(tunnel(2800, product="zerotier", overhead_bytes=None), [V4], 1280)
    assert result.status is Status.PASS


@pytest.mark.parametrize(
    ("underlay", "hint"),
    [
        (Underlay("203.0.113.1", "eth0", 1460), None),
        (Underlay("203.0.113.1", "ppp0", 1459), "packets of 1460 bytes, which ppp0 towards 203.0.113.1 with MTU 1459"),
        (Underlay("2001:db8::1", "eth0", 1479), "packets of 1480 bytes, which eth0"),
    ],
)
def test_pieces_that_are_cut_again_are_reported(underlay: Underlay, hint: str | None) -> None:
    """ZeroTier's state looks healthy while large packets may vanish: a hint, which only probes can confirm."""
    result = judge(tunnel(2800, product="zerotier", overhead_bytes=None, datagram_bytes=1460), [underlay], 1280)
    assert result.status is Status.PASS
    assert hint in result.message if hint else "fragment again" not in result.message


def test_the_message_has_every_number() -> None:
    """1500 + 60 = 1560 over 1500 is the whole story."""
    message = judge(tunnel(1500), [V4], 1280).message
    for word in ("1500", "60", "1560", "eth0", "203.0.113.1"):
        assert word in message
