"""Can this node enrol: exchange its one-time token, join, heartbeat, be listed, and leave again?"""

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from preflight.api import (
    CONTROL,
    Context,
    Direction,
    Evidence,
    Result,
    by_hand,
    check,
    codes,
    failed,
    inconclusive,
    look,
    passed,
    request,
    skipped,
)
from preflight.model.control import ControlError
from preflight.model.enrolment import EnrolmentFacts
from preflight.model.facts import EnrolmentStepFacts
from preflight.model.printable import number_of
from preflight.proto.control.answers import CHANGES_PATH, FINDINGS, KEEP_PATH, PATH_CHANGED, code_of
from preflight.proto.control.enrol_finding import (
    BOOTSTRAP,
    STEP_FAILED,
    USED_UP,
    code_of_step,
    complaint,
    fields_of,
    remedies_of,
    row_is_unknown,
    station_of,
    status_of,
)
from preflight.proto.control.enroll import PATIENCE_S, Outcome, Step
from preflight.proto.control.left_behind import UNRECORDED
from preflight.proto.control.own_row import LEAVE_S
from preflight.proto.control.populi import EXCHANGE_ROUTE
from preflight.proto.control.token_finding import better_bearer

if TYPE_CHECKING:
    from preflight.api import ControlClient, EnrolmentSession

_WHERE = (CONTROL, Direction.ROUND_TRIP)


@check(
    "enroll.cycle",
    title="Enrolment: bootstrap, join, heartbeats, listed, leave",
    subject="control",
    codes=(
        *dict.fromkeys(BOOTSTRAP.values()),
        codes.ENROLL_SCOPE_MISMATCH,
        *STEP_FAILED.values(),
        *FINDINGS,
    ),
    needs=("control.api", "run.left-behind", "enroll.bearer", "enroll.bootstrap"),
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
    once = ctx.settings.secrets.once
    if once is not None and not ctx.settings.enrolment.brings_token:
        for result in judge_used(await tried(ctx.net.control.with_token(once))):
            yield result
        return
    session = ctx.net.enrolment()
    reported: list[Result] = [] if session.bootstraps else [_without_bootstrap()]
    try:
        trouble = session.prepare()
        reported += [_would_waste(trouble)] if trouble is not None else []
        if trouble is None and await session.misses_exchange():
            trouble = PATH_CHANGED
            reported.append(_missed())
        for result in reported:
            yield result
        while trouble is None and (outcomes := await session.advance()) is not None:
            for outcome in outcomes:
                reported.append(judge(outcome, await _with_more(ctx, outcome, session)))
                yield reported[-1]
    finally:
        await session.end()
    for result in blocked(reported, session.facts()):
        yield result


async def _with_more(ctx: Context, outcome: Outcome, session: "EnrolmentSession") -> EnrolmentFacts:
    """The facts, with what more requests show where the bearer is refused, or the node is not listed."""
    facts = session.facts()
    refused = outcome.error is not None and outcome.error.status == 401 and outcome.step is not Step.BOOTSTRAP
    if row_is_unknown(outcome):
        return replace(facts, several=await session.has_several_rows(ctx.net.new_control))
    if outcome.problem == "scope-mismatch" and outcome.step is Step.HEARTBEAT:
        return replace(facts, several=True)  # a moment ago this scope was good
    if not refused and outcome.problem != "not-listed":
        return facts
    if await session.is_answered_otherwise(ctx.net.new_control):
        return replace(facts, several=True)
    better = await ctx.net.other_bearer.accepted() if refused and facts.bearer_place and not facts.bought else None
    return replace(facts, hidden=better_bearer(better)) if better is not None else facts


async def tried(client: "ControlClient") -> ControlError | None:
    """One `GET nodes`, to see whether the client's bearer is good; the error if it is not."""
    try:
        await client.nodes()
    except ControlError as error:
        return error
    return None


def judge(outcome: Outcome, facts: EnrolmentFacts) -> Result:
    """One step's result."""
    more: dict[str, Any] = {
        "aspect": outcome.step,
        "attempts": outcome.attempts,
        "facts": EnrolmentStepFacts(
            elapsed_ms=round((outcome.ended - outcome.began) * 1000, 3),
            http_status=status_of(outcome),
        ),
        "evidence": (_evidence(outcome),),
        "duration_ms": round((outcome.ended - outcome.began) * 1000, 3),
    }
    if outcome.problem is None:
        return passed(*_WHERE, _praise(outcome, facts), **more)
    code = code_of_step(outcome)
    return failed(
        code,
        *_WHERE,
        complaint(outcome, facts),
        station=station_of(outcome, code),
        remedies=remedies_of(outcome, code, facts),
        measurements=fields_of(outcome, code, facts),
        **more,
    )


def judge_used(error: ControlError | None) -> list[Result]:
    """What one request with a JWT that is accepted once has shown: whether it can be used, and that it now was."""
    join: dict[str, Any] = {"aspect": Step.JOIN, "station": request("bearer")}
    if error is None:
        message = (
            "the control plane accepted the bearer, a JWT that is accepted once and is used up now; to join, to renew "
            "and to leave a node takes a JWT each, or a bearer that is not accepted once"
        )
        results = [inconclusive(codes.RUN_NEEDS_CREDENTIALS, *_WHERE, message, **join)]
    elif error.status == 401:
        message = (
            "the control plane refuses the bearer, a JWT whose dates are right and which this run sent for the first "
            f"time: it is {USED_UP} already, or signed with another secret: {error.message}"
        )
        remedies = by_hand("Make a new JWT for this node, with an id that no other one has.", where="control host")
        fields = {"problem": [USED_UP, "another secret"], "http_status": 401}
        results = [failed(codes.ENROLL_UNAUTHORIZED, *_WHERE, message, remedies=remedies, measurements=fields, **join)]
    else:
        results = [failed(code_of(error), *_WHERE, f"join failed: {error.message}", aspect=Step.JOIN)]
    return [_without_bootstrap(), *results, *blocked([_without_bootstrap(), *results], None)]


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
        Step.LEASE: f"a lease was granted, renewed and released{again}",
        Step.LEAVE: f"{facts.identity} has left again{again}",
    }[outcome.step]


