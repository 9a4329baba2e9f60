"""What a followed burst shows becomes a verdict: a proven place, a gap, what only fits, or how far it was seen."""

from preflight import codes
from preflight.model.facts import DeathFacts
from preflight.proto.way.observation import Death, Finding, Observation, PacketClass
from preflight.proto.way.stations import Station
from preflight.proto.way.verdict import Verdict, conclude

RULE = Death(code=codes.HOST_FIREWALL_DROP, message="rule 7 drops them", facts=DeathFacts(rule_handle=7))
MAYBE = Death(code=codes.HOST_FIREWALL_DROP, message="rule 7 may drop them", certain=False)


def said(
    id: str, finding: Finding, host: str = "sender", death: Death | None = None, packets: PacketClass = "inner"
) -> Observation:
    """One word about one station of the way to b."""
    station = Station(id, host)  # type: ignore[arg-type]
    reason = f"{finding} at {id}"
    return Observation(station=station, finding=finding, death=death, packets=packets, reason=reason)


def verdict(*words: Observation) -> Verdict:
    """The only verdict of words about one direction."""
    (only,) = conclude("b", words)
    return only


def test_a_proven_death_has_its_place_and_its_facts() -> None:
    """The sentence, the code and the facts are those of the station that dropped."""
    found = verdict(said("filter-out", "killed", death=RULE), said("tunnel", "absent"))
    assert (found.code, found.station, found.facts) == (RULE.code, Station("filter-out"), RULE.facts)


def test_what_only_fits_has_no_place() -> None:
    """A rule that may drop is not called the cause while another station may have killed too."""
    found = verdict(said("route", "clear"), said("filter-out", "killed", death=MAYBE), said("tunnel", "absent"))
    assert found.station is None
    assert found.message == "rule 7 may drop them"


def test_what_only_fits_is_proven_where_nothing_else_is_left() -> None:
    """Between two observers with one station between them, the rule that may drop is the one that did."""
    words = [said(id, "clear") for id in ("address", "route", "post-out", "egress", "tunnel")]
    found = verdict(*words, said("filter-out", "killed", death=MAYBE), said("tunnel", "absent"))
    assert found.station == Station("filter-out")


def test_a_gap_names_no_station_as_the_place() -> None:
    """It says between which observers, and gives the direction as the finding."""
    found = verdict(said("wire", "seen", packets="data"), said("socket", "absent", host="receiver"))
    assert (found.code, found.station) == (codes.REACH_NO_FORWARD, None)
    assert "between network and socket (receiver)" in found.message
    assert "seen at wire; absent at socket" in found.message


def test_large_packets_that_vanish_alone_are_a_black_hole() -> None:
    """Small ones pass, so the way is not dead."""
    found = verdict(said("wire", "seen", packets="large"), said("socket", "absent", host="receiver", packets="large"))
    assert found.code == codes.MTU_BLACK_HOLE


def test_without_a_death_nothing_fails() -> None:
    """How far packets were seen is in the sentence, and no code claims more."""
    found = verdict(said("tunnel", "seen"))
    assert (found.code, found.station) == (None, None)
    assert "last seen at tunnel" in found.message
