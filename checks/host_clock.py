"""Is this node's clock right, as far as anything here can tell?"""

from collections.abc import AsyncGenerator

from preflight.api import NODE, Context, Direction, Result, check, codes, inconclusive, passed, skipped, warned
from preflight.model.control import ControlError
from preflight.model.kernel import ClockState, NeedsPlatform
from preflight.proto.clock import Offset, clock_offset

TOLERANCE_S = 2.0
PATIENCE_S = 2.0


@check(
    "host.clock",
    title="The clock is synchronised",
    subject="node",
    timeout=10,
    codes=(codes.HOST_CLOCK_UNSYNCED,),
)
async def host_clock(ctx: Context) -> AsyncGenerator[Result, None]:
    """Asks the kernel whether its clock is kept in step; if not, compares it with the control plane's `Date`."""
    try:
        state = ctx.net.kernel.clock()
    except NeedsPlatform as error:
        yield inconclusive(codes.RUN_NEEDS_PLATFORM, NODE, Direction.LOCAL, str(error))
        return
    others = bool(ctx.settings.control.url)
    yield judge(state, None if state.synchronised else await other_clock(ctx), others=others)


async def other_clock(ctx: Context) -> Offset | None:
    """The control plane's clock against this one; None where there is none to ask or it does not tell the time."""
    if not ctx.settings.control.url:
        return None
    try:
        return clock_offset([await ctx.net.control.health(timeout_s=PATIENCE_S)])
    except ControlError:
        return None


def judge(state: ClockState, other: Offset | None, *, others: bool) -> Result:
    """The kernel's word counts, else another clock that agrees within 2 s; `others`: whether there is one to ask."""
    if state.synchronised:
        return passed(
            NODE,
            Direction.LOCAL,
            f"the kernel's clock is synchronised (estimated error {state.estimated_error_ms:g} ms)",
            measurements={"synchronised": True, "estimated_error_ms": state.estimated_error_ms},
        )
    if other is None and others:
        # Why it could not be asked is another check's finding; an unknown difference is none.
        message = "nothing synchronises the kernel's clock, and no other clock answered that could confirm it"
        return skipped(codes.RUN_NOT_APPLICABLE, NODE, Direction.LOCAL, message)
    if other is None:
        return _unsynced("nothing synchronises the kernel's clock, and there is no other clock to confirm it", {})
    measured = {"synchronised": False, "offset_s": round(-other.middle_s, 2)}
    if other.least_s <= TOLERANCE_S:
        message = f"nothing synchronises the kernel's clock, but the control plane's agrees within {TOLERANCE_S:g} s"
        return passed(NODE, Direction.LOCAL, message, measurements=measured)
    side = "behind" if other.middle_s > 0 else "ahead of"
    message = (
        f"nothing synchronises the kernel's clock, and it is {abs(other.middle_s):.0f} s {side} the control plane's"
    )
    return _unsynced(message, measured)


def _unsynced(message: str, measurements: dict[str, bool | float]) -> Result:
    return warned(
        codes.HOST_CLOCK_UNSYNCED,
        NODE,
        Direction.LOCAL,
        message,
        remedy="timedatectl set-ntp true",
        measurements=measurements,
    )
