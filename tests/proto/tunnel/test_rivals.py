"""Which overlays of a node have one address."""

from dataclasses import replace
from ipaddress import ip_interface, ip_network

from preflight.model.kernel import Route
from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.proto.tunnel.rivals import network_of, rivals

B = "10.88.0.31"
ZT = OverlayState(
    "zerotier",
    "zt0",
    up=True,
    mtu=2800,
    addresses=(ip_interface("10.88.0.30/24"),),
    prefixes=(ip_network("10.88.0.0/24"),),
)
WG = OverlayState(
    "wireguard", "wg0", up=True, mtu=1420, peers=(OverlayPeer("k", addresses=(ip_network("10.88.0.0/24"),)),)
)


def taken(interface: str, *further: OverlayState) -> OverlayState:
    """The overlays, of which the kernel takes one for the address."""
    return replace(ZT, further=further, routes={B: Route(address=B, interface=interface)})


def test_the_other_one_that_has_it() -> None:
    """Of two with one network it is the one that the kernel does not take."""
    assert [each.product for each in rivals(taken("zt0", WG), B)] == ["wireguard"]
    assert [each.product for each in rivals(taken("wg0", WG), B)] == ["zerotier"]


def test_who_is_none() -> None:
    """One without the address, one that is down, and a way to the whole Internet."""
    elsewhere = replace(WG, peers=(OverlayPeer("k", addresses=(ip_network("10.99.0.0/24"),)),))
    whole = replace(WG, peers=(OverlayPeer("k", addresses=(ip_network("0.0.0.0/0"),)),))
    for other in (elsewhere, whole, replace(WG, up=False), replace(WG, condition="overlay.down")):
        assert rivals(taken("zt0", other), B) == ()


def test_by_which_network() -> None:
    """The narrowest one, and not what leads everywhere."""
    both = replace(WG, peers=(OverlayPeer("k", addresses=(ip_network("10.88.0.31/32"), ip_network("10.88.0.0/24"))),))
    assert str(network_of(both, B)) == "10.88.0.31/32"
    assert str(network_of(ZT, B)) == "10.88.0.0/24"
    assert network_of(replace(ZT, addresses=(), prefixes=(ip_network("0.0.0.0/0"),)), B) is None
