"""enroll.cycle's judge, by table."""

from dataclasses import replace
from pathlib import Path

import pytest
from preflight_checks.enroll_cycle import blocked, judge, judge_used

from preflight.api import Direction, Status, codes, failed, passed, request
from preflight.model.control import ControlError, HttpAnswer
from preflight.model.enrolment import EnrolmentFacts
from preflight.model.facts import DeathFacts
from preflight.model.fix import WorkersLine
from preflight.model.token import UnreadLine
from preflight.proto.control.answers import outdated
from preflight.proto.control.enroll import Outcome, Problem, Step, Transition
from preflight.proto.control.own_row import State

FACTS = EnrolmentFacts(
    url="http://10.66.0.3:9847", identity="preflight-a-1", scope_id="lab", node_count=3, credentials="c"
)


def status(code: int, text: str = "") -> ControlError:
    return ControlError("status", code, text or f"was answered {code}")


@pytest.mark.parametrize(
    ("step", "problem", "error", "code"),
    [
        (Step.BOOTSTRAP, "refused", status(404), "enroll.bootstrap-disabled"),
        (Step.BOOTSTRAP, "ran-out-of-time", status(503), "enroll.bootstrap-disabled"),
        (Step.BOOTSTRAP, "refused", status(401), "enroll.bootstrap-invalid"),
        (Step.BOOTSTRAP, "refused", status(410), "enroll.bootstrap-spent"),
        (Step.BOOTSTRAP, "refused", status(500), "control.unhealthy"),
        (Step.BOOTSTRAP, "ran-out-of-time", ControlError("timeout", None, "no answer"), "control.timeout"),
        (Step.BOOTSTRAP, "ran-out-of-time", ControlError("refused", None, "refused"), "control.refused"),
        (Step.JOIN, "refused", status(401), "enroll.unauthorized"),
        (Step.JOIN, "refused", status(403), "enroll.forbidden"),
        (Step.JOIN, "scope-mismatch", status(403), "enroll.scope-mismatch"),
        (Step.JOIN, "refused", status(422), "enroll.join-failed"),
        (Step.JOIN, "ran-out-of-time", status(429), "enroll.join-failed"),
        (Step.HEARTBEAT, "refused", status(500), "enroll.heartbeat-failed"),
        (Step.HEARTBEAT, "scope-mismatch", status(403), "enroll.scope-mismatch"),
        (Step.LISTED, "not-listed", None, "enroll.not-listed"),
        (Step.LISTED, "refused", status(500), "control.unhealthy"),
        (Step.LISTED, "ran-out-of-time", status(429), "control.unhealthy"),
        (Step.LISTED, "refused", ControlError("protocol", 200, "is no JSON"), "control.bad-answer"),
        (Step.LISTED, "refused", status(403), "enroll.forbidden"),
        (Step.BOOTSTRAP, "refused", ControlError("foreign", None, "a portal's 401"), "control.not-populi"),
        (Step.JOIN, "refused", ControlError("foreign", None, "a portal's 403"), "control.not-populi"),
        (Step.JOIN, "refused", ControlError("redirected", None, "a redirect"), "control.redirected"),
        (Step.HEARTBEAT, "refused", ControlError("protocol", 200, "is no JSON"), "control.bad-answer"),
        (Step.LEAVE, "refused", ControlError("foreign", None, "a portal's 404"), "enroll.leave-failed"),
        (Step.LEAVE, "refused", status(500), "enroll.leave-failed"),
        (Step.LEAVE, "refused", status(403), "enroll.forbidden"),
    ],
)
def test_findings(step: Step, problem: Problem, error: ControlError | None, code: str) -> None:
    """Token and scope before the step, the step before anything vaguer."""
    result = judge(Outcome(step, 0.0, 1.0, problem, error), FACTS)
    assert result.code is not None
    assert (result.code.slug, result.status, result.aspect) == (code, Status.FAIL, step)
    assert result.remedy
    assert error is None or error.message in result.message


@pytest.mark.parametrize("step", list(Step))
def test_good_steps_say_what_was_done(step: Step) -> None:
    """One plain sentence, with the attempts where there were several."""
    result = judge(Outcome(step, 0.0, 0.25, attempts=3), FACTS)
    assert (result.status, result.attempts, result.measurements["elapsed_ms"]) == (Status.PASS, 3, 250)
    assert "after 3 attempts" in result.message


