"""Can the one-time token of this enrolment be right? Judged before anything sends it."""

from collections.abc import AsyncGenerator

from preflight.api import CONTROL, Context, Direction, Result, Station, check, codes, failed, passed, skipped
from preflight.model.token import HeldToken
from preflight.proto.control.token_finding import malformed_one_time_token

_TOKEN = Station("token", kind="token")


@check(
    "enroll.bootstrap",
    title="The one-time token can be right",
    subject="control",
    codes=(codes.ENROLL_BOOTSTRAP_MALFORMED,),
    timeout=10,
)
async def enroll_bootstrap(ctx: Context) -> AsyncGenerator[Result, None]:
    """Look at the text of the one-time token, and compare it with this node's other tokens. It sends nothing."""
    enrolment = ctx.settings.enrolment
    yield judge(enrolment.bootstrap if enrolment is not None else None)


def judge(held: HeldToken | None) -> Result:
    """A finding if the token cannot be right: it is not sent then, so it is not spent."""
    if held is None:
        message = "this run has no one-time token"
        return skipped(codes.RUN_NOT_APPLICABLE, CONTROL, Direction.LOCAL, message)
    if held.trouble is None:
        message = f"the text of {held.place} can be a one-time token"
        return passed(CONTROL, Direction.LOCAL, message, station=_TOKEN)
    found = malformed_one_time_token(held, held.trouble)
    return failed(
        codes.ENROLL_BOOTSTRAP_MALFORMED,
        CONTROL,
        Direction.LOCAL,
        found.message,
        station=_TOKEN,
        remedies=found.remedies,
        measurements=found.measurements,
    )
