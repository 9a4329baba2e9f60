"""The rules that turn results into causes, as tables."""

from dataclasses import replace
from fnmatch import fnmatchcase

import pytest

from preflight import codes
from preflight.api import CONTROL, NODE, Code, Direction, Result, failed, inconclusive, passed, skipped, warned
from preflight.diagnosis import RULES, Rule, diagnose

F, R, RT, L = Direction.FORWARD, Direction.REVERSE, Direction.ROUND_TRIP, Direction.LOCAL


def at(check: str, result: Result) -> Result:
    """A result as the runner would stamp it."""
    return replace(result, check=check, category=check.partition(".")[0])


def blocked(check: str, target: str, by: str) -> Result:
    return replace(at(check, skipped(codes.RUN_BLOCKED, target, L, "")), blocked_by=by)


def named(*results: Result, control_host: str | None = None) -> list[tuple[str, str, str]]:
    return [(c.code.slug, c.target, c.direction.value) for c in diagnose(results, control_host)]


def test_good_results_have_no_cause() -> None:
    """Protects a clean pass from invented causes."""
    assert named(at("reach.udp", passed("b", RT, "ok")), at("x.y", skipped(codes.RUN_NOT_APPLICABLE, "b", L, ""))) == []


def test_dead_forward_direction_explains_what_depends_on_it() -> None:
    """The dead direction is the cause; the silent ping and the skipped checks are its effects."""
    forward = at("reach.udp", failed(codes.REACH_NO_FORWARD, "b", F, "nothing arrives at b"))
    ping = at("reach.icmp", failed(codes.REACH_UNREACHABLE, "b", RT, "no echo"))
    skip = blocked("mtu.path", "b", forward.id)
    (cause,) = diagnose([ping, skip, forward])
    assert (cause.code, cause.direction, cause.message) == (codes.REACH_NO_FORWARD, F, "nothing arrives at b")
    assert set(cause.explains) == {forward.id, ping.id, skip.id}


def test_same_fault_both_ways_is_one_cause() -> None:
    """A black hole in both directions is one cause with direction round-trip."""
    both = [at("mtu.path", failed(codes.MTU_BLACK_HOLE, "b", d, f"{d} 1312", remedy=f"fix {d}")) for d in (F, R)]
    (cause,) = diagnose(both)
    assert cause.direction is RT
    assert cause.message == "forward 1312; reverse 1312"
    assert cause.remedy == "fix forward\nfix reverse"


def test_fault_at_one_peer_does_not_explain_another() -> None:
    """Two peers with trouble of their own stay two causes."""
    results = [
        at("overlay.session", failed(codes.OVERLAY_NO_HANDSHAKE, "b", L, "")),
        at("reach.udp", failed(codes.REACH_UNREACHABLE, "c", RT, "")),
    ]
    assert named(*results) == [("overlay.no-handshake", "b", "local"), ("reach.unreachable", "c", "round-trip")]


def test_peer_that_hosts_the_control_plane_explains_its_silence() -> None:
    """A dead way to the control plane's host is the cause of its time-out, but only for that host."""
    dead = at("reach.udp", failed(codes.REACH_UNREACHABLE, "b", RT, ""))
    silent = at("control.connect", failed(codes.CONTROL_TIMEOUT, CONTROL, RT, ""))
    assert named(dead, silent, control_host="b") == [("reach.unreachable", "b", "round-trip")]
    assert len(named(dead, silent, control_host=None)) == 2


@pytest.mark.parametrize("host", [None, "b"])
def test_a_black_hole_on_the_way_to_the_control_plane(host: str | None) -> None:
    """It is the cause of what hangs there; where the control plane is a peer's, that peer's finding is the cause."""
    tcp = at("mtu.tcp", failed(codes.MTU_BLACK_HOLE, CONTROL, F, "TCP stalls"))
    join = at("enroll.cycle", failed(codes.ENROLL_JOIN_FAILED, CONTROL, RT, "join timed out"))
    silent = at("control.health", failed(codes.CONTROL_TIMEOUT, CONTROL, RT, ""))
    assert named(tcp, join, silent, control_host=host) == [("mtu.black-hole", CONTROL, "forward")]
    path = at("mtu.path", failed(codes.MTU_BLACK_HOLE, "b", F, "1312"))
    causes = diagnose([tcp, path, join], host)
    assert [cause.target for cause in causes] == (["b"] if host else ["b", CONTROL])
    assert join.id in causes[-1].explains