def blocked(reported: list[Result], facts: EnrolmentFacts | None) -> list[Result]:
    """A skip for every step that was not reached; what fails after a step did not stop it."""
    steps = [str(step) for step in Step]
    missing = [step for step in Step if step not in {result.aspect for result in reported}]
    bad = next((result for result in reported if result.code and result.code is not codes.RUN_NOT_APPLICABLE), None)
    first = steps.index(bad.aspect) if bad is not None and bad.aspect in steps else len(steps) * (bad is None)
    return [_left_out(step, facts) if facts and steps.index(step) < first else _stopped(step, bad) for step in missing]


def _left_out(step: Step, facts: EnrolmentFacts) -> Result:
    message = f"the row of {facts.identity} existed before, hidden from the list, so it was not removed"
    if step is Step.LEASE:
        message = f"the row of {facts.identity} is in maintenance, so that nobody gives it work, and gets no lease"
    return skipped(codes.RUN_NOT_APPLICABLE, *_WHERE, message, aspect=step)


def _stopped(step: Step, bad: Result | None) -> Result:
    stopper = bad.aspect if bad is not None else Step.JOIN
    return skipped(
        codes.RUN_BLOCKED,
        *_WHERE,
        f"{stopper} did not pass" + (", so the node did not join" if step is Step.LEAVE else ""),
        aspect=step,
        blocked_by=f"enroll.cycle/{CONTROL}/{Direction.ROUND_TRIP}/{stopper}",
    )


def _without_bootstrap() -> Result:
    message = "no bootstrap token was given, so the node joins with its token"
    return skipped(codes.RUN_NOT_APPLICABLE, CONTROL, Direction.ROUND_TRIP, message, aspect=Step.BOOTSTRAP)


def _missed() -> Result:
    """The one-time token would reach another route."""
    return failed(
        codes.CONTROL_BAD_ANSWER,
        *_WHERE,
        f"POST {EXCHANGE_ROUTE} was answered 401 by a control plane, which demands no bearer there: {CHANGES_PATH}; "
        "the one-time token was not sent",
        aspect=Step.BOOTSTRAP,
        remedies=KEEP_PATH,
        measurements={"problem": PATH_CHANGED, "http_status": 401},
        station=request("server"),
    )


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
