"""A tunnel in a VRF: a separate routing domain, which few kernels of build machines have."""

from typing import TYPE_CHECKING

import pytest
from preflight_checks.overlay_interface import overlay_interface
from preflight_checks.overlay_mtu import overlay_mtu
from preflight_checks.overlay_route import overlay_route
from preflight_checks.overlay_session import overlay_session

from preflight.api import Status
from tests.overlay.test_on_the_wire import on, state

if TYPE_CHECKING:
    from tests.overlay.conftest import Pair

pytestmark = [pytest.mark.vm, pytest.mark.lab]


def test_a_tunnel_in_a_vrf_is_read_and_its_session_is_seen(tunnel: "Pair") -> None:
    """Its routes are in another table and its device has a master; neither hides it, its peers or the way to them."""
    a = tunnel.a
    a.run("ip", "link", "add", "red", "type", "vrf", "table", "100")
    a.run("ip", "link", "set", "red", "up")
    a.run("ip", "link", "set", a.interface, "master", "red")
    found = state(a)
    assert (found.product, found.interface, found.up) == ("wireguard", a.interface, True)
    assert [peer.key for peer in found.peers] == [tunnel.b.public_key]
    a.run("ip", "route", "add", "10.99.0.0/24", "dev", "red")
    results = on(a, overlay_interface, overlay_mtu, overlay_route, overlay_session)
    assert {result.status for result in results} == {Status.PASS}, results
