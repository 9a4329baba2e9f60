"""Is there a bearer that a worker of this node would send, and can it be right?"""

import time
from collections.abc import AsyncGenerator

from preflight.api import (
    CONTROL,
    Code,
    Context,
    Direction,
    Remedies,
    Result,
    by_hand,
    check,
    codes,
    failed,
    passed,
    request,
    skipped,
)
from preflight.model.token import HeldToken
from preflight.proto.control.token_finding import malformed_bearer, measured
from preflight.proto.control.token_text import JwtClaims, jwt_claims, jwt_trouble

NEW_TOKEN = "Make a new token for this node on the control host, and put it into {place}."  # noqa: S105 - a sentence
_BEARER = request("bearer")


@check(
    "enroll.bearer",
    title="The bearer that workers send can be right",
    subject="control",
    codes=(codes.ENROLL_BEARER_MALFORMED, codes.ENROLL_UNAUTHORIZED, codes.ENROLL_FORBIDDEN),
    timeout=10,
)
async def enroll_bearer(ctx: Context) -> AsyncGenerator[Result, None]:
    """Look at the text of the bearer, and at what a JWT says of itself. It sends nothing.

    Workers read `VOX_MESH_TOKEN` from their environment, and then from their own files.
    """
    secrets = ctx.settings.secrets
    bearer = secrets.bearers[0] if secrets.bearers else None
    for result in judge(bearer, secrets.submitter, time.time(), secrets.only_for_workers):
        yield result


def judge(
    bearer: HeldToken | None, submitter: HeldToken | None, now_unix_s: float, only_for_workers: str | None = None
) -> list[Result]:
    """One result about the bearer, and one about a submitter's token that cannot be right.

    only_for_workers: the variable of a token that no worker sends, where there is no bearer.
    """
    found = [_without(only_for_workers) if bearer is None else _judge_bearer(bearer, now_unix_s)]
    if submitter is not None and submitter.trouble is not None:
        found.append(_malformed(submitter, "submitter"))
    return found


def _without(only_for_workers: str | None) -> Result:
    message = "this node has no bearer"
    if only_for_workers is not None:
        message += f"; workers do not send {only_for_workers}"
    return skipped(codes.RUN_NOT_APPLICABLE, CONTROL, Direction.LOCAL, message)


def _judge_bearer(held: HeldToken, now_unix_s: float) -> Result:
    if held.trouble is not None:
        return _malformed(held)
    claims = jwt_claims(held.value.get_secret_value()) if held.value is not None else None
    if claims is None:
        return passed(CONTROL, Direction.LOCAL, f"workers send the bearer of {held.place}", station=_BEARER)
    return _judge_jwt(held, claims, now_unix_s)


def _judge_jwt(held: HeldToken, claims: JwtClaims, now_unix_s: float) -> Result:
    trouble = jwt_trouble(claims, now_unix_s)
    if trouble is not None:
        message = f"the bearer of {held.place} {trouble.said}, so every request with it is refused"
        return _refused(codes.ENROLL_UNAUTHORIZED, held, message, **measured(held, trouble))
    if claims.role == "submitter":
        message = f"the bearer of {held.place} is a JWT of the role submitter, which may not join"
        return _refused(codes.ENROLL_FORBIDDEN, held, message, role=claims.role)
    once = ", and is accepted once: no check sends it without need" if claims.jti else ""
    message = f"workers send the bearer of {held.place}, a JWT whose dates are right{once}"
    return passed(CONTROL, Direction.LOCAL, message, station=_BEARER)


def _refused(code: Code, held: HeldToken, message: str, **fields: object) -> Result:
    remedies: Remedies = by_hand(NEW_TOKEN.format(place=held.place), where="control host")
    return failed(
        code, CONTROL, Direction.LOCAL, message, station=_BEARER, remedies=remedies, measurements=dict(fields)
    )


def _malformed(held: HeldToken, aspect: str = "") -> Result:
    assert held.trouble is not None  # the caller has looked
    found = malformed_bearer(held, held.trouble)
    return failed(
        codes.ENROLL_BEARER_MALFORMED,
        CONTROL,
        Direction.LOCAL,
        found.message,
        aspect=aspect,
        station=_BEARER,
        remedies=found.remedies,
        measurements=found.measurements,
    )
