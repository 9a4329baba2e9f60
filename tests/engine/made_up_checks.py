"""Checks made up for the tests of the runner, and a run of them."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

from preflight import codes
from preflight.api import (
    Check,
    Context,
    Direction,
    Facts,
    Peer,
    Result,
    Subject,
    When,
    check,
    passed,
)
from preflight.engine.plan import Selection, make_plan
from preflight.engine.runner import Outcome, Progress, Runner
from preflight.model.event import Listener
from preflight.net import Net
from preflight.settings.load import Settings
from preflight.settings.schema import ControlSettings

B, C = Peer("10.66.0.2", "b"), Peer("10.66.0.3", "c")
Body = Callable[[Context], AsyncGenerator[Result, None]]


def declare(
    id: str,
    body: Body,
    *needs: str,
    subject: Subject = "peer",
    timeout: float = 5,
    timeout_per_peer: float = 0,
    measures: bool = False,
    after: tuple[str, ...] = (),
    when: When = "always",
    reads: tuple[type[Facts], ...] = (),
) -> Check:
    return check(
        id,
        after=after,
        when=when,
        reads=reads,
        title=id,
        subject=subject,
        codes=(codes.REACH_UNREACHABLE, codes.OVERLAY_DOWN),
        needs=needs,
        timeout=timeout,
        timeout_per_peer=timeout_per_peer,
        measures=measures,
    )(body)


async def fine(ctx: Context) -> AsyncGenerator[Result, None]:
    for peer in ctx.peers:
        yield passed(peer.target, Direction.ROUND_TRIP, "fine")


def run(
    *checks: Check,
    timeout_s: float | None = None,
    act: Callable[[asyncio.Event], Awaitable[None]] | None = None,
    peers: tuple[Peer, ...] = (B, C),
    listener: Callable[[Progress], None] = lambda event: None,
    timeline: Listener | None = None,
) -> Outcome:
    async def go() -> Outcome:
        settings = Settings(control=ControlSettings(url="http://10.66.0.3"))
        context = Context(settings, peers, None, Net(settings))
        interrupted = asyncio.Event()
        events: list[Progress] = []
        plan = make_plan(checks, Selection())

        def listen(event: Progress) -> None:
            events.append(event)
            listener(event)

        runner = Runner(plan, context, listen, interrupted=interrupted, timeout_s=timeout_s, timeline=timeline)
        helper = asyncio.ensure_future(act(interrupted)) if act else None
        outcome = await runner.run()
        if helper:
            await helper
        finished = [event.check.id for event in events if event.results is not None]
        assert sorted(finished) == sorted(check.id for check in checks)
        return outcome

    return asyncio.run(go())


def shown(outcome: Outcome) -> dict[str, tuple[str, str | None, str | None]]:
    return {r.id: (r.status.value, r.code.slug if r.code else None, r.blocked_by) for r in outcome.results}