def test_what_another_check_repeats_is_listed_and_not_said_twice() -> None:
    """One cause of several checks reads as one: the first check's words, every result explained."""
    first = at("reach.udp", inconclusive(codes.RUN_NEEDS_RESPONDER, "b", RT, "nobody listens", remedy="start it"))
    later = [
        at("mtu.path", inconclusive(codes.RUN_NEEDS_RESPONDER, "b", d, "no answer", remedy="or so")) for d in (F, R)
    ]
    (cause,) = diagnose([first, *later])
    assert (cause.message, cause.remedy, cause.direction) == ("nobody listens", "start it", RT)
    assert len(cause.explains) == 3


def test_a_warning_never_excuses_a_failure() -> None:
    """A failure stays visible as a cause beside a warning deeper in the stack."""
    results = [
        at("overlay.session", warned(codes.OVERLAY_RELAYED, "b", L, "")),
        at("udp.quality", failed(codes.UDP_LOSS, "b", F, "")),
    ]
    assert [slug for slug, *_ in named(*results)] == ["udp.loss", "overlay.relayed"]


def test_failures_rank_before_warnings_before_undecided() -> None:
    """The order is the order in which to fix."""
    results = [
        at("reach.udp", inconclusive(codes.RUN_NEEDS_RESPONDER, "b", RT, "")),
        at("host.clock", warned(codes.HOST_CLOCK_UNSYNCED, NODE, L, "")),
        at("enroll.cycle", failed(codes.ENROLL_JOIN_FAILED, CONTROL, RT, "")),
    ]
    assert [slug for slug, *_ in named(*results)] == [
        "enroll.join-failed",
        "host.clock-unsynced",
        "run.needs-responder",
    ]


def test_split_dns_explains_the_address_off_the_overlay() -> None:
    """The contract's choice between the two codes."""
    results = [
        at("control.url", failed(codes.CONTROL_URL_OFF_OVERLAY, CONTROL, L, "")),
        at("control.dns", failed(codes.CONTROL_DNS_SPLIT, CONTROL, L, "")),
    ]
    assert named(*results) == [("control.dns-split", CONTROL, "local")]


def test_every_candidate_is_a_cause_or_explained() -> None:
    """With every code bad at once nothing is lost: each id stands in some cause."""
    results = [at(f"x.{i}", failed(code, "b", F, slug)) for i, (slug, code) in enumerate(codes.ALL.items())]
    explained = {id for cause in diagnose(results) for id in cause.explains}
    assert explained == {result.id for result in results}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.cause)
def test_rules_name_codes_that_exist(rule: Rule) -> None:
    """A rule about a code that does not exist would never fire and nobody would notice."""
    for pattern in (rule.cause, *rule.effects):
        assert any(fnmatchcase(slug, pattern) for slug in codes.ALL), pattern


def test_third_party_codes_rank_last_and_survive() -> None:
    """A code of an unknown area is a cause like any other."""
    alien = Code("acme.weird", "Something else")
    (cause,) = diagnose([at("acme.check", failed(alien, NODE, L, "odd"))])
    assert cause.code is alien


def test_every_peer_of_a_mesh_has_its_own_cause() -> None:
    """Hundreds of dead peers are hundreds of causes in the order of the peers, each with what it alone explains."""
    results = []
    for number in range(300):
        target = f"p{number}"
        dead = at("reach.udp", failed(codes.REACH_UNREACHABLE, target, RT, "silent"))
        results += [
            dead,
            at("reach.icmp", failed(codes.REACH_UNREACHABLE, target, RT, "silent")),
            blocked("mtu.path", target, dead.id),
        ]
    causes = diagnose(results)
    assert [cause.target for cause in causes] == [f"p{number}" for number in range(300)]
    assert all(len(cause.explains) == 3 for cause in causes)
    assert all(f"/{cause.target}/" in id for cause in causes for id in cause.explains)


@pytest.mark.parametrize(
    ("leak", "at_node"),
    [(F, True), (R, True), (F, False)],
    ids=["own-route", "route-of-the-peer", "another-peer's-filter"],
)
def test_a_route_that_leads_astray_is_what_makes_this_nodes_filter_drop(leak: Direction, at_node: bool) -> None:
    """A strict filter drops because a route is wrong, here or at the peer; a peer's own filter is its own matter."""
    route = at("overlay.route", failed(codes.OVERLAY_ROUTE_LEAK, "b", leak, "by eth0"))
    filtered = at("host.rp-filter", failed(codes.HOST_RP_FILTER, NODE if at_node else "c", L, "dropped"))
    causes = [slug for slug, *_ in named(filtered, route)]
    assert causes == (["overlay.route-leak"] if at_node else ["host.rp-filter", "overlay.route-leak"])