def test_a_credential_that_could_not_be_kept() -> None:
    """The token is gone; the message says where the credential is."""
    outcome = Outcome(Step.BOOTSTRAP, 0.0, 1.0, "refused", ControlError("protocol", 200, "c cannot be written; see .c"))
    outcome.transitions.append(Transition(0.5, State.STORE, "c cannot be written"))
    result = judge(outcome, FACTS)
    assert result.code is codes.ENROLL_BOOTSTRAP_SPENT
    assert "see .c" in result.message


def test_a_token_lost_with_an_answer_is_explained() -> None:
    """410 after a lost answer: this run's own attempt may have spent it, on a server without idempotency keys."""
    outcome = Outcome(Step.BOOTSTRAP, 0.0, 1.0, "refused", status(410), attempts=2, lost_answer=True)
    assert "answer to an earlier attempt of this run was lost" in judge(outcome, FACTS).message
    outcome = Outcome(
        Step.BOOTSTRAP, 0.0, 1.0, "ran-out-of-time", ControlError("timeout", None, "no answer"), lost_answer=True
    )
    assert "same idempotency key" in judge(outcome, FACTS).message


def test_scopes_are_named() -> None:
    """Which scopes differ, or that none is set."""
    facts = EnrolmentFacts(url="u", identity="i", scope_id="mine", foreign_scope="theirs")
    result = judge(Outcome(Step.JOIN, 0.0, 1.0, "scope-mismatch"), facts)
    assert "theirs" in result.message
    assert "mine" in result.message
    assert (result.remedy or "").startswith("export VOX_MESH_SCOPE_ID=theirs")
    hostile = EnrolmentFacts(url="u", identity="i", scope_id="mine", foreign_scope="x; reboot")
    assert "VOX_MESH_SCOPE_ID='x; reboot'" in (
        judge(Outcome(Step.JOIN, 0.0, 1.0, "scope-mismatch"), hostile).remedy or ""
    )
    unset = EnrolmentFacts(url="u", identity="i")
    assert "(none set)" in judge(Outcome(Step.JOIN, 0.0, 1.0, "scope-mismatch", status(403)), unset).message


def test_no_token_at_all_is_said() -> None:
    """A 401 without any token set is not a wrong token."""
    facts = EnrolmentFacts(url="u", identity="i", has_token=False)
    assert "no token is set" in judge(Outcome(Step.JOIN, 0.0, 1.0, "refused", status(401)), facts).message


def test_a_leave_that_failed_can_be_done_by_hand() -> None:
    """The exact command, with this row's id and the bearer kept off the command line."""
    result = judge(Outcome(Step.LEAVE, 0.0, 1.0, "refused", status(500)), FACTS)
    assert result.remedy is not None
    assert '{"id":"preflight-a-1"}' in result.remedy
    assert "-H @bearer.hdr" in result.remedy
    assert "http://10.66.0.3:9847/v1/populi/leave" in result.remedy


def test_a_leave_that_a_gateway_refuses_says_so_and_how_it_is_let_through() -> None:
    """The same gateway would refuse the command that removes the row."""
    decided = DeathFacts(http_status=405, server="nginx")
    error = ControlError("foreign", None, "POST leave was answered 405 by nginx", decided=decided)
    result = judge(Outcome(Step.LEAVE, 0.0, 1.0, "refused", error), FACTS)
    assert result.code is codes.ENROLL_LEAVE_FAILED
    assert result.measurements["http_status"] == 405
    assert result.station == request("server")
    assert [each.where for each in result.remedies] == ["control host", "node"]


def test_what_fails_later_did_not_stop_a_step_that_was_left_out() -> None:
    """A row in maintenance gets no lease, whether or not it can leave."""
    reported = [passed("control", Direction.ROUND_TRIP, "good", aspect=step) for step in list(Step)[:4]]
    reported.append(failed(codes.ENROLL_LEAVE_FAILED, "control", Direction.ROUND_TRIP, "bad", aspect="leave"))
    rest = blocked(reported, FACTS)
    assert [(result.aspect, result.code) for result in rest] == [("lease", codes.RUN_NOT_APPLICABLE)]


def test_steps_behind_a_failed_one_are_blocked() -> None:
    """Each names the result that stopped it."""
    reported = [
        passed("control", Direction.ROUND_TRIP, "good", aspect="bootstrap"),
        failed(codes.ENROLL_JOIN_FAILED, "control", Direction.ROUND_TRIP, "bad", aspect="join"),
    ]
    rest = blocked(reported, FACTS)
    assert [result.aspect for result in rest] == ["heartbeat", "listed", "lease", "leave"]
    assert {result.blocked_by for result in rest} == {"enroll.cycle/control/round-trip/join"}
    assert "did not join" in rest[-1].message


