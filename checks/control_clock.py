"""Do this node's clock and the control plane's agree, within the precision of HTTP?"""

from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING

from preflight.api import (
    CONTROL,
    Context,
    Direction,
    Result,
    check,
    codes,
    failed,
    inconclusive,
    look,
    passed,
    warned,
)
from preflight.model.control import ControlError, HttpAnswer
from preflight.model.facts import ClockSkewFacts
from preflight.proto.control.clock import clock_offset
from preflight.proto.control.populi import LIST_ROUTE, is_populi

if TYPE_CHECKING:
    from preflight.api import ControlClient

SAMPLES = 3


@check(
    "control.clock",
    title="Clocks of this node and the control plane agree",
    subject="control",
    codes=(codes.CONTROL_CLOCK_SKEW,),
    needs=("control.health",),
    timeout=20,
)
async def control_clock(ctx: Context) -> AsyncGenerator[Result, None]:
    """Compare the `Date` of a few answers with this node's clock, with an error bar for this method."""
    thresholds = ctx.settings.thresholds
    yield judge(await measure(ctx.net.control), thresholds.clock_skew_ms, thresholds.clock_skew_fail_ms)


async def measure(client: "ControlClient") -> Sequence[HttpAnswer]:
    """A few answers of the control plane itself, those of a moment ago first; control.health reports what fails.

    Where another server answers `/health`, its API is asked.
    """
    answers = list(client.healths())
    elsewhere = bool(answers) and not any(map(is_populi, answers))
    if elsewhere:
        answers.clear()
    while len(answers) < SAMPLES:
        try:
            asking = client.send("GET", LIST_ROUTE, timeout_s=5.0) if elsewhere else client.health(timeout_s=5.0)
            answers.append(await asking)
        except ControlError:
            break
    return [answer for answer in answers if is_populi(answer)]


def judge(answers: Sequence[HttpAnswer], warn_ms: float, fail_ms: float) -> Result:
    """A finding only if the clocks differ by more than the threshold even at the near end of the error bar."""
    offset = clock_offset(answers)
    if offset is None:
        what = "answers have no usable time" if answers else "health route stopped answering"
        message = f"the control plane's {what}, so the clocks cannot be compared without a Date header"
        return inconclusive(codes.RUN_NO_ANSWER, CONTROL, Direction.ROUND_TRIP, message)
    measured = ClockSkewFacts(
        clock_offset_ms=round(offset.middle_s * 1000), clock_error_ms=round(offset.error_s * 1000)
    )
    least_ms = offset.least_s * 1000
    if least_ms < warn_ms:
        message = f"the clocks agree within the precision of HTTP (± {offset.error_s:.1f} s)"
        return passed(CONTROL, Direction.ROUND_TRIP, message, facts=measured)
    ahead = "ahead of" if offset.middle_s > 0 else "behind"
    make = failed if least_ms >= fail_ms else warned
    return make(
        codes.CONTROL_CLOCK_SKEW,
        CONTROL,
        Direction.ROUND_TRIP,
        f"the control plane's clock is {abs(offset.middle_s):.1f} s (± {offset.error_s:.1f} s) {ahead} this node's; "
        "this does not show which of the two is wrong",
        remedies=look("timedatectl   # here and on the control host; then on the wrong one: timedatectl set-ntp true"),
        facts=measured,
    )
