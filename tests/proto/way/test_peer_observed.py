"""A peer is believed about itself only: whatever it says, nobody else is blamed for it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflight import codes
from preflight.model.facts import DeathFacts
from preflight.model.observed import Direction, PeerObservation
from preflight.proto.way.inference import infer
from preflight.proto.way.observation import Observation
from preflight.proto.way.peer_death import Asker
from preflight.proto.way.peer_observed import observed_by
from preflight.proto.way.stations import PACKET, Station

ASKER = Asker(name="b", address="10.66.0.1")
WIRE_HERE = {
    "forward": Observation(station=Station("wire"), finding="seen"),
    "reverse": Observation(station=Station("wire", "receiver"), finding="absent", direction="reverse"),
}
"""What a tap on this node's uplink says when packets leave it, and when none come."""
CLEAR_HERE = {
    "forward": [Observation(station=each, finding="clear") for each in PACKET if each.host == "sender"],
    "reverse": [
        Observation(station=each, finding="clear", direction="reverse") for each in PACKET if each.host == "receiver"
    ],
}
"""Nothing on this node drops them."""
AT_PEER = {"forward": "receiver", "reverse": "sender"}
ids = st.sampled_from(sorted({each.id for each in PACKET}))
slugs = st.none() | st.sampled_from([*codes.ALL, "no.such-code"])
facts = st.none() | st.builds(
    DeathFacts,
    rule_handle=st.none() | st.integers(1, 99),
    chain=st.none() | st.just("guard input"),
    route_type=st.none() | st.sampled_from(["blackhole", "none", "unicast"]),
    interface=st.none() | st.just("eth0"),
    source=st.none() | st.just("192.0.2.1"),
    gateway=st.none() | st.just("192.0.2.9"),
    public_key=st.none() | st.just("key"),
)
reports = st.lists(
    st.builds(
        PeerObservation,
        station=ids,
        finding=st.sampled_from(["seen", "killed", "absent", "clear", "blind"]),
        direction=st.sampled_from(["forward", "reverse"]),
        packets=st.sampled_from(["inner", "handshake", "data", "large"]),
        sent=st.integers(0, 9),
        seen=st.integers(0, 9),
        code=slugs,
        facts=facts,
        certain=st.booleans(),
    ),
    max_size=24,
)


def believed(*told: PeerObservation) -> list[Observation]:
    """What this node makes of a report."""
    return list(observed_by(told, ASKER))


@pytest.mark.parametrize("direction", ["forward", "reverse"])
@settings(max_examples=400, deadline=None)
@given(told=reports)
def test_a_lie_blames_at_worst_the_liar(direction: Direction, told: list[PeerObservation]) -> None:
    """Protects this node and the network from a hostile peer: a place that rests on its report is at itself."""
    words = [each for each in believed(*told) if each.direction == direction]
    followed = infer(PACKET, [*words, WIRE_HERE[direction], *CLEAR_HERE[direction]])
    if followed.place is not None:
        assert followed.place.host == AT_PEER[direction]
    if followed.gap:
        assert any(each.host == AT_PEER[direction] for each in followed.gap)
    assert all(each.by == "b by mailbox" and each.station.host == AT_PEER[each.direction] for each in words)


def test_a_rule_of_the_peer_is_named() -> None:
    """Protects the purpose: which rule of b drops what this node sends, and where."""
    told = PeerObservation(
        station="input",
        finding="killed",
        direction="forward",
        sent=4,
        seen=4,
        code="host.firewall-drop",
        facts=DeathFacts(rule_handle=12, chain="guard input", comment="no peers"),
    )
    (word,) = believed(told)
    assert word.station == Station("input", "receiver")
    assert word.death is not None
    assert word.death.code == codes.REACH_NO_FORWARD
    assert word.death.message == (
        'the firewall of b drops what this node sends to it: rule 12 of its chain guard input ("no peers")'
    )
    assert all(remedy.where == "peer" for remedy in word.death.remedies)


@pytest.mark.parametrize(
    ("finding", "station", "direction", "becomes"),
    [
        ("seen", "tunnel", "forward", ("tunnel", "receiver")),
        ("seen", "tunnel", "reverse", ("tunnel", "sender")),
        ("seen", "wire", "reverse", ("egress-outer", "sender")),
        ("absent", "wire", "forward", ("wire", "receiver")),
        ("clear", "rp", "forward", ("rp", "receiver")),
        ("clear", "wire", "forward", None),
        ("clear", "socket", "forward", None),
        ("seen", "network", "forward", None),
        ("seen", "forward", "forward", None),
        ("seen", "input", "reverse", None),
        ("seen", "address", "forward", None),
        ("killed", "input", "forward", None),
        ("seen", "no-such-station", "forward", None),
    ],
)
def test_what_is_believed(finding: str, station: str, direction: Direction, becomes: tuple[str, str] | None) -> None:
    """Stations of other hosts, unknown ones, deaths without a cause, and what nobody can rule out are ignored."""
    words = believed(PeerObservation(station=station, finding=finding, direction=direction))  # type: ignore[arg-type]
    assert [(word.station.id, word.station.host) for word in words] == ([becomes] if becomes else [])


def test_an_owner_stops_both_directions() -> None:
    """A tunnel takes from a peer only what it would send there, so one entry of b's kills what comes, too."""
    told = PeerObservation(
        station="session",
        finding="killed",
        direction="reverse",
        code="overlay.allowed-ips",
        facts=DeathFacts(public_key="key"),
    )
    assert [(word.direction, word.station.host) for word in believed(told)] == [
        ("reverse", "sender"),
        ("forward", "receiver"),
    ]
