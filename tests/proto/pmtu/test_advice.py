"""Which MTU to set: tables, and the rule that the advice is proven or consistent."""

import pytest

from preflight.proto.pmtu.advice import Tunnel, advise_mtu, counts_on_fragments, lasting

WIREGUARD = Tunnel(1420, 60, 16)
WIREGUARD6 = Tunnel(1420, 80, 16)
PLAIN = Tunnel(1420, 60)


def test_products_that_count_on_fragments() -> None:
    """OpenVPN with the MTU that it has by default, and not one for which somebody has made room."""
    assert counts_on_fragments("openvpn", 1500)
    assert not counts_on_fragments("openvpn", 1400)
    assert not counts_on_fragments("wireguard", 1500)
    assert not counts_on_fragments(None, 1500)


@pytest.mark.parametrize(
    ("passed", "tunnel", "underlay", "advice"),
    [
        pytest.param(1312, WIREGUARD, 1380, 1320, id="the padding explains 1312 under 1380"),
        pytest.param(1312, WIREGUARD, 1387, 1327, id="the most that 1312 may stand for"),
        pytest.param(1312, WIREGUARD, 1372, 1312, id="the least"),
        pytest.param(1312, WIREGUARD, 1388, 1312, id="1388 would carry 1328, so something else is the limit"),
        pytest.param(1312, WIREGUARD, 1500, 1312, id="an underlay that knows nothing"),
        pytest.param(1312, WIREGUARD, 0, 1312, id="nothing known"),
        pytest.param(1296, WIREGUARD6, 1380, 1300, id="IPv6 endpoint"),
        pytest.param(1320, PLAIN, 1380, 1320, id="no padding"),
        pytest.param(1319, PLAIN, 1380, 1319, id="no padding, other limit"),
        pytest.param(1380, None, 1440, 1380, id="unknown tunnel"),
        pytest.param(1440, Tunnel(1500, 60, 16), 1500, 1440, id="MTU 1500 over 1500"),
    ],
)
def test_advice(passed: int, tunnel: Tunnel | None, underlay: int, advice: int) -> None:
    """Protects the number in the remedy: what passed, or what the underlay's limit proves to be safe."""
    assert advise_mtu(passed, tunnel, underlay) == advice


@pytest.mark.parametrize("mtu", [1280, 1320, 1420, 1441])
@pytest.mark.parametrize("overhead", [60, 80])
def test_the_advised_mtu_fits(mtu: int, overhead: int) -> None:
    """Protects operators: with the advised MTU every packet fits the underlay, and one byte more does not."""
    tunnel = Tunnel(mtu, overhead, 16)
    for underlay in range(1000, 1600):
        passed = tunnel.largest_whole(underlay)
        assert passed == max(size for size in range(800, mtu + 1) if tunnel.outer_bytes(size) <= underlay)
        advice = advise_mtu(passed, tunnel, underlay)
        assert passed <= advice <= mtu
        assert Tunnel(advice, overhead, 16).outer_bytes(advice) <= underlay
        assert advice == mtu or Tunnel(advice + 1, overhead, 16).outer_bytes(advice + 1) > underlay


def test_the_bounds_of_the_underlay() -> None:
    """Protects the range that plain packets to the endpoint are tried in: 1312 means 1372 to 1387."""
    assert WIREGUARD.outer_bounds(1312) == (1372, 1387)
    assert WIREGUARD.outer_bounds(1408) == (1468, 1479)
    assert PLAIN.outer_bounds(1312) == (1372, 1372)


@pytest.mark.parametrize(
    ("product", "text"),
    [
        ("wireguard", "MTU = 1320 under [Interface]"),
        ("nebula", "tun: {mtu: 1320} in /etc/nebula/config.yml"),
        ("zerotier", '{"mtu": 1320} for the network, at its controller'),
        ("generic", None),
        (None, None),
    ],
)
def test_what_makes_it_last_is_the_product_s_own_line(product: str | None, text: str | None) -> None:
    """A line of another product's configuration would be pasted where it means nothing."""
    assert lasting(product, 1320) == text
