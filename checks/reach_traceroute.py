"""Which path do packets take inside the overlay, there and back?"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence

from preflight.api import (
    Context,
    Direction,
    Evidence,
    Peer,
    Remedies,
    Result,
    check,
    codes,
    failed,
    for_each_peer,
    inconclusive,
    look,
    passed,
    warned,
)
from preflight.model.facts import ReverseTraceFacts, TraceFacts
from preflight.model.icmp import Hop, Trace
from preflight.model.kernel import Link, NeedsPlatform
from preflight.model.overlay import OverlayState
from preflight.model.return_path import ReverseTraceroute
from preflight.proto.responder.return_path import other_way

CONCURRENT_PEERS = 128
GAP_S = 0.004
"""Between two peers: with four probes for each, a thousand packets a second."""


@check(
    "reach.traceroute",
    title="The path stays inside the overlay, both ways",
    subject="peer",
    needs=("reach.icmp",),
    timeout=20,
    timeout_per_peer=0.1,
    codes=(codes.OVERLAY_ROUTE_LEAK, codes.REACH_ASYMMETRIC),
)
async def reach_traceroute(ctx: Context) -> AsyncGenerator[Result, None]:
    """Traces each peer by UDP and asks its responder to trace back. One hop is a mesh, two hops a hub, the underlay a
    leak.

    The directions differ if a packet crosses more links one way than the other, or if the peer sends on
    another interface than packets come in on. Addresses prove nothing: routers show a different one in each direction.
    Nor does silence.
    """

    async def measure(peer: Peer) -> tuple[Trace, ReverseTraceroute | None]:
        return await asyncio.gather(ctx.net.icmp.trace(peer.address), ctx.net.path.trace_back(peer))

    try:
        links = await ctx.net.kernel.links()
        async for peer, (trace, back) in for_each_peer(ctx.peers, measure, at_once=CONCURRENT_PEERS, gap_s=GAP_S):
            traces = [trace] if back is None else [trace, back.trace]
            # Of the peer itself it is known; in a mesh of hundreds there is nobody else on the way.
            routers = (hop for each in traces for hop in each.hops if not hop.reached)
            overlay = await ctx.net.with_routes(
                ctx.overlay, {hop.address for hop in routers if hop.address is not None}
            )
            yield judge(peer, overlay, trace, links)
            # reach.udp reports a missing responder; the return path is then not known.
            if back is not None:
                yield judge_back(peer, overlay, trace, back, links)
    except NeedsPlatform as error:
        for peer in ctx.peers:
            yield inconclusive(codes.RUN_NEEDS_PLATFORM, peer.target, Direction.FORWARD, str(error))


def judge(peer: Peer, state: OverlayState | None, trace: Trace, links: Iterable[Link]) -> Result:
    """Silence is not a fault: a peer may drop the probes or limit its ICMP errors. It is reachable, or this check
    would not run.
    """
    evidence = (_evidence(f"UDP probes to {peer.address}", trace),)
    facts = TraceFacts(hops=len(trace.hops) if trace.reached else None, reached=trace.reached)
    stray = _stray(trace, state, links)
    if stray is not None:
        hop, why = stray
        return failed(
            codes.OVERLAY_ROUTE_LEAK,
            peer.target,
            Direction.FORWARD,
            f"hop {hop.ttl} to {peer.address} is {hop.address}, which {why}",
            remedies=look(f"ip rule; ip route get {peer.address} ipproto udp dport 33434"),
            facts=facts,
            evidence=evidence,
        )
    message = _describe(peer.address, trace)
    return passed(peer.target, Direction.FORWARD, message, facts=facts, evidence=evidence)


def judge_back(
    peer: Peer, state: OverlayState | None, there: Trace, back: ReverseTraceroute, links: Iterable[Link]
) -> Result:
    """A different return path is a warning: its packets arrive. If they do not, `reach.udp` finds out why."""
    forward, reverse = _distances(there, back)
    facts = ReverseTraceFacts(
        hops=reverse,
        hops_forward=forward,
        reached=back.trace.reached,
        interface=back.way.interface,
        arrival_interface=back.way.arrival,
    )
    evidence = (_evidence(f"UDP probes of {peer.target} to this node", back.trace),)
    reasons = _differences(peer, state, back, (forward, reverse), links)
    if reasons:
        return warned(
            codes.REACH_ASYMMETRIC,
            peer.target,
            Direction.REVERSE,
            "; ".join(reasons),
            remedies=_remedies(peer, back),
            facts=facts,
            evidence=evidence,
        )
    message = f"from {peer.target}: {_describe('this node', back.trace)}"
    return passed(peer.target, Direction.REVERSE, message, facts=facts, evidence=evidence)


def _distances(there: Trace, back: ReverseTraceroute) -> tuple[int | None, int | None]:
    """Links there and back: from the remaining TTL of a packet in each direction, which no lost probe changes, else
    from two traces without gaps. It never mixes the two methods.
    """
    if back.forward_hops is not None and back.reverse_hops is not None:
        return back.forward_hops, back.reverse_hops
    return there.distance, back.trace.distance


def _differences(
    peer: Peer,
    state: OverlayState | None,
    back: ReverseTraceroute,
    distances: Sequence[int | None],
    links: Iterable[Link],
) -> list[str]:
    """What proves a different return path; the address of a router is not proof."""
    found = [other_way(back.way, back.here, peer.target).message] if back.way.elsewhere else []
    forward, reverse = distances
    if None not in distances and forward != reverse:
        found.append(f"{_count(reverse)} from {peer.target} to this node and {_count(forward)} from here to there")
    stray = _on_the_underlay(back.trace, state, links)
    if stray is not None:
        hop, link = stray
        found.append(f"hop {hop.ttl} from {peer.target} to this node is {hop.address}, which is on {link.name}")
    return found


def _remedies(peer: Peer, back: ReverseTraceroute) -> Remedies:
    if back.way.elsewhere:
        return other_way(back.way, back.here, peer.target).remedies
    line = f"preflight run reach.traceroute overlay.route --peer {back.here}"
    return look(line, where="peer", host=peer.target)


def _stray(trace: Trace, state: OverlayState | None, links: Iterable[Link]) -> tuple[Hop, str] | None:
    """The first router on the path that is outside the overlay, and the proof.

    It is a neighbour on the underlay, or its answer came in from the underlay. Any other address may be a second
    address of an overlay router, whose answer comes through the tunnel: a hop address off the overlay does not prove a
    hop outside it.
    """
    neighbour = _on_the_underlay(trace, state, links)
    if neighbour is not None:
        return neighbour[0], f"is on {neighbour[1].name}, not on the overlay"
    names = {link.name for link in links if not link.loopback} - _tunnels(state)
    for hop in _routers(trace, state):
        if state is not None and state.interface and hop.interface in names:
            return hop, f"is not on the overlay and answered on {hop.interface}"
    return None


def _on_the_underlay(trace: Trace, state: OverlayState | None, links: Iterable[Link]) -> tuple[Hop, Link] | None:
    for hop in _routers(trace, state):
        for link in links:
            outside = not link.loopback and link.name not in _tunnels(state)
            if outside and hop.address is not None and link.holds(hop.address):
                return hop, link
    return None


def _tunnels(state: OverlayState | None) -> set[str | None]:
    """The interfaces of the overlay."""
    return {tunnel.interface for tunnel in state.own_tunnels} if state is not None else set()


def _routers(trace: Trace, state: OverlayState | None) -> list[Hop]:
    """The hops on the path without an overlay address."""
    shown = [hop for hop in trace.hops if hop.address is not None and not hop.reached]
    return [hop for hop in shown if state is None or not state.covers(str(hop.address))]


def _describe(destination: str, trace: Trace) -> str:
    if not trace.hops:
        reason = f" ({trace.error})" if trace.error else ""
        return f"traceroute's probes to {destination} get no answers, so the path is not known{reason}"
    way = ", ".join(hop.address or "*" for hop in trace.hops)
    if trace.reached:
        return f"{_count(len(trace.hops))} to {destination}: {way}"
    return f"the visible part of the path to {destination}: {way}"


def _count(hops: int | None) -> str:
    return f"{hops} {'hop' if hops == 1 else 'hops'}"


def _evidence(summary: str, trace: Trace) -> Evidence:
    return Evidence("traceroute", summary, [_row(hop) for hop in trace.hops])


def _row(hop: Hop) -> dict[str, int | str | float | None]:
    return {
        "ttl": hop.ttl,
        "address": hop.address,
        "rtt_ms": None if hop.rtt_ms is None else round(hop.rtt_ms, 3),
        "interface": hop.interface,
    }