def test_a_row_that_was_there_before_is_not_called_blocked() -> None:
    """Leaving was left out on purpose."""
    reported = [passed("control", Direction.ROUND_TRIP, "good", aspect=step) for step in Step if step is not Step.LEAVE]
    rest = blocked(reported, FACTS)
    assert [(result.aspect, result.code) for result in rest] == [("leave", codes.RUN_NOT_APPLICABLE)]


def test_a_bearer_that_was_just_bought_and_is_refused_was_stripped() -> None:
    """The control plane knows what it gave a moment ago, so a proxy took it out; the deciding word is measured."""
    facts = EnrolmentFacts(url="u", identity="i", bought=True)
    result = judge(Outcome(Step.JOIN, 0.0, 1.0, "refused", status(401)), facts)
    assert result.measurements["problem"] == "stripped"
    assert "stripped" in result.message
    assert result.remedies[0].where == "control host"
    own = judge(Outcome(Step.JOIN, 0.0, 1.0, "refused", status(401)), FACTS)
    assert "problem" not in own.measurements


def test_a_token_that_workers_do_not_send_is_named() -> None:
    """The same token under the name that they read heals."""
    facts = EnrolmentFacts(url="u", identity="i", has_token=False, only_for_workers="VOX_MESH_WORKER_TOKEN")
    result = judge(Outcome(Step.JOIN, 0.0, 1.0, "refused", status(401)), facts)
    assert result.measurements["variable"] == "VOX_MESH_WORKER_TOKEN"
    assert result.remedies[0].lines == ('export VOX_MESH_TOKEN="$VOX_MESH_WORKER_TOKEN"',)


def test_a_busy_server_spends_nothing_and_is_not_without_a_token() -> None:
    """Its own words are the reason; a 503 that names no time says that it has no mesh token to give."""
    busy = ControlError("status", 503, "was answered 503: the database is not available now", 1.0)
    result = judge(Outcome(Step.BOOTSTRAP, 0.0, 1.0, "ran-out-of-time", busy, ended_by="after that we stopped"), FACTS)
    assert result.code is codes.CONTROL_UNHEALTHY
    assert "database is not available now; after that we stopped; nothing was spent" in result.message
    gateway = ControlError("status", 503, "was answered 503 by a gateway", by_control_plane=False)
    assert judge(Outcome(Step.BOOTSTRAP, 0.0, 1.0, "refused", gateway), FACTS).code is codes.CONTROL_UNHEALTHY


def test_the_scope_of_the_other_nodes_is_put_where_this_nodes_comes_from() -> None:
    """All nodes of the list were let in with it, so it is the right one; the file that won is changed."""
    facts = EnrolmentFacts(url="u", identity="i", scope_id="ours ", listed_scope="ours", scope_file="/n/preflight.yaml")
    result = judge(Outcome(Step.JOIN, 0.0, 1.0, "scope-mismatch", status(403)), facts)
    assert result.measurements["scope_id"] == "ours "
    assert "'ours '" in result.message
    assert result.remedies[0].lines == ('control: {scope_id: "ours"}   # in /n/preflight.yaml',)


@pytest.mark.parametrize(
    ("step", "problem", "error", "station"),
    [
        (Step.BOOTSTRAP, "refused", status(410), "token"),
        (Step.JOIN, "refused", status(401), "bearer"),
        (Step.JOIN, "refused", status(413), "body"),
        (Step.JOIN, "scope-mismatch", status(403), "scope"),
        (Step.HEARTBEAT, "refused", status(500), "answer"),
        (Step.LEASE, "refused", status(409), "answer"),
    ],
)
def test_each_failure_has_its_station(step: Step, problem: Problem, error: ControlError, station: str) -> None:
    """Where the request died, for the way of the report."""
    result = judge(Outcome(step, 0.0, 1.0, problem, error), FACTS)
    assert result.station is not None
    assert result.station.id == station


def test_a_body_that_is_too_large_is_corrected_where_the_limit_is() -> None:
    """The control plane's own limit, or the gateway's in front of it."""
    own = judge(Outcome(Step.JOIN, 0.0, 1.0, "refused", status(413)), FACTS)
    assert "VOX_MESH_HTTP_MAX_BODY_BYTES" in (own.remedy or "")
    gateway = ControlError("status", 413, "413", by_control_plane=False)
    assert "client_max_body_size" in (judge(Outcome(Step.JOIN, 0.0, 1.0, "refused", gateway), FACTS).remedy or "")


