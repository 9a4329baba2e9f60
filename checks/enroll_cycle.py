"""Can this node enrol: exchange its one-time token, join, heartbeat, be listed, and leave again?"""

from collections.abc import AsyncGenerator
from typing import Any

from preflight.api import (
    CONTROL,
    Code,
    Context,
    Direction,
    Evidence,
    Result,
    by_hand,
    check,
    codes,
    failed,
    heal,
    inconclusive,
    look,
    passed,
    skipped,
)
from preflight.model.change import NamedValue
from preflight.model.enrolment import EnrolmentFacts
from preflight.model.facts import EnrolmentStepFacts
from preflight.model.fix import Environment
from preflight.model.printable import number_of
from preflight.proto.control.answers import FINDINGS, code_of
from preflight.proto.control.enroll import PATIENCE_S, Outcome, Step
from preflight.proto.control.left_behind import UNRECORDED
from preflight.proto.control.own_row import LEAVE_S, State

_WAY = (codes.CONTROL_TIMEOUT, codes.CONTROL_REFUSED, codes.CONTROL_UNREACHABLE)
"""What the bootstrap exchange, the first request, shows about the path."""
_NOT_ITS_ANSWER = (codes.CONTROL_NOT_POPULI, codes.CONTROL_REDIRECTED, codes.CONTROL_BAD_ANSWER)
"""The answer is not from the control plane or breaks its contract: no step and no token is to blame."""
_BOOTSTRAP = {
    401: codes.ENROLL_BOOTSTRAP_INVALID,
    404: codes.ENROLL_BOOTSTRAP_DISABLED,
    410: codes.ENROLL_BOOTSTRAP_SPENT,
    503: codes.ENROLL_BOOTSTRAP_DISABLED,
}
_STEP_FAILED = {
    Step.JOIN: codes.ENROLL_JOIN_FAILED,
    Step.HEARTBEAT: codes.ENROLL_HEARTBEAT_FAILED,
    Step.LISTED: codes.ENROLL_NOT_LISTED,
    Step.LEAVE: codes.ENROLL_LEAVE_FAILED,
}
_NEW_TOKEN = "preflight control-plane bootstrap-token --out bootstrap.token --ttl 1h"  # noqa: S105 - makes one
_TOKEN_FILE = "control: {token_file: worker.token}"  # noqa: S105 - where one goes
_REMEDIES = {
    codes.ENROLL_BOOTSTRAP_DISABLED: by_hand(
        f"{_NEW_TOKEN}   # on the control host; then restart it with that token", where="control host"
    ),
    codes.ENROLL_BOOTSTRAP_INVALID: by_hand(
        "Ask the issuer for the token again, and do not try another: on some servers a wrong token invalidates the "
        "right one.",
        where="control host",
    ),
    codes.ENROLL_BOOTSTRAP_SPENT: by_hand(
        f"{_NEW_TOKEN}   # on the control host: each token buys one credential", where="control host"
    ),
    codes.ENROLL_UNAUTHORIZED: by_hand(f"{_TOKEN_FILE}   # in preflight.yaml; or VOX_MESH_WORKER_TOKEN"),
    codes.ENROLL_FORBIDDEN: by_hand(f"{_TOKEN_FILE}   # a worker's or the mesh token, not a submitter's"),
    codes.ENROLL_SCOPE_MISMATCH: by_hand(
        "export VOX_MESH_SCOPE_ID=SCOPE-OF-THIS-CLUSTER   "
        "# as in the control plane's environment; or correct the control URL"
    ),
    codes.ENROLL_NOT_LISTED: by_hand(
        "Unset VOX_MESH_SERVER_STALE_PRUNE_MS on the control host, or raise it above the heartbeat interval.",
        where="control host",
    ),
}


