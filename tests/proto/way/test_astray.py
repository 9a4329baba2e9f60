"""Answers that come in outside the tunnel: where they die, and that nothing else is taken for them."""

from dataclasses import replace

import pytest

from preflight import codes
from preflight.model.counters import Counters
from preflight.model.kernel import ReversePathFilter
from preflight.model.network_state import NetworkState
from preflight.model.remedy import heal
from preflight.model.routing import Arrival
from preflight.model.routing_fixes import AddressDelete
from preflight.model.tapped import TapPacket, Tapped
from preflight.proto.way.astray import arriving_astray, astray, missed, observe_astray, with_the_peers_fix
from preflight.proto.way.counters import FILTERED
from preflight.proto.way.observation import Death, Observation
from preflight.proto.way.stations import Station
from tests.proto.way.world import INNER, OWN, PEER, TUNNEL, state

SENT = replace(INNER, source="")
ANSWER = TapPacket(
    received_ns=1, device="eth0", outgoing=False, source=PEER, destination=OWN,
    source_port=SENT.destination_port, destination_port=40000,
)  # fmt: skip


@pytest.mark.parametrize(
    ("packets", "found"),
    [
        ((ANSWER,), 1),
        ((ANSWER, replace(ANSWER, device="wg0")), 0),
        ((replace(ANSWER, source="203.0.113.9"),), 0),
        ((replace(ANSWER, source_port=53),), 0),
        ((replace(ANSWER, outgoing=True),), 0),
        ((replace(ANSWER, destination="192.0.2.1"),), 0),
    ],
    ids=["outside", "shown-twice", "somebody-else", "another-program", "own", "not-for-the-overlay"],
)
def test_only_what_the_peer_s_responder_sent_outside_the_tunnel(packets: tuple[TapPacket, ...], found: int) -> None:
    """A VRF's device shows a second time what came out of the tunnel, and strangers send much: none of that counts."""
    assert len(astray(Tapped(packets=packets), SENT, TUNNEL)) == found


def moment(dropped: int, *, strict: bool = True) -> NetworkState:
    """A moment at which the filters have dropped this number; a strict one of the uplink refuses the answers."""
    arriving = arriving_astray(SENT, TUNNEL, "eth0")
    assert arriving is not None
    return replace(
        state(),
        filters=ReversePathFilter({"eth0": 1 if strict else 2}, dropped),
        arrivals=(Arrival(flow=arriving, refused=strict),),
        counters=Counters(values={FILTERED: dropped}),
    )


def killed(before: NetworkState, after: NetworkState, stopped: Observation | None = None) -> Observation:
    """What is said of them behind the word that they came in."""
    seen, death = observe_astray(before, after, (ANSWER,), SENT, TUNNEL, stopped)
    assert (seen.station.id, seen.finding, seen.direction) == ("wire", "seen", "reverse")
    assert death.death is not None
    assert (death.death.code, death.death.facts and death.death.facts.interface) == (codes.OVERLAY_ROUTE_LEAK, "eth0")
    return death


def test_they_die_where_this_node_drops_them_because_of_the_peer_s_route() -> None:
    """The filter's counter and verdict, or a rule, place it; without either the peer's route is all that is known."""
    by_filter = killed(moment(0), moment(6))
    assert (by_filter.station, by_filter.death and by_filter.death.later) == (Station("rp", "receiver"), False)
    for before, after in ((moment(6), moment(6)), (moment(0, strict=False), moment(6, strict=False))):
        route = killed(before, after)
        assert (route.station, route.death and route.death.later) == (Station("route"), True)
    rule = Observation(station=Station("prerouting", "receiver"), finding="killed", reason="rule 4 of table ip quick")
    by_rule = killed(moment(0), moment(0), rule)
    assert by_rule.station == rule.station
    assert by_rule.death is not None
    assert "rule 4 of table ip quick" in by_rule.death.message


def test_nothing_is_said_where_nothing_went_astray() -> None:
    """Most peers answer through the tunnel."""
    assert list(observe_astray(moment(0), moment(6), (), SENT, TUNNEL)) == []


def test_what_the_peer_told_of_its_route_heals_what_was_seen_here() -> None:
    """Its own report names the device, which no tap of this node shows."""
    here = killed(moment(0), moment(6))
    fix = heal(lambda: AddressDelete(interface="eth0", address="10.66.0.1/32"), where="peer", host="b")
    told = Observation(
        station=Station("route"),
        finding="killed",
        direction="reverse",
        death=Death(code=codes.OVERLAY_ROUTE_LEAK, message="", remedies=fix),
    )
    mended = [each.death.remedies for each in with_the_peers_fix((here, told)) if each.death]
    assert mended == [fix, fix]
    assert with_the_peers_fix((here,)) == (here,)


def test_what_went_astray_is_not_missed_in_the_tunnel() -> None:
    """That nothing came out of the tunnel follows from it, and is not a second place."""
    silence = Observation(station=Station("tunnel", "receiver"), finding="absent", direction="reverse")
    assert missed(silence)
    assert not missed(replace(silence, direction="forward"))
    assert not missed(replace(silence, finding="seen"))
