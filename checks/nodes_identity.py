"""Is this node's id its own on the control plane, and its scope that of the others?"""

import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from preflight.api import (
    CONTROL,
    Context,
    Direction,
    Result,
    by_hand,
    check,
    codes,
    passed,
    request,
    skipped,
    warned,
)
from preflight.model.control import ControlError
from preflight.model.printable import excerpt, number_of
from preflight.proto.control.clock import clock_offset
from preflight.proto.control.placement import placement
from preflight.proto.control.same_id import SHOWN, OwnRow, other_scope, own_row, since

WORKERS = ("vox",)
"""The program of a real worker."""
_WHERE = (CONTROL, Direction.ROUND_TRIP)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the list shows. elsewhere: the row announces an address that the kernel sends to another member. unheld: no
    worker runs on this machine, and this run would join it. scope: of all other nodes, and their number.
    """

    row: OwnRow | None = None
    elsewhere: bool = False
    unheld: bool = False
    scope: tuple[str, int] | None = None


@check(
    "nodes.identity",
    title="No other machine has this node's id, and its scope is that of the others",
    subject="control",
    codes=(codes.NODES_ID_TAKEN, codes.NODES_SCOPE_MIXED),
    needs=("nodes.state",),
    timeout=20,
)
async def nodes_identity(ctx: Context) -> AsyncGenerator[Result, None]:
    """Compare the list of nodes with what this node would send; it changes nothing.

    A join replaces the row of its id silently, so two machines with one id take it from each other.
    """
    settings = ctx.settings
    if settings.secrets.once is not None:
        yield skipped(codes.RUN_NOT_APPLICABLE, *_WHERE, "the bearer is a JWT that is accepted once")
        return
    try:
        yield judge(await measure(ctx), settings.control.scope_id)
    except ControlError as error:
        message = f"the list of nodes could not be read again: {error.message}"
        yield skipped(codes.RUN_NOT_APPLICABLE, *_WHERE, message)


async def measure(ctx: Context) -> Seen:
    """The list that nodes.state has read, and where its addresses lead. Raises ControlError."""
    settings, stale_ms = ctx.settings, ctx.settings.thresholds.stale_ms
    listed = await ctx.net.control.nodes(recall="any")
    offset = clock_offset(ctx.net.control.healths())
    now_ms = (time.time() + (offset.low_s if offset else 0.0)) * 1000
    row = own_row(listed.nodes, now_ms, stale_ms, settings.node.id, settings.control.usable_url)
    enrols = settings.enrolment is not None
    scope = None if enrols else other_scope(listed.nodes, now_ms, stale_ms, settings.node.id, settings.control.scope_id)
    if row is None or row.node.quarantined or row.node.draining:
        return Seen(scope=scope)
    unheld = enrols and not ctx.net.kernel.runs(WORKERS)
    if row.address is None:
        return Seen(row, unheld=unheld, scope=scope)
    overlay = await ctx.net.with_routes(ctx.overlay, [row.address])
    return Seen(row, elsewhere=placement(row.address, overlay) == "overlay", unheld=unheld, scope=scope)


def judge(seen: Seen, scope_id: str | None = None) -> Result:
    """An id of another machine before a scope of another cluster."""
    if seen.row is not None and (seen.elsewhere or seen.unheld):
        return _taken(seen, seen.row)
    if seen.scope is not None:
        return _other_scope(seen.scope, scope_id)
    message = f"{since(seen.row)}, and nothing shows that another machine sent it" if seen.row else "nobody has its id"
    return passed(*_WHERE, message, station=request("scope"))


def _taken(seen: Seen, row: OwnRow) -> Result:
    who = "which is the address of another member" if seen.elsewhere else "and no worker (vox) runs on this machine"
    message = (
        f"{since(row)}, {who}: a join from here replaces that row silently, and two machines with one id take it "
        "from each other at each heartbeat"
    )
    if not seen.elsewhere:
        message += "; the test enrolment used another id"
    remedies = by_hand("Set VOX_MESH_NODE_ID to an id that no other machine has, on this node or on that one.")
    fields = {"node_id": [excerpt(row.node.id, SHOWN)], "listen_addr": row.address}
    return warned(
        codes.NODES_ID_TAKEN, *_WHERE, message, remedies=remedies, measurements=fields, station=request("nodes")
    )


def _other_scope(scope: tuple[str, int], own: str | None) -> Result:
    theirs, count = scope
    named = excerpt(theirs, SHOWN)
    message = (
        f"this node's scope id is {excerpt(own or '', SHOWN)!r}, and {number_of('nodes', count)} of the list, all that "
        f"are up, carry {named!r}: a control plane that compares scopes, to the letter, refuses this node's join"
    )
    remedies = by_hand("Give VOX_MESH_SCOPE_ID of this node the scope id of the cluster that it is meant to join.")
    fields = {"scope_id": named, "count": count}
    return warned(
        codes.NODES_SCOPE_MIXED,
        *_WHERE,
        message,
        aspect="own",
        remedies=remedies,
        measurements=fields,
        station=request("scope"),
    )