@check(
    "enroll.cycle",
    title="Enrolment: bootstrap, join, heartbeats, listed, leave",
    subject="control",
    codes=(
        *dict.fromkeys(_BOOTSTRAP.values()),
        codes.ENROLL_SCOPE_MISMATCH,
        *_STEP_FAILED.values(),
        *FINDINGS,
    ),
    needs=("control.api", "run.left-behind"),
    after=("nodes.state",),  # which judges the list of nodes, and should not find this node's passing row in it
    timeout=PATIENCE_S + LEAVE_S + 10,
)
async def enroll_cycle(ctx: Context) -> AsyncGenerator[Result, None]:
    """Run the enrolment's state machine against the control plane, and remove what it created there.

    It writes to the cluster, so it runs with `--enroll` only. A node that joined leaves again, also on failure,
    time-out and Ctrl-C.
    """
    if ctx.settings.enrolment is None:
        for step in Step:
            yield _not_asked_for(step)
        return
    session = ctx.net.enrolment()
    reported: list[Result] = [] if session.bootstraps else [_without_bootstrap()]
    try:
        trouble = session.prepare()
        reported += [_would_waste(trouble)] if trouble is not None else []
        for result in reported:
            yield result
        while trouble is None and (outcomes := await session.advance()) is not None:
            for outcome in outcomes:
                reported.append(judge(outcome, session.facts()))
                yield reported[-1]
    finally:
        await session.end()
    for result in blocked(reported, session.facts()):
        yield result


def judge(outcome: Outcome, facts: EnrolmentFacts) -> Result:
    """One step's result."""
    more: dict[str, Any] = {
        "aspect": outcome.step,
        "attempts": outcome.attempts,
        "facts": EnrolmentStepFacts(
            elapsed_ms=round((outcome.ended - outcome.began) * 1000, 3),
            http_status=outcome.error.status if outcome.error else None,
        ),
        "evidence": (_evidence(outcome),),
        "duration_ms": round((outcome.ended - outcome.began) * 1000, 3),
    }
    if outcome.problem is None:
        return passed(CONTROL, Direction.ROUND_TRIP, _praise(outcome, facts), **more)
    code = _code(outcome)
    what = f"curl -si {facts.url}/health; journalctl -u preflight-control-plane -n 50   # there"
    remedies = _REMEDIES.get(code) or look(what, where="control host")
    if code is codes.ENROLL_LEAVE_FAILED:
        remedies = by_hand(_leave_later(facts))
    elif facts.foreign_scope is not None:
        scope = (NamedValue("VOX_MESH_SCOPE_ID", facts.foreign_scope),)
        remedies = heal(lambda: Environment(variables=scope))
    return failed(code, CONTROL, Direction.ROUND_TRIP, _complaint(outcome, facts), remedies=remedies, **more)


def _code(outcome: Outcome) -> Code:
    """The finding of a failed step: the path comes before credentials and scope, and both before the step itself."""
    error = outcome.error
    if outcome.problem == "scope-mismatch":
        return codes.ENROLL_SCOPE_MISMATCH
    if error is None:
        return _STEP_FAILED.get(outcome.step, codes.CONTROL_UNHEALTHY)
    if outcome.transitions and outcome.transitions[-1].state is State.STORE:
        return codes.ENROLL_BOOTSTRAP_SPENT
    answered = code_of(error)
    if answered is codes.CONTROL_THROTTLED:
        answered = codes.CONTROL_UNHEALTHY  # to one who waited as long as an enrolment takes
    if outcome.step is Step.BOOTSTRAP:
        own = _BOOTSTRAP.get(error.status or 0)
        return own or (answered if answered in (*_WAY, *_NOT_ITS_ANSWER) else codes.CONTROL_UNHEALTHY)
    if outcome.step is Step.LISTED:
        return answered  # the list could not be read, so it is not known whether the node is on it
    if answered is codes.CONTROL_BAD_ANSWER and error.kind == "status":
        return _STEP_FAILED[outcome.step]  # an explicit refusal, not an unreadable answer
    refused = (codes.ENROLL_UNAUTHORIZED, codes.ENROLL_FORBIDDEN)
    # For leave only the node that stays listed matters, whatever the reason.
    telling = refused if outcome.step is Step.LEAVE else (*refused, *_NOT_ITS_ANSWER)
    return answered if answered in telling else _STEP_FAILED[outcome.step]


def _complaint(outcome: Outcome, facts: EnrolmentFacts) -> str:
    said = outcome.error.message if outcome.error else ""
    again = f" after {outcome.attempts} attempts" if outcome.attempts > 1 else ""
    if facts.foreign_scope is not None and outcome.problem == "scope-mismatch":
        return (
            f"the bootstrap token gave a credential for the scope {facts.foreign_scope}, but this node is set to "
            f"{facts.scope_id}; it did not join"
        )
    if outcome.problem == "scope-mismatch":
        return f"the control plane refuses the scope {facts.scope_id or '(none set)'} of this node: {said}"
    if outcome.problem == "not-listed":
        return f"{facts.identity} joined and sent heartbeats, but is not among the {facts.node_count} nodes listed"
    if outcome.step is Step.BOOTSTRAP and outcome.lost_answer:
        return f"the bootstrap exchange failed{again}: {said}; {_lost(outcome)}"
    if outcome.error is not None and outcome.error.status == 401 and not facts.has_token:
        return f"no token is set, but the control plane requires one: {said}"
    return f"{outcome.step} failed{again}: {said}"


