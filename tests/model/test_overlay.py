"""The overlay's model: who owns an address, and which tunnel has it."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflight.model.kernel import Route
from preflight.model.overlay import IPNetwork, OverlayPeer, OverlayState, Owners
from tests.kernel_says import into


def _network(bits: int, length: int) -> IPNetwork:
    return ip_network((0x0A420000 | bits, length), strict=False)


# Few and close to each other, so that they nest.
networks = st.builds(_network, st.integers(0, 255), st.integers(14, 32)) | st.just(ip_network("fd66::/64"))
peers = st.lists(st.lists(networks, max_size=3).map(tuple), max_size=8).map(
    lambda each: tuple(OverlayPeer(key=str(place), addresses=addresses) for place, addresses in enumerate(each))
)


@given(peers=peers, bits=st.integers(0, 255))
def test_the_longest_prefix_owns_the_address(peers: tuple[OverlayPeer, ...], bits: int) -> None:
    """One look-up and the table made for many agree with each other: cryptokey routing decides where packets go."""
    state, table = OverlayState("wireguard", "wg0", True, 1420, peers=peers), Owners(peers)
    for address in (str(ip_address(0x0A420000 | bits)), "fd66::1", "192.0.2.1"):
        assert table.of(address) is state.peer_for(address)
    assert table.of("192.0.2.1") is None


def tunnel(name: str, own: str, *allowed: str, product: str = "wireguard") -> OverlayState:
    """A tunnel with one peer."""
    peer = OverlayPeer(f"peer of {name}", addresses=tuple(map(ip_network, allowed)))
    return OverlayState(product, name, True, 1420, addresses=(ip_interface(own),), peers=(peer,))


B, C = tunnel("wg-b", "10.66.0.1/32", "10.66.0.2/32"), tunnel("wg-c", "10.66.0.1/32", "10.66.0.3/32", "0.0.0.0/0")
OFFICE = tunnel("vpn0", "10.99.0.2/24", "10.0.0.0/8", "0.0.0.0/0")
HIDDEN = replace(tunnel("tun0", "10.66.0.1/24"), product="generic", peers=())


@pytest.mark.parametrize(
    ("state", "address", "taken", "name"),
    [
        (B, "10.66.0.3", "eth0", "wg-b"),
        (replace(B, further=(C,)), "10.66.0.2", "wg-b", "wg-b"),
        (replace(B, further=(C,)), "10.66.0.3", "wg-c", "wg-c"),
        # Where the kernel sends it is what is judged, not who has it.
        (replace(B, further=(C,)), "10.66.0.3", "eth0", "wg-c"),
        (replace(B, further=(C,)), "10.66.0.2", "wg-c", "wg-b"),
        (replace(B, further=(OFFICE,)), "10.66.0.2", "vpn0", "wg-b"),
        # What all have only as part of the whole belongs to the tunnel that the kernel takes.
        (replace(B, further=(C,)), "192.168.77.2", "wg-c", "wg-c"),
        (replace(B, further=(C,)), "192.168.77.2", "eth0", "wg-b"),
        # Without a list of owners the interface's network counts, and a full tunnel next to it does not.
        (replace(C, further=(HIDDEN,)), "10.66.0.9", "wg-c", "tun0"),
    ],
)
def test_which_tunnel_has_an_address(state: OverlayState, address: str, taken: str, name: str) -> None:
    """Each peer is judged on the tunnel that owns it, also while its packets go elsewhere."""
    asked = replace(state, routes={address: into(address, taken)})
    assert asked.tunnel_for(address).interface == name


def test_the_tunnels_of_a_run() -> None:
    """Only tunnels with one of the addresses are used; another VPN of this node is left alone."""
    state = replace(B, further=(C, OFFICE))
    assert [each.interface for each in state.tunnels_for(["10.66.0.2"])] == ["wg-b"]
    assert [each.interface for each in state.tunnels_for(["10.66.0.3", "10.66.0.2"])] == ["wg-b", "wg-c"]
    assert [each.interface for each in state.tunnels_for([])] == ["wg-b"]
    assert [each.interface for each in state.own_tunnels] == ["wg-b", "wg-c"]


def test_what_is_on_the_overlay() -> None:
    """The kernel's way into a tunnel and an owner there, both; without the kernel's word nothing is."""
    ways = {"10.66.0.2": "wg-b", "10.66.0.3": "eth0", "10.66.0.4": "wg-b", "192.168.7.7": "wg-c", "8.8.8.8": "wg-c"}
    routes = {address: into(address, name) for address, name in ways.items()}
    routes["10.66.0.1"] = replace(into("10.66.0.1", "lo"), local=True)
    routes["192.0.2.9"] = replace(into("192.0.2.9", "lo"), local=True)
    routes["10.66.0.5"] = Route("10.66.0.5", error="Network is unreachable")
    state = replace(B, further=(C,), routes=routes)
    assert [address for address in routes if state.covers(address)] == ["10.66.0.2", "192.168.7.7", "10.66.0.1"]
    assert not replace(state, routes={}).covers("10.66.0.2")


def test_which_tunnels_a_run_uses() -> None:
    """Those with its peers, and the one with the control plane: as its remote end, not as one of many behind it."""
    other = tunnel("wg-o", "10.99.0.1/24", "10.99.0.2/32", "10.88.0.0/16", product="tailscale")
    node = replace(B, further=(other,))
    assert node.used_for(["10.66.0.2"], None) == (node,)
    assert node.used_for(["10.66.0.2"], "10.99.0.2") == (node, other)
    assert node.used_for(["10.66.0.2"], "10.88.0.2") == (node,)
    assert node.used_for(["10.99.0.2"], "10.66.0.2") == (other, node)


def test_a_peer_on_an_overlay_that_does_not_list_whom_it_has() -> None:
    """The kernel leads to it there; a default route says nothing, and neither does a tunnel that lists others."""
    open_ = OverlayState("openvpn", "tun7", True, 1500, addresses=(ip_interface("10.77.0.1/32"),))
    node = replace(B, further=(open_,), routes={"10.77.0.2": into("10.77.0.2", "tun7")})
    assert node.carries("10.77.0.2")
    assert not node.carries("10.77.0.3")
    assert not replace(node, routes={"10.77.0.2": into("10.77.0.2", "tun7", "0.0.0.0/0")}).carries("10.77.0.2")
    assert not replace(node, routes={"10.77.0.2": into("10.77.0.2", B.interface)}).carries("10.77.0.2")
