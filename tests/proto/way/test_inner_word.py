"""A burst's socket proves what was answered, and names who refused; silence says nothing."""

import pytest

from preflight.model.path import DirectionStats, StampStats
from preflight.proto.way.inner_word import inner_word
from preflight.proto.way.stations import Station

PEER = "10.66.0.2"


def said(stats: StampStats) -> list[tuple[str, str, str, int]]:
    """Direction, station with its host, finding, and how many were seen."""
    words = inner_word(stats, "b", PEER)
    return [(each.direction, f"{each.station.id}@{each.station.host}", each.finding, each.seen) for each in words]


def test_silence_says_nothing() -> None:
    """Nobody knows from it where packets died."""
    assert said(StampStats(sent=6, answered=0)) == []


def test_what_this_node_may_not_send_dies_at_its_own_rules() -> None:
    """EPERM is the word of a rule on the way out: nothing came behind those hooks."""
    stats = StampStats(sent=0, answered=0, send_errors={"EPERM": 6})
    assert said(stats) == [("forward", "post-out@sender", "absent", 0)]


def test_a_neighbour_that_this_node_gave_up_refuses_nothing() -> None:
    """Its own kernel says "host unreachable" with its own address; a refusal of another host is a death."""
    stats = StampStats(sent=6, answered=0, icmp_errors={"type 3 code 1 from 10.66.0.1": 2})
    assert inner_word(stats, "b", PEER, own={"10.66.0.1"}) == ()
    assert len(inner_word(stats, "b", PEER, own={"10.66.0.7"})) == 1


def test_answers_show_both_ways() -> None:
    """What the peer received is known by its own count, also where answers were lost."""
    stats = StampStats(sent=6, answered=4, forward=DirectionStats(6, 6, 6), reverse=DirectionStats(6, 4, 4))
    assert said(stats) == [("forward", "socket@receiver", "seen", 6), ("reverse", "socket@receiver", "seen", 4)]


def test_a_closed_port_was_reached() -> None:
    """The peer's own host answers that nobody listens: every station before the socket was passed."""
    assert said(StampStats(sent=6, answered=0, port_unreachable=True)) == [("forward", "input@receiver", "seen", 6)]


@pytest.mark.parametrize(
    ("error", "place"),
    [
        (f"type 3 code 13 from {PEER}", Station("input", "receiver")),
        (f"type 3 code 10 from {PEER}", Station("input", "receiver")),
        ("type 3 code 1 from 10.66.0.9", Station("forward", "forwarder")),
        ("type 3 code 3 from 10.66.0.9", Station("forward", "forwarder")),
        ("type 1 code 1 from fd66::9", Station("forward", "forwarder")),
        ("type 3 code 4 from 10.66.0.9", None),
        ("type 11 code 0 from 10.66.0.9", None),
        ("type 3 code 13 from an unknown router", None),
    ],
)
def test_who_refuses_is_named(error: str, place: Station | None) -> None:
    """The peer itself refuses at its input; any other host, where packets should be passed on."""
    words = inner_word(StampStats(sent=6, answered=0, icmp_errors={error: 2}), "b", PEER)
    assert [each.station for each in words if each.finding == "killed"] == ([place] if place else [])
    for each in words:
        assert each.death is not None
        assert each.death.facts is not None
        assert each.death.facts.offender is not None
        assert each.death.facts.offender in each.death.message


def test_a_filter_before_the_responder_is_not_a_death() -> None:
    """Echoes that are answered show that the tunnel lives, and that a refusal is about this port alone."""
    stats = StampStats(sent=6, answered=0, icmp_errors={f"type 3 code 13 from {PEER}": 2})
    words = inner_word(stats, "b", PEER, pings="ICMP echo")
    assert {(each.finding, each.packets) for each in words} == {("clear", "data")}
    for direction in ("forward", "reverse"):
        cleared = [each.station for each in words if each.direction == direction]
        assert (cleared[0], cleared[-1]) == (Station("session"), Station("session", "receiver"))
