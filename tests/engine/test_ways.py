"""From results to ways: what is assembled, where it died, and how a proven death ranks among causes."""

from dataclasses import replace

from preflight import codes
from preflight.api import CONTROL, NODE, Code, Direction, Observation, Result, Station, failed, passed, request, warned
from preflight.engine.diagnosis import diagnose
from preflight.engine.ways import WayId, follow_ways
from preflight.model.facts import DeathFacts
from preflight.proto.way.observation import Death

F, R, RT = Direction.FORWARD, Direction.REVERSE, Direction.ROUND_TRIP
RULE = Death(code=codes.HOST_FIREWALL_DROP, message="rule 7 drops them", facts=DeathFacts(rule_handle=7))


def at(check: str, result: Result) -> Result:
    """A result as the runner would stamp it."""
    return replace(result, check=check, category=check.partition(".")[0])


def dead(target: str = "b", station: str = "filter-out", direction: Direction = F) -> Result:
    """What the check that follows packets gives for a proven death."""
    place = Station(station)
    said = Observation(
        station=place, finding="killed", death=RULE, direction="forward" if direction is F else "reverse"
    )
    return at(
        "way.packet",
        failed(RULE.code, target, direction, RULE.message, station=place, observations=(said,), facts=RULE.facts),
    )


def bad(check: str, code: Code, target: str, direction: Direction = RT) -> Result:
    """What another check finds on the same way."""
    return at(check, failed(code, target, direction, "nothing"))


def test_healthy_targets_have_no_way() -> None:
    """A report of a good run is not longer for it, although its checks know their stations."""
    results = [at("control.tls", passed(CONTROL, RT, "TLS is good", station=request("tls")))]
    assert follow_ways(results) == ()


def test_a_request_dies_at_its_first_bad_station() -> None:
    """Stations that passed are shown with the one that failed, in the order of a request."""
    results = [
        at("control.tls", failed(codes.CONTROL_TLS_NAME, CONTROL, RT, "another name", station=request("tls"))),
        at("control.dns", passed(CONTROL, RT, "one address", station=request("name"))),
    ]
    (way,) = follow_ways(results)
    assert way.id == WayId("request", CONTROL, RT)
    assert way.followed.place == request("tls")
    assert [each.station.id for each in way.followed.stations if each.state == "passed"] == [
        *("source", "parse", "name", "route", "connect", "proxy"),
    ][:3]


def test_what_a_file_says_is_no_request() -> None:
    """A good bearer in a file shows no way that a request took: where none was sent, nothing behind is passed."""
    file = at("enroll.bearer", passed(CONTROL, Direction.LOCAL, "workers send the bearer", station=request("bearer")))
    dead = at("control.dns", failed(codes.CONTROL_DNS_TIMEOUT, CONTROL, Direction.LOCAL, "x", station=request("name")))
    sent = at("control.url", passed(CONTROL, Direction.LOCAL, "a URL", station=request("parse")))
    (way,) = follow_ways([sent, dead, file])
    states = {judged.station.id: judged.state for judged in way.followed.stations}
    assert (states["parse"], states["name"], states["route"], states["bearer"]) == (
        "passed",
        "died",
        "unseen",
        "unseen",
    )


def test_a_warning_does_not_stop_a_request() -> None:
    """What only warns was passed; the way is shown because a reader must know something about it."""
    results = [at("control.dns", warned(codes.CONTROL_SLOW, CONTROL, RT, "slow", station=request("name")))]
    (way,) = follow_ways(results)
    assert way.followed.place is None
    assert way.followed.before() == request("name")


def test_directions_are_ways_of_their_own() -> None:
    """What dies on the way to a peer says nothing about the way back."""
    ways = follow_ways([dead(), dead(direction=R, station="input")])
    assert [way.id.direction for way in ways] == [F, R]
    assert [way.followed.place for way in ways] == [Station("filter-out"), None]


def test_a_proven_death_outranks_what_a_rule_infers() -> None:
    """Silence, a stale session and a peer that cannot be asked all go back to the rule that drops the packets."""
    results = [
        bad("overlay.session", codes.OVERLAY_NO_HANDSHAKE, "b"),
        bad("reach.udp", codes.REACH_UNREACHABLE, "b"),
        bad("control.connect", codes.CONTROL_TIMEOUT, CONTROL),
        dead(),
    ]
    (cause,) = diagnose(results, "b")
    assert cause.code == codes.HOST_FIREWALL_DROP
    assert cause.place == (WayId("packet", "b", F), Station("filter-out"))
    assert set(cause.explains) == {result.id for result in results}


def test_a_proven_death_explains_nothing_of_another_peer_or_of_posture() -> None:
    """One cause too few is as wrong as one too many."""
    results = [dead(), bad("reach.udp", codes.REACH_UNREACHABLE, "c"), bad("posture.routes", codes.POSTURE_OPEN, NODE)]
    assert [cause.code for cause in diagnose(results)] == [
        *(codes.HOST_FIREWALL_DROP, codes.REACH_UNREACHABLE, codes.POSTURE_OPEN),
    ]


def test_two_rules_are_two_causes() -> None:
    """One drops what leaves, another one what comes back: each has its direction, its place and its fix."""
    there = replace(dead(), facts=DeathFacts(chain="inet outside output", rule_handle=2))
    back = replace(dead(station="input", direction=R), facts=DeathFacts(chain="inet guard input"))
    results = [there, back, bad("reach.udp", codes.REACH_UNREACHABLE, "b")]
    assert [(cause.code, cause.direction) for cause in diagnose(results)] == [
        (codes.HOST_FIREWALL_DROP, F),
        (codes.HOST_FIREWALL_DROP, R),
    ]
    same = replace(back, facts=there.facts)
    (cause,) = diagnose([there, same])
    assert cause.direction is RT
