"""What a failed prerequisite stops, where a node has several overlays."""

from dataclasses import replace

import pytest

from preflight import codes
from preflight.api import CONTROL, NODE, Direction, Peer, Result, Subject, failed
from preflight.engine.prerequisites import stopped, stops_all
from preflight.model.facts import InterfaceFacts, MemberFacts
from tests.engine.made_up_checks import declare, fine

PEERS = (Peer("10.99.0.2", "b"), Peer("100.64.0.2", "c"))
DOWN = failed(codes.OVERLAY_DOWN, NODE, Direction.LOCAL, "wg0 is down")
OF_B = replace(DOWN, facts=InterfaceFacts(mtu_bytes=1420, peers=1, members=("b", CONTROL)))
OF_C = replace(DOWN, facts=MemberFacts(members=("c",)))
DEAD = failed(codes.REACH_UNREACHABLE, "b", Direction.ROUND_TRIP, "dead")


@pytest.mark.parametrize(
    ("failures", "who"),
    [([DOWN], set()), ([OF_B], {"b", CONTROL}), ([OF_B, OF_C], {"b", "c", CONTROL}), ([DEAD], {"b"})],
)
def test_whom_failures_concern(failures: list[Result], who: set[str]) -> None:
    """Of one overlay, those on it; what is about the whole node stops all, and names nobody."""
    assert stopped(failures).keys() == who


@pytest.mark.parametrize(
    ("subject", "failures", "stops"),
    [
        ("peer", [DOWN], True),
        ("peer", [OF_B], False),
        ("peer", [DEAD], False),
        ("node", [DOWN], True),
        ("node", [OF_B], False),
        ("node", [OF_B, OF_C], True),
        ("node", [DEAD], True),
        ("control", [OF_B], True),
        ("control", [OF_C], False),
        ("control", [DEAD], True),
    ],
)
def test_what_stops_a_whole_check(subject: Subject, failures: list[Result], stops: bool) -> None:
    """One overlay of two that is down stops neither the other one's peers nor what is looked at on this node."""
    assert (stops_all(declare("x.y", fine, subject=subject), failures, PEERS) is not None) is stops
