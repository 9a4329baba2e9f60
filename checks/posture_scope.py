"""Does the control plane enforce its scope, the boundary between clusters?"""

from collections.abc import AsyncGenerator
from shlex import quote

from preflight.api import (
    CONTROL,
    Context,
    Direction,
    Result,
    by_hand,
    check,
    codes,
    failed,
    inconclusive,
    look,
    passed,
    skipped,
    warned,
)
from preflight.model.roles import ScopeTrial
from preflight.proto.control.scope_name import guessable


@check(
    "posture.scope",
    title="Control plane refuses another scope",
    subject="control",
    codes=(codes.POSTURE_SCOPE_OPEN, codes.POSTURE_SCOPE_GUESSABLE, codes.ENROLL_LEAVE_FAILED),
    needs=("control.api", "run.left-behind", "enroll.bearer"),
    timeout=30,
)
async def posture_scope(ctx: Context) -> AsyncGenerator[Result, None]:
    """Join under a made-up scope, as a node in maintenance, and leave at once.

    Nothing else proves it, and if the scope is open the join succeeds: so it runs only with `--intrusive` or
    `--enroll`.
    """
    settings = ctx.settings
    for result in judge_name(settings.control.scope_id):
        yield result
    if settings.enrolment is None and not settings.intrusive:
        yield skipped(
            codes.RUN_NOT_ENROLLING,
            CONTROL,
            Direction.ROUND_TRIP,
            "only a join under another scope shows whether the scope is enforced, and that may write to the cluster",
            remedies=look("preflight run posture.scope --intrusive"),
        )
        return
    if settings.secrets.once is not None:
        message = "the bearer is a JWT that is accepted once, and a join could not be undone with it"
        yield skipped(codes.RUN_NOT_APPLICABLE, CONTROL, Direction.ROUND_TRIP, message)
        return
    trial = await ctx.net.foreign_scope()
    if trial.refused and settings.secrets.token is None:
        message = "this node has no bearer yet, and the control plane lets nobody join without one"
        yield skipped(codes.RUN_NOT_APPLICABLE, CONTROL, Direction.ROUND_TRIP, message)
        return
    for result in judge(trial, settings.control.scope_id):
        yield result


def judge_name(scope_id: str | None) -> list[Result]:
    """A finding for a scope id that strangers would choose too; a node that comes to the wrong cluster gets in."""
    if scope_id is None or not guessable(scope_id):
        return []
    message = (
        f"the scope id of this node, {scope_id!r}, is a name that unrelated people choose too, so it keeps no cluster "
        "apart from another"
    )
    lines = (
        "Choose a scope id that nobody else has, such as a random one, and give it to the control plane and all nodes."
    )
    remedies = by_hand(lines, where="control host")
    fields = {"scope_id": scope_id}
    where = (CONTROL, Direction.LOCAL)
    return [
        warned(codes.POSTURE_SCOPE_GUESSABLE, *where, message, aspect="name", remedies=remedies, measurements=fields)
    ]


def judge(trial: ScopeTrial, scope_id: str | None = None) -> list[Result]:
    """A refusal with 403 is right; an accepted join is a finding, and so is a node that stays listed. scope_id: this
    node's.
    """
    where = (CONTROL, Direction.ROUND_TRIP)
    if trial.verdict == "enforced":
        results = [passed(*where, f"a join under the scope {trial.scope_id}, which nobody has, is refused")]
    elif trial.verdict == "open":
        message = (
            f"a join under the scope {trial.scope_id}, which nobody has, was accepted; nodes of any cluster can join"
        )
        scope = quote(scope_id) if scope_id else "SCOPE-OF-THIS-CLUSTER"
        line = f"VOX_MESH_SCOPE_ID={scope}   # in the control plane's environment; then restart it"
        results = [failed(codes.POSTURE_SCOPE_OPEN, *where, message, remedies=by_hand(line, where="control host"))]
    else:
        by_token = trial.refused or "was answered 403: " in trial.detail
        again = "with a worker's token" if by_token else "when joins are answered by the control plane"
        message = f"it is not known whether the scope is enforced: {trial.detail}; run again {again}"
        results = [inconclusive(codes.RUN_NO_ANSWER, *where, message)]
    if not trial.left:
        message = f"the node {trial.identity}, in maintenance, may still be listed: leave got no answer"
        post = f'POST {{"id":"{trial.identity}"}} to /v1/populi/leave with this node\'s bearer.'
        remedies = by_hand(post if trial.written_down is None else trial.written_down.clean_line)
        results.append(failed(codes.ENROLL_LEAVE_FAILED, *where, message, remedies=remedies, aspect="leave"))
    return results
