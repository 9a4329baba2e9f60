"""This node's end of a tunnel: in which namespace its packets leave, and who has the endpoint's port."""

from dataclasses import replace

import pytest

from preflight.model.overlay import OverlayState
from preflight.model.peer import Peer
from preflight.model.udp_port import UdpPort
from preflight.proto.way.tunnel_side import tunnel_side
from tests.proto.way import seeing
from tests.proto.way.seeing import B


def test_a_tunnel_without_its_port_here_leaves_elsewhere() -> None:
    """A container has the tunnel's device, and the socket stays in the namespace in which the tunnel was made."""
    peer, here = Peer(address=B, name="b"), (UdpPort(51820, "0.0.0.0"),)
    assert not tunnel_side(peer, seeing.state(), here).elsewhere
    assert not tunnel_side(peer, seeing.state(), None).elsewhere
    assert tunnel_side(peer, seeing.state(), ()).elsewhere
    assert not tunnel_side(peer, seeing.state(listen_port=None), ()).elsewhere


def with_endpoint(endpoint: str) -> OverlayState:
    """The tunnel with another endpoint for its peer."""
    state = seeing.state()
    return replace(state, peers=tuple(replace(each, endpoint=endpoint) for each in state.peers))


OWN = UdpPort(51820, "0.0.0.0")


@pytest.mark.parametrize(
    ("endpoint", "other", "relays"),
    [
        ("127.0.0.1:5555", UdpPort(5555, "127.0.0.1", "wstunnel"), True),
        ("127.0.0.1:5555", UdpPort(5555, "0.0.0.0", "wstunnel"), True),
        ("127.0.0.1:5555", UdpPort(5555, "::"), True),
        ("127.0.0.1:5555", UdpPort(5555, "127.0.0.2"), False),
        ("[::1]:5555", UdpPort(5555, "0.0.0.0"), False),
        ("127.0.0.1:51820", UdpPort(51820, "127.0.0.1"), False),  # the tunnel's own port
        ("relay.test:5555", UdpPort(5555, "127.0.0.1"), False),
    ],
)
def test_a_program_of_this_node_that_has_the_endpoint(endpoint: str, other: UdpPort, relays: bool) -> None:
    """It carries the tunnel's packets on, so they do not come back."""
    side = tunnel_side(Peer(B, "b"), with_endpoint(endpoint), (OWN, other))
    assert (side.relay == other) is relays
    assert not side.unheard


def test_nobody_has_the_endpoint_s_port() -> None:
    """Who cannot see the sockets does not know that."""
    tunnel = with_endpoint("127.0.0.1:5555")
    assert tunnel_side(Peer(B, "b"), tunnel, (OWN,)).unheard
    assert not tunnel_side(Peer(B, "b"), tunnel).unheard
