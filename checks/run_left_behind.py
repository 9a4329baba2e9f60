"""Is everything gone that earlier runs of this user joined on the control plane?"""

from collections.abc import AsyncGenerator, Sequence

from preflight.api import CONTROL, Context, Direction, Evidence, Result, check, codes, passed, skipped, warned
from preflight.model.enrolment import LeftBehind
from preflight.proto.control.left_behind import STILL_THERE, sentence

SHOWN = 3


@check(
    "run.left-behind",
    title="Nothing is left on the control plane of earlier runs",
    subject="control",
    needs=("control.url",),
    codes=(codes.RUN_LEFT_BEHIND,),
    timeout=30,
)
async def run_left_behind(ctx: Context) -> AsyncGenerator[Result, None]:
    """Look for rows that a killed run joined, written down in this user's state folder before each join.

    A run that writes to the cluster anyhow (`--enroll`, `--intrusive`) takes them back, and no other node's; any other
    names them and the line that does it.
    """
    url = ctx.settings.control.usable_url
    if url is None:
        message = "no control URL that a client could use, so nothing can be asked of it"
        yield skipped(codes.RUN_NOT_APPLICABLE, CONTROL, Direction.ROUND_TRIP, message)
        return
    writes = ctx.settings.enrolment is not None or ctx.settings.intrusive
    yield judge(await ctx.net.left_behind(str(url), remove=writes))


def judge(told: Sequence[LeftBehind]) -> Result:
    """One result for all rows: a warning as long as one may still be listed."""
    where = (CONTROL, Direction.ROUND_TRIP)
    if not told:
        return skipped(codes.RUN_NOT_APPLICABLE, *where, "no earlier run of this user left anything there")
    bad = [left for left in told if left.fate in STILL_THERE]
    sentences = [sentence(left) for left in bad or told]
    more = f"; and {len(sentences) - SHOWN} more" if len(sentences) > SHOWN else ""
    message = "; ".join(sentences[:SHOWN]) + more
    evidence = (Evidence("left-behind", "what earlier runs left", [sentence(left) for left in told]),)
    measurements = {"rows": len(told), "still_there": len(bad)}
    if not bad:
        return passed(*where, message, evidence=evidence, measurements=measurements)
    remedy = next((left.row.clean_line for left in bad if left.row), "preflight clean")
    return warned(codes.RUN_LEFT_BEHIND, *where, message, remedy=remedy, evidence=evidence, measurements=measurements)
