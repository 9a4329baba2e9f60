"""Lines to paste where a tunnel has no session: right for both IP versions."""

from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.proto.tunnel.advice import around, compare


def test_the_route_around_the_tunnel_fits_the_address() -> None:
    """A host route is /32 in IPv4 and /128 in IPv6, and does not use the tunnel itself."""
    assert around("wg0", "192.0.2.7")[0].lines[0].startswith("ip -4 route replace 192.0.2.7/32 ")
    assert around("wg0", "2001:db8::7")[0].lines[0].startswith("ip -6 route replace 2001:db8::7/128 ")
    assert "grep -vw 'dev wg0'" in around("wg0", "192.0.2.7")[0].lines[0]


def test_what_to_compare_has_this_node_s_values() -> None:
    """A key to compare with is of use only if it is there."""
    state = OverlayState("wireguard", "wg0", up=True, mtu=1420, public_key="OURS")
    (remedy,) = compare(state, OverlayPeer("THEIRS", endpoint="192.0.2.7:51820"))
    assert remedy.kind == "next"
    assert all(value in remedy.lines[0] for value in ("OURS", "THEIRS", "51820"))