def test_a_jwt_that_is_accepted_once() -> None:
    """One request shows whether it is good; what it cannot prove any more is said, and nothing is joined."""
    _, used, *rest = judge_used(status(401))
    assert used.code is codes.ENROLL_UNAUTHORIZED
    assert "used up" in used.message
    assert used.measurements["problem"] == ["used up", "another secret"]
    assert {result.status for result in rest} == {Status.SKIP}
    _, good, *rest = judge_used(None)
    assert (good.status, good.code) == (Status.INCONCLUSIVE, codes.RUN_NEEDS_CREDENTIALS)
    assert {result.status for result in rest} == {Status.SKIP}
    assert judge_used(status(500))[1].code is codes.CONTROL_UNHEALTHY


def test_a_body_that_was_lost_on_the_way_is_not_blamed_on_the_row() -> None:
    """What this node sends is always JSON, so a control plane that got none of it shows a proxy that takes it out."""
    lost = status(400, "POST /v1/populi/join was answered 400: Failed to parse the request body as JSON: EOF")
    result = judge(Outcome(Step.JOIN, 0.0, 1.0, "refused", lost), FACTS)
    assert "a proxy on the way took it out" in result.message
    assert "proxy_pass_request_body" in (result.remedy or "")
    other = judge(Outcome(Step.JOIN, 0.0, 1.0, "refused", status(400, "was answered 400: empty id")), FACTS)
    assert "proxy" not in other.message


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(Step.JOIN, 0.0, 1.0, "refused", status(401)),
        Outcome(Step.LISTED, 0.0, 1.0, "not-listed"),
        Outcome(Step.LEASE, 0.0, 1.0, "refused", status(404, "no such lease")),
        Outcome(Step.LEAVE, 0.0, 1.0, "refused", status(404, "no such node")),
    ],
)
def test_another_answer_was_different(outcome: Outcome) -> None:
    """Then it is neither the token nor the list: also for a bearer that was bought a moment ago."""
    result = judge(outcome, replace(FACTS, several=True, bought=True))
    assert result.measurements["problem"] == "several control planes"
    assert "several control planes answer at this URL" in result.message
    assert result.remedies[0].where == "control host"
    assert "balancer" in result.remedies[0].lines[0]


@pytest.mark.parametrize("status", [200, 401])
def test_an_answer_of_a_cache_is_no_step(status: int) -> None:
    """A cache on the way is named, with what keeps it from answering; its 401 says nothing of the bearer."""
    error = outdated("GET /v1/populi/nodes", HttpAnswer(status, {"server": "nginx"}, b"", 1.0, 0.0, 0.0, kept=True))
    result = judge(Outcome(Step.LISTED, 0.0, 1.0, "refused", error), FACTS)
    assert result.code is codes.CONTROL_BAD_ANSWER
    assert result.measurements["problem"] == "cached"
    assert result.message.startswith("listed failed: GET /v1/populi/nodes was answered")
    assert "nginx has cached" in result.message
    assert "proxy_cache off" in result.remedies[0].lines[0]


def test_a_scope_that_only_a_shell_reads() -> None:
    """Protects the remedy: the line of this node's own file is put right, and nothing else is changed."""
    line = UnreadLine(Path("/h/mesh.env"), "VOX_MESH_SCOPE_ID", "export", "ours")
    facts = EnrolmentFacts(url="u", identity="i", unread_scope=line, listed_scope="ours")
    error = ControlError("status", 403, "scope mismatch")
    result = judge(Outcome(Step.JOIN, 0.0, 1.0, "scope-mismatch", error), facts)
    assert "export in front of VOX_MESH_SCOPE_ID" in result.message
    assert isinstance(result.remedies[0].fix, WorkersLine)


def test_a_scope_that_is_refused_after_it_was_accepted() -> None:
    """Only several control planes do that."""
    facts = EnrolmentFacts(url="u", identity="i", scope_id="ours", several=True)
    error = ControlError("status", 403, "scope mismatch")
    result = judge(Outcome(Step.HEARTBEAT, 0.0, 1.0, "scope-mismatch", error), facts)
    assert "the join was accepted in the scope 'ours'" in result.message
    assert result.measurements["problem"] == "several control planes"
