"""What to do about an overlay address whose packets go elsewhere."""

from dataclasses import replace
from ipaddress import ip_network

import pytest

from preflight.model.complaint import Complaint
from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.model.remedy import as_text
from preflight.proto.tunnel.route_advice import into_the_overlay

SAID = (Complaint("overlay.routes-not-accepted", "some peers are advertising routes"),)
PEER = OverlayPeer("k", addresses=(ip_network("10.66.0.2/32"), ip_network("10.50.0.0/24")))
WG = OverlayState("wireguard", "wg0", True, 1420, peers=(PEER,))
TAILSCALE = replace(WG, product="tailscale", interface="tailscale0", complaints=SAID)


@pytest.mark.parametrize(
    ("state", "address", "table", "line"),
    [
        (WG, "10.66.0.2", 254, "ip route replace 10.66.0.2/32 dev wg0"),
        (WG, "10.50.0.7", 100, "ip route replace 10.50.0.7/32 dev wg0 table 100"),
        # A route into a tunnel that drops the packets would heal nothing.
        (WG, "10.66.0.9", 254, "ip rule; ip route get 10.66.0.9"),
        (replace(WG, product="generic", peers=()), "10.66.0.9", 254, "ip route replace 10.66.0.9/32 dev wg0"),
        (TAILSCALE, "10.50.0.7", 254, "tailscale set --accept-routes"),
        # For a member's own address the setting changes nothing.
        (TAILSCALE, "10.66.0.2", 254, "ip rule; ip route get 10.66.0.2"),
        (replace(TAILSCALE, complaints=()), "10.50.0.7", 254, "ip rule; ip route get 10.50.0.7"),
        (replace(WG, product="zerotier"), "10.66.0.2", 254, "ip rule; ip route get 10.66.0.2"),
    ],
)
def test_the_products_lever_comes_first(state: OverlayState, address: str, table: int, line: str) -> None:
    """Where the product writes the routes, one of ours would be lost; where nothing is certain, look first."""
    assert as_text(into_the_overlay(state, address, table)) == line
