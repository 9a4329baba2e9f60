"""The overlay's model: who owns an address."""

from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from preflight.model.overlay import IPNetwork, OverlayPeer, OverlayState, Owners


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
