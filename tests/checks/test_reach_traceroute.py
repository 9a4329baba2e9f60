"""reach.traceroute: hops are shown; only a neighbour of the underlay on the way is a fault."""

from ipaddress import ip_interface, ip_network

import pytest
from preflight_checks.reach_traceroute import judge

from preflight.api import Peer
from preflight.model.icmp import Hop, Trace
from preflight.model.kernel import Link
from preflight.model.overlay import OverlayState

PEER = Peer("10.66.0.2", "b")
STATE = OverlayState(
    product="wireguard",
    interface="wg0",
    up=True,
    mtu=1420,
    prefixes=(ip_network("10.66.0.0/24"), ip_network("fd66::/64")),
)
LINKS = (
    Link(1, "lo", 65536, up=True, carrier=True, loopback=True, addresses=(ip_interface("127.0.0.1/8"),)),
    Link(2, "eth0", 1500, up=True, carrier=True, addresses=(ip_interface("10.201.1.1/24"),)),
    Link(3, "wg0", 1420, up=True, carrier=True, addresses=(ip_interface("10.66.0.1/24"),)),
)


def hops(*addresses: str | None) -> Trace:
    """A path; its last hop is the destination where it has the peer's address."""
    return Trace(tuple(Hop(n, a, None if a is None else 1.0, a == PEER.address) for n, a in enumerate(addresses, 1)))


@pytest.mark.parametrize(
    ("trace", "code", "said"),
    [
        (hops("10.66.0.2"), None, "1 hop to 10.66.0.2"),
        (hops("10.66.0.3", "10.66.0.2"), None, "2 hops to 10.66.0.2: 10.66.0.3, 10.66.0.2"),
        (hops(None, "10.66.0.2"), None, "*, 10.66.0.2"),
        (hops(), None, "not shown"),
        (Trace((), "Operation not permitted"), None, "Operation not permitted"),
        (hops("10.66.0.3"), None, "as far as it is shown: 10.66.0.3"),
        # A router of the overlay may answer from an address of its own elsewhere.
        (hops("192.168.77.1", "10.66.0.2"), None, "192.168.77.1"),
        (hops("10.201.1.254", "10.66.0.2"), "overlay.route-leak", "10.201.1.254, which lies on eth0"),
        (hops("10.66.0.3", "10.201.1.254"), "overlay.route-leak", "hop 2"),
    ],
)
def test_paths(trace: Trace, code: str | None, said: str) -> None:
    """A mesh has one hop and a hub two; neither those nor silence is a fault."""
    result = judge(PEER, STATE, trace, LINKS)
    assert (str(result.code) if result.code else None) == code
    assert said in result.message