def _lost(outcome: Outcome) -> str:
    if outcome.error is not None and outcome.error.status == 410:
        return (
            "the answer to an earlier attempt of this run was lost; a server without idempotency keys has spent the "
            "token on it"
        )
    return (
        "an answer was lost, so the token may be spent: run the same command again soon, which repeats the exchange "
        "with the same idempotency key"
    )


def _praise(outcome: Outcome, facts: EnrolmentFacts) -> str:
    again = f" after {outcome.attempts} attempts" if outcome.attempts > 1 else ""
    scope = f" in the scope {facts.scope_id}" if facts.scope_id else ""
    recorded = f"; {UNRECORDED}: {facts.unrecorded}" if facts.unrecorded else ""
    taken = (
        ("; the given id is in use, or could not be looked up, so another id was used") if facts.identity_taken else ""
    )
    return {
        Step.BOOTSTRAP: f"the token gave a credential{scope}, saved in {facts.credentials}{again}",
        Step.JOIN: f"joined as {facts.identity}{scope}{again}{taken}{recorded}",
        Step.HEARTBEAT: f"two heartbeats were accepted{again}",
        Step.LISTED: f"{facts.identity} is listed; the list has {number_of('nodes', facts.node_count)}{again}",
        Step.LEAVE: f"{facts.identity} has left again{again}",
    }[outcome.step]


def blocked(reported: list[Result], facts: EnrolmentFacts) -> list[Result]:
    """A skip for every step that was not reached."""
    missing = [step for step in Step if step not in {result.aspect for result in reported}]
    bad = next((result for result in reported if result.code and result.code is not codes.RUN_NOT_APPLICABLE), None)
    if bad is None:
        message = f"the row of {facts.identity} existed before, hidden from the list, so it was not removed"
        return [
            skipped(codes.RUN_NOT_APPLICABLE, CONTROL, Direction.ROUND_TRIP, message, aspect=step) for step in missing
        ]
    return [
        skipped(
            codes.RUN_BLOCKED,
            CONTROL,
            Direction.ROUND_TRIP,
            f"{bad.aspect} did not pass" + (", so the node did not join" if step is Step.LEAVE else ""),
            aspect=step,
            blocked_by=f"enroll.cycle/{CONTROL}/{Direction.ROUND_TRIP}/{bad.aspect}",
        )
        for step in missing
    ]


def _without_bootstrap() -> Result:
    message = "no bootstrap token was given, so the node joins with its token"
    return skipped(codes.RUN_NOT_APPLICABLE, CONTROL, Direction.ROUND_TRIP, message, aspect=Step.BOOTSTRAP)


def _would_waste(trouble: str) -> Result:
    return inconclusive(
        codes.RUN_NEEDS_CREDENTIALS,
        CONTROL,
        Direction.ROUND_TRIP,
        f"the bootstrap token was not spent, because its credential could not be saved: {trouble}",
        aspect=Step.BOOTSTRAP,
        remedies=by_hand("preflight run enroll.cycle --enroll --bootstrap-token-file FILE --credentials-out NEW-FILE"),
    )


def _not_asked_for(step: Step) -> Result:
    return skipped(
        codes.RUN_NOT_ENROLLING,
        CONTROL,
        Direction.ROUND_TRIP,
        f"{step} writes to the cluster, and enrolment was not requested (--enroll)",
        aspect=step,
        remedies=look("preflight run enroll.cycle --enroll --bootstrap-token-file FILE --credentials-out FILE"),
    )


def _evidence(outcome: Outcome) -> Evidence:
    rows = [{"at_s": step.at_s, "state": step.state.value, "event": step.event} for step in outcome.transitions]
    return Evidence("transitions", f"what happened during {outcome.step}", rows)


def _leave_later(facts: EnrolmentFacts) -> str:
    if facts.written_down is not None:
        return facts.written_down.clean_line
    return (
        f"curl -sS -H @bearer.hdr -H 'content-type: application/json' -d '{{\"id\":\"{facts.identity}\"}}' "
        f"{facts.url}/v1/populi/leave"
    )
