"""The rules that turn results into causes, as tables."""

from collections.abc import Mapping
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflight import codes
from preflight.api import (
    CONTROL,
    NODE,
    Code,
    Direction,
    Facts,
    Result,
    Severity,
    Station,
    failed,
    inconclusive,
    passed,
    skipped,
    warned,
)
from preflight.engine.candidates import SEVERITY
from preflight.engine.diagnosis import Cause, diagnose
from preflight.engine.rules import RULES, Rule
from preflight.model.facts import EnrolmentStepFacts, MtuFacts, ReversePathFilterFacts, TunnelMtuFacts
from tests.sample_facts import sample

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
    """A failure stays visible as a cause next to a warning deeper in the stack."""
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
    """With every code bad at once nothing is lost: each id is in some cause."""
    results = [at(f"x.{i}", failed(code, "b", F, slug)) for i, (slug, code) in enumerate(codes.ALL.items())]
    explained = {id for cause in diagnose(results) for id in cause.explains}
    assert explained == {result.id for result in results}


def test_third_party_codes_rank_last_and_survive() -> None:
    """A code of an unknown area is a cause like any other."""
    alien = Code("acme.weird", "Something else")
    (cause,) = diagnose([at("acme.check", failed(alien, NODE, L, "odd"))])
    assert cause.code is alien


def test_every_peer_of_a_mesh_has_its_own_cause() -> None:
    """Hundreds of dead peers are hundreds of causes in the order of the peers, each with what it alone explains.

    One answers, so they are not silent for one reason.
    """
    results = [at("reach.icmp", passed("alive", RT, "it answers"))]
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


def test_a_peers_filter_and_its_route_are_one_fault() -> None:
    """A peer's strict filter drops what this node sends because its route back leads elsewhere: one cause, not two."""
    filtered = at("way.packet", failed(codes.HOST_RP_FILTER, "b", F, "dropped", station=Station("rp", "receiver")))
    leaking = at("way.packet", failed(codes.OVERLAY_ROUTE_LEAK, "b", R, "by eth0", station=Station("route")))
    assert [slug for slug, *_ in named(filtered, leaking)] == ["host.rp-filter"]


def bad(code: Code, target: str, direction: Direction = RT, check: str = "x.y", facts: Facts | None = None) -> Result:
    """A bad result with the status that its code means."""
    make = {Severity.FAIL: failed, Severity.WARN_OR_FAIL: failed, Severity.WARN: warned}.get(
        code.severity, inconclusive
    )
    return at(check, make(code, target, direction, f"{code} at {target}", facts=facts))


def answered(status: int | None) -> Facts:
    """One step of an enrolment, and what it was answered."""
    return EnrolmentStepFacts(elapsed_ms=1.0, http_status=status)


def carries(mtu_bytes: int) -> Facts:
    """What a path was found to carry."""
    return MtuFacts(mtu_bytes=mtu_bytes, interface_mtu_bytes=1500)


C, N = CONTROL, NODE
_TOO_BIG = bad(codes.OVERLAY_MTU_TOO_BIG, N, L, facts=TunnelMtuFacts(tunnel_mtu_bytes=1500, fits_bytes=1440))
_FILTER = bad(codes.HOST_RP_FILTER, N, L, facts=sample(ReversePathFilterFacts, silent_peers=["b"]))


