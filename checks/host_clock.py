"""Is this node's clock right, compared with every clock that it can ask?"""

import asyncio
import math
from collections.abc import AsyncGenerator, Mapping

from preflight.api import (
    NODE,
    Context,
    Direction,
    Peer,
    Remedies,
    Result,
    check,
    codes,
    heal,
    inconclusive,
    passed,
    skipped,
    warned,
)
from preflight.model.control import ControlError
from preflight.model.fix import ClockSync
from preflight.model.kernel import ClockState, NeedsPlatform
from preflight.model.remedy import to_try
from preflight.proto.control.clock import Offset, clock_offset

TOLERANCE_S = 2.0
PATIENCE_S = 2.0
MAX_PEERS = 3
_CONTROL = "the control plane"


@check(
    "host.clock",
    title="The clock is synchronised",
    subject="node",
    timeout=10,
    codes=(codes.HOST_CLOCK_UNSYNCED,),
)
async def host_clock(ctx: Context) -> AsyncGenerator[Result, None]:
    """Asks the kernel whether its clock is synchronised; if not, compares it with other clocks of the cluster."""
    try:
        state = ctx.net.kernel.clock()
    except NeedsPlatform as error:
        yield inconclusive(codes.RUN_NEEDS_PLATFORM, NODE, Direction.LOCAL, str(error))
        return
    others = {} if state.synchronised else await other_clocks(ctx)
    control, skew_ms = ctx.settings.control.url is not None, ctx.settings.thresholds.clock_skew_ms
    yield judge(state, others, control=control, peers=bool(ctx.peers), skew_ms=skew_ms)


async def other_clocks(ctx: Context) -> dict[str, Offset]:
    """Other clocks minus this one, by the name of their host; only those that answer.

    One that agrees decides, so the silent are not waited for then.
    """
    asking = {asyncio.create_task(_peer_clock(ctx, peer)): peer.target for peer in ctx.peers[:MAX_PEERS]}
    asking[asyncio.create_task(_control_clock(ctx))] = _CONTROL
    offsets: dict[str, Offset] = {}
    pending = set(asking)
    try:
        while pending and not any(offset.least_s <= TOLERANCE_S for offset in offsets.values()):
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            offsets |= {asking[task]: offset for task in done if (offset := task.result()) is not None}
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
    return offsets


async def _control_clock(ctx: Context) -> Offset | None:
    if ctx.settings.control.url is None:
        return None
    try:
        return clock_offset([await ctx.net.control.health(timeout_s=PATIENCE_S)])
    except ControlError:
        return None


async def _peer_clock(ctx: Context, peer: Peer) -> Offset | None:
    """From the time stamps of the peer's responder; the error is the whole round trip."""
    stats = await ctx.net.path.stamp(peer, count=2, interval_s=0.02)
    if stats.clock_offset_ms is None:
        return None
    error_ms = min(stats.rtt_ms) / 2
    return Offset((stats.clock_offset_ms - error_ms) / 1000, (stats.clock_offset_ms + error_ms) / 1000)


def judge(
    state: ClockState, others: Mapping[str, Offset], *, control: bool, peers: bool, skew_ms: float = math.inf
) -> Result:
    """The kernel decides, else another clock that agrees within 2 s.

    control, peers: whether there is a control plane, and whether there are peers. A control plane should answer; not
    every peer has a responder. skew_ms: from which difference on control.clock reports the control plane's.
    """
    if state.synchronised:
        return passed(
            NODE,
            Direction.LOCAL,
            f"the kernel's clock is synchronised (estimated error {state.estimated_error_ms:g} ms)",
            measurements={"synchronised": True, "estimated_error_ms": state.estimated_error_ms},
        )
    if not others:
        return _alone(control=control, peers=peers)
    if set(others) == {_CONTROL} and others[_CONTROL].least_s * 1000 >= skew_ms:
        # One difference of two clocks, which control.clock reports, is not a finding about each of them.
        message = (
            "nothing synchronises the kernel's clock, and of all others only that of the control plane answered, which "
            "differs: which of the two is right, it does not show"
        )
        return inconclusive(codes.RUN_NO_ANSWER, NODE, Direction.LOCAL, message, remedies=to_try(heal(ClockSync)))
    name, nearest = min(others.items(), key=lambda other: other[1].least_s)
    measured = {"synchronised": False, "offset_s": round(-nearest.middle_s, 3)}
    if nearest.least_s <= TOLERANCE_S:
        message = f"nothing synchronises the kernel's clock, but the clock of {name} agrees within {TOLERANCE_S:g} s"
        return passed(NODE, Direction.LOCAL, message, measurements=measured)
    side = "behind" if nearest.middle_s > 0 else "ahead of"
    message = (
        f"nothing synchronises the kernel's clock, and it is {abs(nearest.middle_s):.0f} s {side} the clock of {name}"
    )
    return _unsynced(message, measured, heal(ClockSync))


def _alone(*, control: bool, peers: bool) -> Result:
    """No other clock has answered."""
    if control:
        # Another check reports why none answered; an unknown difference is not a finding.
        message = "nothing synchronises the kernel's clock, and no other clock answered to confirm it"
        return inconclusive(codes.RUN_NO_ANSWER, NODE, Direction.LOCAL, message, remedies=to_try(heal(ClockSync)))
    if peers:
        message = (
            "nothing synchronises the kernel's clock, and there is no other clock to compare it with: no control plane "
            "is configured, and no peer's responder answers"
        )
        return skipped(codes.RUN_NOT_APPLICABLE, NODE, Direction.LOCAL, message)
    message = "nothing synchronises the kernel's clock, and there is no other clock to confirm it"
    return _unsynced(message, {}, to_try(heal(ClockSync)))


def _unsynced(message: str, measurements: dict[str, bool | float], remedies: Remedies) -> Result:
    """remedies: a fix only where another clock shows that this one is wrong."""
    return warned(
        codes.HOST_CLOCK_UNSYNCED,
        NODE,
        Direction.LOCAL,
        message,
        remedies=remedies,
        measurements=measurements,
    )
