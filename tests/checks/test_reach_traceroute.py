"""reach.traceroute: hops are shown; what is a fault is a router outside the overlay, or a way back that differs."""

from ipaddress import ip_interface, ip_network

import pytest
from preflight_checks.reach_traceroute import judge, judge_back

from preflight.api import Direction, Peer, Status
from preflight.model.icmp import Hop, Trace
from preflight.model.kernel import Link
from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.model.return_path import ReturnPath, ReverseTraceroute
from tests.kernel_says import routed

PEER = Peer("10.66.0.2", "b")
C = OverlayPeer("c", addresses=(ip_network("10.66.0.3/32"),))
STATE = routed(OverlayState("wireguard", "wg0", up=True, mtu=1420, peers=(C,)), inside=["10.66.0.3"])
LINKS = (
    Link(1, "lo", 65536, up=True, carrier=True, loopback=True, addresses=(ip_interface("127.0.0.1/8"),)),
    Link(2, "eth0", 1500, up=True, carrier=True, addresses=(ip_interface("10.201.1.1/24"),)),
    Link(3, "wg0", 1420, up=True, carrier=True, addresses=(ip_interface("10.66.0.1/24"),)),
)


HERE = "10.66.0.1"
IN, OUT = ReturnPath("wg0", "wg0"), ReturnPath("wg0", "eth0", "192.0.2.1")


def hops(*addresses: str | None, by: str | None = None) -> Trace:
    """A path; its last hop is the destination where it has the peer's or this node's address. by: which interface."""
    ends = (PEER.address, HERE)
    return Trace(tuple(Hop(n, a, None if a is None else 1.0, a in ends, a and by) for n, a in enumerate(addresses, 1)))


def back(
    trace: Trace, way: ReturnPath = IN, forward: int | None = None, reverse: int | None = None
) -> ReverseTraceroute:
    """What b's responder reported."""
    return ReverseTraceroute(HERE, trace, way, forward, reverse)


@pytest.mark.parametrize(
    ("trace", "code", "said"),
    [
        (hops("10.66.0.2"), None, "1 hop to 10.66.0.2"),
        (hops("10.66.0.3", "10.66.0.2"), None, "2 hops to 10.66.0.2: 10.66.0.3, 10.66.0.2"),
        (hops(None, "10.66.0.2"), None, "*, 10.66.0.2"),
        (hops(), None, "not known"),
        (Trace((), "Operation not permitted"), None, "Operation not permitted"),
        (hops("10.66.0.3"), None, "visible part of the path to 10.66.0.2: 10.66.0.3"),
        # A router of the overlay may answer from an address of its own elsewhere.
        (hops("192.168.77.1", "10.66.0.2"), None, "192.168.77.1"),
        (hops("10.201.1.254", "10.66.0.2"), "overlay.route-leak", "10.201.1.254, which is on eth0"),
        (hops("10.66.0.3", "10.201.1.254"), "overlay.route-leak", "hop 2"),
        # What is neither on the overlay nor a neighbour: the interface by which its answer came in decides.
        (hops("192.168.77.1", "10.66.0.2", by="wg0"), None, "192.168.77.1"),
        (
            hops("192.168.77.1", by="eth0"),
            "overlay.route-leak",
            "192.168.77.1, which is not on the overlay and answered",
        ),
        (hops(None, "198.51.100.7", by="eth0"), "overlay.route-leak", "hop 2"),
        (hops("10.66.0.3", "192.168.77.1", "10.66.0.2", by="wg0"), None, "3 hops"),
        (hops("10.66.0.3", by="eth0"), None, "10.66.0.3"),
        (hops("192.168.77.1", by="gone0"), None, "192.168.77.1"),
        (hops("127.0.0.9", by="lo"), None, "127.0.0.9"),
    ],
)
def test_paths(trace: Trace, code: str | None, said: str) -> None:
    """A mesh has one hop and a hub two; neither those nor silence is a fault."""
    result = judge(PEER, STATE, trace, LINKS)
    assert (str(result.code) if result.code else None) == code
    assert said in result.message


@pytest.mark.parametrize(
    ("there", "reported", "said"),
    [
        (hops("10.66.0.2"), back(hops(HERE), IN, 1, 1), None),
        (hops("10.66.0.3", "10.66.0.2"), back(hops("10.66.0.3", HERE), IN, 2, 2), None),
        # Routers show another address to each direction, and their silence or that of an end proves nothing.
        (hops("10.66.0.3", "10.66.0.2"), back(hops("192.168.9.1", HERE), IN, 2, 2), None),
        (hops("10.66.0.2"), back(hops(), IN, 1, 1), None),
        (hops(), back(hops(HERE)), None),
        # A probe that was lost makes a path look longer: what was left of the TTL decides, or a path without gaps.
        (hops("10.66.0.2"), back(hops(None, HERE), IN, 1, 1), None),
        (hops("10.66.0.2"), back(hops(None, HERE)), None),
        (hops(None, "10.66.0.2"), back(hops(HERE)), None),
        (
            hops("10.66.0.2"),
            back(hops("10.66.0.3", HERE), IN, 1, None),
            "2 hops from b to this node and 1 hop from here",
        ),
        (hops("10.66.0.2"), back(hops(), IN, 1, 2), "2 hops from b to this node and 1 hop from here"),
        (hops("10.66.0.3", "10.66.0.2"), back(hops(HERE), IN, 2, 1), "1 hop from b to this node and 2 hops from here"),
        # By its own kernel's word the peer sends elsewhere, whatever the hops look like.
        (hops("10.66.0.2"), back(hops(), OUT), "leaves by eth0 via 192.0.2.1, while"),
        (hops("10.66.0.2"), back(hops(None, HERE), OUT, 1, 2), "comes in there by wg0; 2 hops from b"),
        (hops("10.66.0.2"), back(hops(HERE), ReturnPath(None, "eth0"), 1, 1), None),
        # The last router before this node is one of its own LAN.
        (
            hops("10.66.0.2"),
            back(hops("198.51.100.7", "10.201.1.254", HERE)),
            "hop 2 from b to this node is 10.201.1.254",
        ),
    ],
)
def test_ways_back(there: Trace, reported: ReverseTraceroute, said: str | None) -> None:
    """Only another number of hops, another interface or a neighbour outside the overlay proves another way."""
    result = judge_back(PEER, STATE, there, reported, LINKS)
    assert result.direction is Direction.REVERSE
    if said is None:
        assert result.status is Status.PASS, result.message
    else:
        assert (result.status, str(result.code)) == (Status.WARN, "reach.asymmetric")
        assert said in result.message
        assert (result.remedy or "").endswith("# on b")


def test_the_remedies_of_another_way() -> None:
    """A route to put right where the peer named it, else the command that looks from there."""
    known = judge_back(PEER, STATE, hops("10.66.0.2"), back(hops(HERE), OUT), LINKS)
    assert known.remedy == "ip route replace 10.66.0.1/32 dev wg0   # on b"
    unknown = judge_back(PEER, STATE, hops("10.66.0.2"), back(hops(HERE), IN, 1, 3), LINKS)
    assert unknown.remedy == "preflight run reach.traceroute overlay.route --peer 10.66.0.1   # on b"
