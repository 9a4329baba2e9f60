"""What follows at once from what was learnt about a peer: leaks, overload, and who rejected what."""

from ipaddress import ip_network

import pytest

from preflight.model.icmp import EchoStats
from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.model.path import AskResult, PeerReport, StampStats
from preflight.model.peer import Peer
from preflight.proto.responder.reached import Reached, counts, outside_router
from tests.kernel_says import routed


@pytest.mark.parametrize(
    ("routers", "outside"),
    [
        ({}, None),
        ({"192.0.2.1": "eth0"}, ("192.0.2.1", "eth0")),
        # A router of the overlay may have any address, but its answer comes through the tunnel.
        ({"192.0.2.1": "wg0"}, None),
        ({"10.66.0.3": "eth0"}, None),
        ({"192.0.2.1": ""}, None),
        ({"10.66.0.3": "wg0", "192.0.2.1": "lo", "198.51.100.1": "eth1"}, ("198.51.100.1", "eth1")),
    ],
)
def test_who_answers_fromoutside_router(routers: dict[str, str], outside: tuple[str, str] | None) -> None:
    """Only a router that is not on the overlay, and answers by another interface than its, shows a leak."""
    member = OverlayPeer("k", addresses=(ip_network("10.66.0.3/32"),))
    tunnel = OverlayState("wireguard", "wg0", up=True, mtu=1420, peers=(member,))
    state = routed(tunnel, inside=["10.66.0.3"], outside=["192.0.2.1", "198.51.100.1"])
    assert outside_router(state, routers) == outside
    assert outside_router(None, routers) is None


def asked(**report: object) -> AskResult:
    """An inquiry of ten packets, and what the peer reported."""
    return AskResult(sent=10, answered=0, report=PeerReport(**{"received": 0, "sent": 0, **report}))  # type: ignore[arg-type]


def overload(found: AskResult) -> str:
    """What a responder dropped itself, as an inquiry shows it."""
    return Reached(StampStats(sent=3, answered=0), asked=found).overload("b")


def test_a_responder_that_dropped_packets_itself_says_so() -> None:
    """Its own limit, or its full queue, may be all that is missing; where packets got through, the queue was not it."""
    assert "dropped 4 packets of this node for their rate" in overload(asked(refused={"rate-limited": 4}))
    assert "had no room for 7 datagrams" in overload(asked(overflowed=7))
    assert overload(asked(overflowed=7, received=1)) == ""
    assert overload(asked()) == ""


def test_who_refuses_is_named_where_the_responder_runs() -> None:
    """Nobody is sent to start a responder that runs: something else at its address calls the port closed."""
    session = StampStats(sent=1, answered=0, port_unreachable=True)
    assert "calls the port closed, as a firewall that rejects" in Reached(session, asked=asked()).also
    assert Reached(StampStats(sent=3, answered=0), asked=asked()).also == ""


def test_the_facts_of_all_sessions_are_joined() -> None:
    """What was rejected in any of them counts; a closed port and an echo count wherever they were seen."""
    session = StampStats(sent=10, answered=0, rejected={"foreign": 1})
    asked = AskResult(sent=10, answered=0, rejected={"foreign": 2, "echoed": 1}, port_unreachable=True)
    reached = Reached(session, StampStats(sent=3, answered=0), asked, EchoStats(3, 1))
    assert reached.rejected == {"foreign": 3, "echoed": 1}
    assert reached.port_unreachable
    assert reached.echoed
    assert not Reached(session).port_unreachable
    assert not Reached(session).echoed


@pytest.mark.parametrize(("answered", "closed", "levers"), [(1, False, 1), (0, False, 0), (1, True, 0)])
def test_a_policy_is_looked_at_where_echoes_pass_alone(answered: int, closed: bool, levers: int) -> None:
    """Without echoes the whole way may be dead, and a host that refuses a port got the packet."""
    session = StampStats(sent=10, answered=0, port_unreachable=closed)
    tunnel = OverlayState("nebula", "neb0", up=True, mtu=1300)
    reached = Reached(session, echo=EchoStats(3, answered), tunnel=tunnel)
    assert len(reached.levers(Peer("10.77.0.20", "nb"))) == levers


def test_evidence_holds_both_ends() -> None:
    """The report shows what the peer said and what this node counted."""
    evidence = counts(asked(received=3))
    assert (evidence["sent"], evidence["told_by_peer"]["received"]) == (10, 3)
    assert counts(AskResult(sent=1, answered=0))["told_by_peer"] is None
