"""Which way do packets take inside the overlay?"""

import asyncio
from collections.abc import AsyncGenerator, Iterable

from preflight.api import Context, Direction, Evidence, Peer, Result, check, codes, failed, inconclusive, passed
from preflight.model.icmp import Hop, Trace
from preflight.model.kernel import Link, NeedsPlatform
from preflight.model.overlay import OverlayState


@check(
    "reach.traceroute",
    title="The path stays inside the overlay",
    subject="peer",
    needs=("reach.icmp",),
    timeout=20,
    codes=(codes.OVERLAY_ROUTE_LEAK,),
)
async def reach_traceroute(ctx: Context) -> AsyncGenerator[Result, None]:
    """Traces each peer by UDP. One hop is a mesh, two a hub; a hop that this node's own LAN holds is a leak."""
    try:
        links = await ctx.net.kernel.links()
        traces = await asyncio.gather(*(ctx.net.icmp.trace(peer.address) for peer in ctx.peers))
    except NeedsPlatform as error:
        for peer in ctx.peers:
            yield inconclusive(codes.RUN_NEEDS_PLATFORM, peer.target, Direction.FORWARD, str(error))
        return
    for peer, trace in zip(ctx.peers, traces, strict=True):
        yield judge(peer, ctx.overlay, trace, links)


def judge(peer: Peer, state: OverlayState | None, trace: Trace, links: Iterable[Link]) -> Result:
    """Silence is no fault: a peer that drops the probes without a word has answered otherwise, or we were not here."""
    evidence = (Evidence("traceroute", f"UDP probes to {peer.address}", [_row(hop) for hop in trace.hops]),)
    measurements = {"hops": len(trace.hops) if trace.reached else None, "reached": trace.reached}
    stray = _stray(trace, state, links)
    if stray is not None:
        hop, link = stray
        return failed(
            codes.OVERLAY_ROUTE_LEAK,
            peer.target,
            Direction.FORWARD,
            f"hop {hop.ttl} to {peer.address} is {hop.address}, which lies on {link.name} and not on the overlay",
            remedy=f"ip route get {peer.address}",
            measurements=measurements,
            evidence=evidence,
        )
    return passed(peer.target, Direction.FORWARD, _describe(peer, trace), measurements=measurements, evidence=evidence)


def _stray(trace: Trace, state: OverlayState | None, links: Iterable[Link]) -> tuple[Hop, Link] | None:
    """The first router on the way that is a neighbour on the underlay.

    Any other address may be a second one of an overlay router: not every hop that is not on the overlay is outside it.
    """
    for hop in trace.hops:
        if hop.address is None or hop.reached or (state is not None and state.covers(hop.address)):
            continue
        for link in links:
            if not link.loopback and (state is None or link.name != state.interface) and link.holds(hop.address):
                return hop, link
    return None


def _describe(peer: Peer, trace: Trace) -> str:
    if not trace.hops:
        reason = f" ({trace.error})" if trace.error else ""
        return f"{peer.address} drops traceroute's probes without a word, so the way there is not shown{reason}"
    way = ", ".join(hop.address or "*" for hop in trace.hops)
    if trace.reached:
        return f"{len(trace.hops)} {'hop' if len(trace.hops) == 1 else 'hops'} to {peer.address}: {way}"
    return f"the way to {peer.address} as far as it is shown: {way}"


def _row(hop: Hop) -> dict[str, int | str | float | None]:
    return {"ttl": hop.ttl, "address": hop.address, "rtt_ms": None if hop.rtt_ms is None else round(hop.rtt_ms, 3)}
