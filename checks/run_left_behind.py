"""Did earlier runs of this user leave nodes on the control plane?"""

from collections.abc import AsyncGenerator, Sequence

from preflight.api import (
    CONTROL,
    Context,
    Direction,
    Evidence,
    Result,
    by_hand,
    check,
    codes,
    passed,
    skipped,
    warned,
)
from preflight.model.enrolment import LeftBehind
from preflight.proto.control.left_behind import STILL_THERE, sentence

SHOWN = 3


@check(
    "run.left-behind",
    title="Earlier runs left nothing on the control plane",
    subject="control",
    needs=("control.url",),
    codes=(codes.RUN_LEFT_BEHIND,),
    timeout=30,
)
async def run_left_behind(ctx: Context) -> AsyncGenerator[Result, None]:
    """Look for nodes that a killed run joined; each run records them in this user's state folder before it joins.

    A run that writes to the cluster (`--enroll`, `--intrusive`) removes them, and no other node; any other run
    names them and the command that removes them.
    """
    url = ctx.settings.control.usable_url
    if url is None:
        message = "there is no usable control URL, so no control plane can be asked"
        yield skipped(codes.RUN_NOT_APPLICABLE, CONTROL, Direction.ROUND_TRIP, message)
        return
    writes = ctx.settings.enrolment is not None or ctx.settings.intrusive
    yield judge(await ctx.net.left_behind(str(url), remove=writes))


def judge(leftovers: Sequence[LeftBehind]) -> Result:
    """One result for all: a warning as long as one may still be listed."""
    where = (CONTROL, Direction.ROUND_TRIP)
    if not leftovers:
        return skipped(codes.RUN_NOT_APPLICABLE, *where, "no earlier run of this user left anything there")
    bad = [left for left in leftovers if left.fate in STILL_THERE]
    sentences = [sentence(left) for left in bad or leftovers]
    more = f"; and {len(sentences) - SHOWN} more" if len(sentences) > SHOWN else ""
    message = "; ".join(sentences[:SHOWN]) + more
    evidence = (Evidence("left-behind", "what earlier runs left", [sentence(left) for left in leftovers]),)
    measurements = {"rows": len(leftovers), "still_there": len(bad)}
    if not bad:
        return passed(*where, message, evidence=evidence, measurements=measurements)
    remedies = by_hand(next((left.row.clean_line for left in bad if left.row), "preflight clean"))
    return warned(
        codes.RUN_LEFT_BEHIND, *where, message, remedies=remedies, evidence=evidence, measurements=measurements
    )