@pytest.mark.parametrize(
    ("cause", "explained", "visible"),
    [
        # A black hole eats what is long, in its direction; who answered was reached.
        (
            bad(codes.MTU_BLACK_HOLE, "b", F),
            [bad(codes.MTU_BELOW_MINIMUM, "b", F), bad(codes.MTU_BLACK_HOLE, C, F)],
            [bad(codes.MTU_REDUCED, "b", R), bad(codes.UDP_LOSS, "b", F), bad(codes.REACH_LOSS, "b")],
        ),
        (
            bad(codes.MTU_BLACK_HOLE, C, F),
            [bad(codes.ENROLL_JOIN_FAILED, C, facts=answered(None)), bad(codes.CONTROL_TIMEOUT, C)],
            [bad(codes.ENROLL_HEARTBEAT_FAILED, C, facts=answered(500)), bad(codes.ENROLL_SCOPE_MISMATCH, C)],
        ),
        (bad(codes.UDP_LOSS, "b", F), [bad(codes.REACH_LOSS, "b")], [bad(codes.REACH_LOSS, "b", R)]),
        # An MTU that is wrong by so many bytes accounts for so many.
        (
            _TOO_BIG,
            [
                bad(codes.MTU_REDUCED, "b", F, facts=carries(1432)),
                bad(codes.CONTROL_TIMEOUT, C),
            ],
            [
                bad(codes.MTU_BLACK_HOLE, "b", F, facts=carries(1312)),
                bad(codes.UDP_JITTER, "b", F),
            ],
        ),
        (
            bad(codes.OVERLAY_MTU_TOO_SMALL, N, L, facts=TunnelMtuFacts(tunnel_mtu_bytes=1200)),
            [bad(codes.MTU_BELOW_MINIMUM, "b", F), bad(codes.MTU_BELOW_MINIMUM, "c", F)],
            [bad(codes.MTU_BLACK_HOLE, "b", F)],
        ),
        (
            _FILTER,
            [bad(codes.REACH_UNREACHABLE, "b"), bad(codes.CONTROL_TIMEOUT, C)],
            [bad(codes.REACH_UNREACHABLE, "c"), bad(codes.MTU_BLACK_HOLE, "b", F), bad(codes.CONTROL_REFUSED, C)],
        ),
        # A network of the LAN that holds one peer's address says nothing about another peer's tunnel.
        (
            bad(codes.OVERLAY_SUBNET_CONFLICT, "b", F),
            [bad(codes.OVERLAY_NO_HANDSHAKE, "b"), bad(codes.HOST_RP_FILTER, N, L), bad(codes.CONTROL_TIMEOUT, C)],
            [bad(codes.OVERLAY_NO_HANDSHAKE, "c"), bad(codes.OVERLAY_MTU_TOO_BIG, N, L)],
        ),
        # A refusal comes from a host that was reached.
        *(
            (bad(code, "b"), [bad(codes.CONTROL_TIMEOUT, C)], [bad(codes.CONTROL_REFUSED, C)])
            for code in (codes.OVERLAY_NO_HANDSHAKE, codes.OVERLAY_ALLOWED_IPS, codes.REACH_UNREACHABLE)
        ),
        (
            bad(codes.UDP_BLOCKED, "b", F),
            [bad(codes.UDP_LOSS, "b", F), bad(codes.RUN_NEEDS_RESPONDER, "b")],
            [bad(codes.MTU_BLACK_HOLE, "b", R)],
        ),
        (bad(codes.OVERLAY_NO_KEEPALIVE, "b"), [bad(codes.UDP_NAT_TIMEOUT, "b")], [bad(codes.UDP_NAT_TIMEOUT, "c")]),
        (
            bad(codes.HOST_NO_RAW_SOCKET, N, L),
            [bad(codes.RUN_NEEDS_PRIVILEGE, "b", check="reach.icmp")],
            [bad(codes.RUN_NEEDS_PRIVILEGE, N, L, check="posture.secrets")],
        ),
        # What stands before the control plane has no part in what the nodes and the files are.
        (
            bad(codes.HOST_CAPTIVE_PORTAL, N, L),
            [bad(codes.CONTROL_TLS_UNTRUSTED, C), bad(codes.CONTROL_DNS_NXDOMAIN, C, L)],
            [bad(codes.POSTURE_SECRET_IN_GIT, N, L), bad(codes.CONTROL_URL_BIND_ALL, C, L)],
        ),
        (
            bad(codes.HOST_PROXY_ENV, N, L),
            [bad(codes.CONTROL_UNHEALTHY, C)],
            [bad(codes.POSTURE_SECRET_IN_GIT, N, L), bad(codes.CONTROL_CLOCK_SKEW, C)],
        ),
        (
            at("x.y", warned(codes.CONTROL_DNS_SPLIT, C, L, "split")),
            [],
            [bad(code, C) for code in (codes.POSTURE_SHARED_TOKEN, codes.NODES_STALE, codes.CONTROL_TLS_EXPIRING)],
        ),
        (
            at("x.y", warned(codes.CONTROL_ADDRESS_FAMILY, C, RT, "half")),
            [bad(codes.CONTROL_SLOW, C)],
            [bad(code, C) for code in (codes.POSTURE_SHARED_TOKEN, codes.NODES_STALE, codes.CONTROL_TLS_EXPIRING)],
        ),
        (bad(codes.CONTROL_TIMEOUT, C), [bad(codes.CONTROL_TLS_FAILED, C)], [bad(codes.CONTROL_TLS_EXPIRING, C)]),
        (bad(codes.CONTROL_PLAIN_HTTP, C), [], [bad(codes.POSTURE_OPEN, C), bad(codes.POSTURE_EXPOSED, C)]),
        # What the control plane refuses about one token is no reason why it refuses another.
        (
            bad(codes.ENROLL_BOOTSTRAP_SPENT, C),
            [bad(codes.ENROLL_JOIN_FAILED, C, facts=answered(401))],
            [bad(codes.ENROLL_UNAUTHORIZED, C), bad(codes.ENROLL_LEAVE_FAILED, C)],
        ),
        (bad(codes.ENROLL_UNAUTHORIZED, C), [bad(codes.ENROLL_JOIN_FAILED, C)], [bad(codes.NODES_STALE, C)]),
        (
            bad(codes.POSTURE_OPEN, C),
            [bad(codes.POSTURE_ROUTE_OPEN, C), bad(codes.POSTURE_ROLE_TOO_STRONG, C)],
            [bad(code, C) for code in (codes.POSTURE_EXPOSED, codes.POSTURE_SCOPE_OPEN, codes.POSTURE_TLS_OLD)],
        ),
    ],
    ids=lambda value: f"{value.code}@{value.target}" if isinstance(value, Result) else "",
)
def test_a_cause_explains_what_follows_from_it_and_hides_nothing_else(
    cause: Result, explained: list[Result], visible: list[Result]
) -> None:
    """Both sides of a rule: a second fault must not vanish behind the first, nor an effect be reported as a fault."""
    for effect in explained:
        (found,) = diagnose([effect, cause], control_host="b")
        assert (found.code, set(found.explains)) == (cause.code, {cause.id, effect.id}), effect.code
    for other in visible:
        assert {c.code for c in diagnose([other, cause], control_host="b")} == {cause.code, other.code}, other.code


