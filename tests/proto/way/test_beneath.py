"""Routes into a tunnel that narrower ones hide: only such as lead to a gateway, and never a tunnel's own end."""

from ipaddress import ip_network

import pytest

from preflight.model.kernel import Route
from preflight.model.overlay import OverlayState
from preflight.proto.way.beneath import beneath, may_hide
from tests.proto.way.world import ENTRIES, RULES, entry, state

LAN, HOST = "192.168.77.0/24", "192.168.77.2"
TUN = OverlayState("generic", "tun0", up=True, mtu=1500)
LEAK = Route(HOST, "eth0", gateway="192.0.2.1", matched=ip_network(f"{HOST}/32"))
TABLE = (*ENTRIES, entry(LAN, "tun0", gateway="10.66.0.3"), entry(f"{HOST}/32", "eth0", gateway="192.0.2.1"))


def test_the_route_that_would_lead_inside_is_found() -> None:
    """Protects the remedy for a control plane behind a member: it uses the member that the tunnel's route names."""
    (found,) = beneath(TUN, state(rules=RULES, entries=TABLE), [LEAK])
    assert (found.address, found.interface, found.gateway) == (HOST, "tun0", "10.66.0.3")
    assert found.matched == ip_network(LAN)


def test_a_tunnels_own_end_belongs_outside() -> None:
    """Protects the tunnel: its packets sent into itself would take it down."""
    assert not list(beneath(TUN, state(rules=RULES, entries=TABLE), [LEAK], {HOST}))


def test_a_tunnel_that_lists_its_owners_says_so_itself() -> None:
    """Protects WireGuard's own word: an address that no peer has is not in it."""
    listing = OverlayState("wireguard", "tun0", up=True, mtu=1420)
    assert not list(beneath(listing, state(rules=RULES, entries=TABLE), [LEAK]))


def test_a_default_route_into_a_tunnel_hides_nothing() -> None:
    """Protects local networks next to a full tunnel."""
    whole = (entry("0.0.0.0/1", "tun0"), entry(f"{HOST}/32", "eth0", gateway="192.0.2.1"))
    assert not list(beneath(TUN, state(rules=RULES, entries=whole), [LEAK]))


@pytest.mark.parametrize(
    ("route", "may"),
    [
        (LEAK, True),
        (Route(HOST, "eth0", matched=ip_network(LAN)), False),
        (Route(HOST, "tun0", gateway="10.66.0.3", matched=ip_network(LAN)), False),
        (Route(HOST, "eth0", gateway="192.0.2.1", matched=ip_network("0.0.0.0/0")), False),
        (Route(HOST, error="Network is unreachable"), False),
    ],
    ids=["by-a-gateway", "own-lan", "inside", "default", "refused"],
)
def test_which_routes_may_hide_one(route: Route, may: bool) -> None:
    """A healthy run reads no tables for them."""
    assert may_hide(TUN, route) is may
