"""A tunnel that has followed its peer to an address that nobody has: said only where the peer is heard."""

from preflight import codes
from preflight.model.facts import DeathFacts
from preflight.proto.way.followed import heard, with_origin
from preflight.proto.way.observation import Death, Observation
from preflight.proto.way.stations import Station
from preflight.proto.way.verdict import conclude
from tests.proto.way.seeing import THERE, B, peer, state

HEARD = Observation(station=Station("socket", "receiver"), finding="seen", direction="reverse")
LOST = Observation(
    station=Station("network", "network"),
    finding="killed",
    packets="data",
    death=Death(
        code=codes.REACH_UNREACHABLE, message="the gateway cannot find it", facts=DeathFacts(offender="192.0.2.254")
    ),
)
MISSED = (
    Observation(station=Station("wire"), finding="seen", packets="data"),
    Observation(station=Station("socket", "receiver"), finding="absent", reason="b received none"),
)


def test_a_router_that_cannot_find_where_the_peer_calls_from() -> None:
    """What comes has a source that nobody has, so only the way there is dead."""
    (_, found) = with_origin((HEARD, LOST), state(), B, "b")
    assert found.death is not None
    assert found.death.facts == DeathFacts(offender="192.0.2.254", answered_from=THERE, endpoint=f"{THERE}:51820")
    forward = next(each for each in conclude("b", (HEARD, found)) if each.direction == "forward")
    assert (forward.code, forward.station) == (codes.REACH_NO_FORWARD, Station("network", "network"))


def test_nothing_changes_without_both_observations() -> None:
    """A peer that is not heard may simply be away, and other products do not follow their peers."""
    for said, own in (
        ((LOST,), state()),
        ((HEARD, *MISSED), state()),
        ((HEARD, LOST), state(peer(endpoint=None))),
        ((HEARD, LOST), state(product="nebula")),
    ):
        assert with_origin(said, own, B, "b") == said


def test_only_what_came_through_the_tunnel_is_heard() -> None:
    """An answer outside it, and what left for the peer, say nothing of the peer's session."""
    assert heard((HEARD,))
    assert not heard(MISSED)
    outside = Observation(station=Station("wire", "receiver"), finding="seen", direction="reverse", packets="data")
    assert not heard((outside,))
