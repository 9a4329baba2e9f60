"""The rules of the diagnosis as data: they name what exists, and keep what they promise."""

from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import product

import pytest

from preflight import codes
from preflight.api import CONTROL, NODE, Direction, Result, failed, inconclusive, look, warned
from preflight.engine.diagnosis import diagnose
from preflight.engine.rules import BENEATH, DEPTH, RULES, Rule
from preflight.model.complaint import EXIT_NODE
from preflight.model.facts import ClockSkewFacts, DeathFacts, NodeAgeFacts
from preflight.proto.way.stations import Station

RT = Direction.ROUND_TRIP


def at(check: str, result: Result) -> Result:
    """A result as the runner would stamp it."""
    return replace(result, check=check, category=check.partition(".")[0])


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.cause)
def test_rules_name_codes_that_exist(rule: Rule) -> None:
    """A rule about a code that does not exist would never fire and nobody would notice."""
    for pattern in (rule.cause, *rule.effects):
        assert any(fnmatchcase(slug, pattern) for slug in codes.ALL), pattern


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.cause)
def test_rules_name_effects_that_they_can_reach(rule: Rule) -> None:
    """Only what is deeper explains: an effect that always lies deeper than its cause would be a promise not kept."""

    def fires(slug: str, pattern: str) -> bool:
        for where, aspect, place in product(("b", NODE), ("", EXIT_NODE), (None, Station("session"))):
            cause = at("x.cause", failed(codes.ALL[slug], where, RT, "", aspect=aspect, station=place))
            effects = [
                at(check, failed(codes.ALL[e], "b", RT, ""))
                for e in codes.ALL
                for check in ("reach.icmp", "host.clock", "posture.routes", "posture.scope", "mtu.tcp")
                if fnmatchcase(e, pattern)
            ]
            effects += [replace(effect, target=NODE) for effect in effects]
            if any(len(diagnose([cause, effect])) == 1 for effect in effects if effect.code is not cause.code):
                return True
        return False

    for pattern in rule.effects:
        if pattern == rule.cause:  # one list of effects for several causes
            continue
        assert any(fires(slug, pattern) for slug in codes.ALL if fnmatchcase(slug, rule.cause)), pattern


@pytest.mark.parametrize(("line", "causes"), [("tailscale set --accept-routes", 1), ("ip route get 10.50.0.7", 2)])
def test_routes_that_are_not_accepted_are_the_leak_where_one_lever_heals_both(line: str, causes: int) -> None:
    """A subnet that has nothing to do with the leak stays a second finding."""
    leak = at("control.url", failed(codes.OVERLAY_ROUTE_LEAK, CONTROL, RT, "", remedies=look(line)))
    lever = look("tailscale set --accept-routes")
    warning = at("overlay.health", warned(codes.OVERLAY_ROUTES_NOT_ACCEPTED, NODE, RT, "", remedies=lever))
    assert len(diagnose([warning, leak])) == causes


@pytest.mark.parametrize("area", DEPTH)
def test_depths_name_codes_of_their_area_that_exist(area: str) -> None:
    """A pattern that fits nothing is a code that was forgotten or mistyped, and would rank last unseen."""
    for pattern in DEPTH[area]:
        assert pattern.startswith(f"{area}."), pattern
        assert any(fnmatchcase(slug, pattern) for slug in codes.ALL), pattern


def test_every_area_has_a_depth() -> None:
    """An area that is not there ranks above all others, where codes of other packages belong."""
    assert {code.area for code in codes.ALL.values()} == set(DEPTH)


@pytest.mark.parametrize("slug", codes.ALL)
def test_no_code_has_two_depths(slug: str) -> None:
    """The first pattern counts: a second one would be read by people alone."""
    fitting = [pattern for patterns in DEPTH.values() for pattern in patterns if fnmatchcase(slug, pattern)]
    assert len(fitting) <= 1, fitting


def test_what_lies_beneath_exists() -> None:
    """An exception about a code that does not exist protects nothing."""
    assert set(BENEATH) | {slug for deeper in BENEATH.values() for slug in deeper} <= set(codes.ALL)


@pytest.mark.parametrize(("age_s", "causes"), [(110, 1), (3600, 2)], ids=["made-old-by-the-skew", "older"])
def test_a_skew_explains_only_what_it_can_make_old(age_s: int, causes: int) -> None:
    """A node that is away for an hour is away, also where the clocks differ by a minute."""
    skew = ClockSkewFacts(clock_offset_ms=60_000, clock_error_ms=500)
    ages = NodeAgeFacts(oldest_age_ms=age_s * 1000, stale_after_ms=60_000)
    results = [
        at("control.clock", warned(codes.CONTROL_CLOCK_SKEW, CONTROL, RT, "60 s ahead", facts=skew)),
        at("nodes.state", warned(codes.NODES_STALE, CONTROL, RT, "one is stale", facts=ages)),
    ]
    assert len(diagnose(results)) == causes


def test_a_proxy_that_brings_no_answer_keeps_the_other_clock_away() -> None:
    """Protects from a second cause for one fault; what another check left undecided has its own reason."""
    proxy = at("control.health", failed(codes.HOST_PROXY_ENV, CONTROL, RT, "in the way"))
    clock = at("host.clock", inconclusive(codes.RUN_NO_ANSWER, NODE, Direction.LOCAL, "no other clock answered"))
    state = replace(clock, check="nodes.state", category="nodes")
    assert [each.code.slug for each in diagnose([proxy, clock])] == ["host.proxy-env"]
    assert len(diagnose([proxy, state])) == 2


def test_a_skew_explains_that_nobody_confirms_this_node_s_clock() -> None:
    """One difference of two clocks is one cause, and nothing else that stayed without an answer goes back to it."""
    skew = at("control.clock", failed(codes.CONTROL_CLOCK_SKEW, CONTROL, RT, "600 s ahead"))
    unconfirmed, other = (
        at(check, inconclusive(codes.RUN_NO_ANSWER, NODE, Direction.LOCAL, "no clock decides"))
        for check in ("host.clock", "overlay.health")
    )
    assert [cause.code for cause in diagnose([skew, unconfirmed])] == [codes.CONTROL_CLOCK_SKEW]
    assert len(diagnose([skew, other])) == 2


@pytest.mark.parametrize(("facts", "causes"), [(None, 1), (DeathFacts(chain="inet guard out", rule_handle=7), 2)])
def test_a_firewall_whose_rules_nobody_may_read_is_why_a_peer_is_silent(facts: DeathFacts | None, causes: int) -> None:
    """Protects an ordinary user behind a kill switch: the name that nobody was asked for was a second cause.

    Where the rules are read, that silence has another reason: the rule would have been found on the way to the peer.
    """
    results = [
        at("reach.icmp", failed(codes.REACH_UNREACHABLE, "b", RT, "silent")),
        at("control.dns", failed(codes.HOST_FIREWALL_DROP, CONTROL, Direction.LOCAL, "kept in", facts=facts)),
    ]
    found = diagnose(results)
    assert len(found) == causes
    assert causes == 2 or found[0].code is codes.HOST_FIREWALL_DROP
