"""Does the control plane itself answer on its API routes, or something in front of it?"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from preflight.api import CONTROL, Context, Direction, Evidence, Result, check, failed, passed, request
from preflight.model.control import ControlError, HttpAnswer
from preflight.model.printable import excerpt
from preflight.proto.control import answers
from preflight.proto.control.answerer import BACKEND, OWN, asked_to_wait, says_too_many, strange
from preflight.proto.control.answers import THROTTLED, Finding
from preflight.proto.control.backoff import delay_s
from preflight.proto.control.populi import FEATURE_HEADER, LIST_ROUTE, LOOKED_AT_BYTES, is_populi
from preflight.proto.control.url import ControlUrl

if TYPE_CHECKING:
    from preflight.api import ControlClient

ASKED_S = 5.0
ATTEMPTS = 3
PATIENCE_S = 6.0
"""How long, in total, to wait for a server that says `later`."""
LATER = (THROTTLED, *BACKEND)


@check(
    "control.api",
    title="The control plane itself answers on its API",
    subject="control",
    codes=answers.FINDINGS,
    needs=("control.health",),
    timeout=25,
)
async def control_api(ctx: Context) -> AsyncGenerator[Result, None]:
    """`GET nodes` without a bearer: a gateway may pass `/health` on and answer the API itself.

    So no bearer is sent before a control plane has shown itself on the route that gets it.
    """
    answer = await measure(ctx.net.control)
    too_many = isinstance(answer, HttpAnswer) and says_too_many(answer)
    limit = ctx.net.control.pace.finding() if too_many else None
    yield judge(answer, ctx.settings.control.usable_url, limit)


async def measure(client: "ControlClient") -> HttpAnswer | ControlError:
    """The last real answer; repeated only if it says `later`, and only if there is time for what it asks."""
    ends = time.monotonic() + PATIENCE_S
    for attempt in range(1, ATTEMPTS + 1):
        try:
            answer = await client.send(
                "GET",
                LIST_ROUTE,
                timeout_s=ASKED_S,
                most_bytes=LOOKED_AT_BYTES,
                recall="any" if attempt == 1 else "nothing",
            )
        except ControlError as error:
            return error
        if answer.renamed and not answer.kept and attempt == 1:
            continue  # a cache gives the same answer again
        wait_s = delay_s(attempt, asked_to_wait(answer), random.random())  # noqa: S311 - jitter
        if answer.status not in LATER or attempt == ATTEMPTS or time.monotonic() + wait_s > ends:
            break
        await asyncio.sleep(wait_s)
    return answer


def judge(outcome: HttpAnswer | ControlError, url: ControlUrl | None, limit: Finding | None = None) -> Result:
    """A control plane's own answer, or whose it is. limit: what refuses requests for their number."""
    if isinstance(outcome, ControlError):
        found = answers.finding(outcome, url)
        return _bad(found, Evidence("http", f"GET {LIST_ROUTE}", {"error": outcome.kind, "message": outcome.message}))
    names = ("server", "content-type", FEATURE_HEADER, "location", "retry-after", "via", "www-authenticate")
    headers = {name: excerpt(outcome.headers[name]) for name in names if name in outcome.headers}
    evidence = Evidence("http", f"GET {LIST_ROUTE}, without a bearer", {"status": outcome.status, "headers": headers})
    if outcome.kept:
        return _bad(answers.finding(answers.outdated(f"GET {LIST_ROUTE}", outcome), url), evidence)
    if is_populi(outcome) and outcome.status in OWN:
        message = f"a control plane answers {outcome.status} to GET {LIST_ROUTE} without a bearer"
        return passed(CONTROL, Direction.ROUND_TRIP, message, evidence=(evidence,), station=request("server"))
    return _bad(limit or strange(f"GET {LIST_ROUTE}", outcome, url), evidence)


def _bad(found: Finding, evidence: Evidence) -> Result:
    return failed(
        found.code,
        CONTROL,
        Direction.ROUND_TRIP,
        found.message,
        remedies=found.remedies,
        measurements=found.decided.measurements(),
        evidence=(evidence,),
        station=request(found.station),
    )
