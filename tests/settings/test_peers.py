"""Peers: one way to read them, wherever they come from."""

from dataclasses import replace
from ipaddress import ip_interface, ip_network

import pytest

from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.model.peer import Peer
from preflight.settings.peers import distinct, overlay_peers, parse_peer

OVERLAY = OverlayState(
    product="wireguard",
    interface="wg0",
    up=True,
    mtu=1420,
    addresses=(ip_interface("10.66.0.1/24"),),
    peers=(
        OverlayPeer("k2", addresses=(ip_network("10.9.0.0/16"), ip_network("10.66.0.2/32")), name="b"),
        OverlayPeer("k3", addresses=(ip_network("fd66::3/128"),), name="a/b"),
        OverlayPeer("k4", addresses=(ip_network("10.8.0.0/16"),), name="a subnet router"),
    ),
)


@pytest.mark.parametrize(
    ("text", "peer"),
    [
        ("10.66.0.2", Peer("10.66.0.2")),
        ("10.66.0.2=b", Peer("10.66.0.2", "b")),
        (" [FD66:0::2] = b ", Peer("fd66::2", "b")),
        ("10.66.0.2=b=c", Peer("10.66.0.2", "b=c")),
    ],
)
def test_an_address_and_perhaps_a_name(text: str, peer: Peer) -> None:
    """`--peer ADDRESS[=NAME]`: the address in its shortest form, so that it compares equal everywhere."""
    assert parse_peer(text) == peer


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("here", "'here' is not an IP address"),
        ("=b", "is not an IP address"),
        ("10.66.0.0/24", "is not an IP address"),
        ("0.0.0.0", "not the address of one peer"),
        ("::ffff:255.255.255.255", "not the address of one peer"),
        ("ff02::1=all", "not the address of one peer"),
        ("10.66.0.2=a/b", "without a slash"),
        ("10.66.0.2=a\nb", "printable"),
        ("10.66.0.2=control", "what results call"),
    ],
)
def test_a_peer_is_one_machine_under_a_name_of_its_own(text: str, why: str) -> None:
    """A result is found by its peer's name: it must not be taken for something else."""
    with pytest.raises(ValueError, match=why):
        parse_peer(text)


def test_two_peers_never_share_results() -> None:
    """An address as the name of another peer is a twin too."""
    peers = (Peer("10.66.0.2", "b"), Peer("10.66.0.3"))
    assert distinct(peers) == peers
    with pytest.raises(ValueError, match=r"two peers are called 10\.66\.0\.3"):
        distinct((*peers, Peer("10.66.0.4", "10.66.0.3")))


def test_this_node_is_not_its_own_peer() -> None:
    """One settings file serves every node of a cluster."""
    configured = (Peer("10.66.0.1", "a"), Peer("10.66.0.2", "b"))
    assert overlay_peers(configured, OVERLAY) == configured[1:]
    assert overlay_peers(configured, None) == configured


def test_a_peers_address_that_this_node_has_too_stays_a_peer() -> None:
    """Where nobody lists owners, the oldest address of a family is this node's: IPv6 has the newest first."""
    both = tuple(map(ip_interface, ("10.66.0.1/24", "10.66.0.2/32", "fd66::2/128", "fd66::1/64", "fe80::1/64")))
    tunnel = replace(OVERLAY, product="generic", addresses=both, peers=())
    configured = (Peer("10.66.0.1"), Peer("10.66.0.2"), Peer("fd66::1"), Peer("fd66::2"))
    assert overlay_peers(configured, tunnel) == (Peer("10.66.0.2"), Peer("fd66::2"))


def test_without_configured_peers_the_overlay_names_them() -> None:
    """Peers with an address; a name that results cannot use is left out, the peer is not."""
    assert overlay_peers((), OVERLAY) == (Peer("10.66.0.2", "b"), Peer("fd66::3"))
    assert overlay_peers((), replace(OVERLAY, lists_members=False)) == ()


def test_where_nobody_lists_members_those_that_were_met_are_peers() -> None:
    """OpenVPN's server and the neighbours in a VXLAN; members that are listed come first, and this node is left out."""
    own = (ip_interface("10.66.0.1/24"),)
    tunnel = replace(OVERLAY, product="generic", addresses=own, peers=(), met=("10.66.0.3", "10.66.0.1"))
    assert overlay_peers((), tunnel) == (Peer("10.66.0.3"),)
    assert overlay_peers((Peer("10.66.0.2"),), tunnel) == (Peer("10.66.0.2"),)
    assert overlay_peers((), replace(OVERLAY, met=("10.66.0.9",))) == overlay_peers((), OVERLAY)