_TARGETS = [N, C, "b", "c"]
_RESULTS = st.builds(
    lambda check, code, target, direction, status, http: at(
        check,
        Result(
            target=target,
            direction=direction,
            status=status,
            message=f"{status} {code} at {target}",
            code=code,
            facts=answered(http),
        ),
    ),
    st.sampled_from(["reach.icmp", "mtu.path", "control.health", "enroll.cycle"]),
    st.sampled_from(list(codes.ALL.values())),
    st.sampled_from(_TARGETS),
    st.sampled_from(list(Direction)),
    st.sampled_from(SEVERITY),
    st.sampled_from([None, 500]),
)


@given(
    st.lists(_RESULTS, max_size=40, unique_by=lambda result: result.id),
    st.sampled_from([None, "b", "c"]),
    st.randoms(use_true_random=False),
)
def test_whatever_is_bad_a_diagnosis_keeps_its_promises(
    results: list[Result], control_host: str | None, chance: Random
) -> None:
    """Nothing bad is lost, nothing is invented, nothing is explained by what is milder; input order is ignored."""
    causes = diagnose(results, control_host)
    by_id = {result.id: result for result in results}
    assert {id for cause in causes for id in cause.explains} == set(by_id)
    _assert_backed(causes, by_id)
    again = diagnose(chance.sample(results, len(results)), control_host)
    assert {_what(cause) for cause in again} == {_what(cause) for cause in causes}
    assert diagnose(results, control_host) == causes


@given(
    st.lists(_RESULTS, max_size=40, unique_by=lambda result: result.id),
    st.sampled_from([None, "b", "c"]),
    st.permutations(RULES),
)
def test_the_order_of_the_rules_means_nothing(
    results: list[Result], control_host: str | None, shuffled: list[Rule]
) -> None:
    """A new rule may go where it reads best: rank is separate data."""
    assert diagnose(results, control_host, shuffled) == diagnose(results, control_host)


def _assert_backed(causes: tuple[Cause, ...], by_id: Mapping[str, Result]) -> None:
    roots = {(cause.code, cause.target) for cause in causes}
    assert len(roots) == len(causes), "one cause for one code at one target"
    for cause in causes:
        explained = [by_id[id] for id in cause.explains]
        own = [r for r in explained if (r.code, r.target) == (cause.code, cause.target)]
        assert explained[0] in own, "its own results come first"
        assert set(cause.message.split("; ")) <= {result.message for result in own}
        worst = min(SEVERITY.index(result.status) for result in own)
        for other in explained:
            # No cause stands among what another explains, so none explains itself in a circle.
            assert (other.code, other.target) == (cause.code, cause.target) or (other.code, other.target) not in roots
            assert worst <= SEVERITY.index(other.status), "nothing milder excuses what is worse"


def _what(cause: Cause) -> tuple[Code, str, frozenset[str]]:
    return cause.code, cause.target, frozenset(cause.explains)
