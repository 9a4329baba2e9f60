"""Where do the packets to and from a peer in trouble die, who saw them last, and what killed them there?"""

from collections.abc import AsyncGenerator
from functools import partial

from preflight.api import (
    Context,
    Direction,
    Observation,
    Peer,
    Result,
    check,
    codes,
    facts,
    failed,
    for_each_peer,
    skipped,
)
from preflight.proto.way.verdict import Verdict, conclude

MOST_PEERS = 6
"""A fault that many peers share is found at the first of them."""

GIVES = tuple(code for code in codes.ALL.values() if code.area in ("overlay", "host", "reach", "mtu", "udp"))


@check(
    "way.packet",
    title="No packet to or from the peer dies on its way",
    category="reach",
    subject="peer",
    needs=(),
    after=(
        *("overlay.session", "overlay.route", "reach.udp", "reach.icmp"),
        *("mtu.path", "mtu.echo", "udp.quality"),
    ),
    when="trouble",
    reads=(facts.MtuFacts,),
    measures=True,
    timeout=30,
    privileges=("net_admin", "net_raw"),
    codes=GIVES,
)
async def way_packet(ctx: Context) -> AsyncGenerator[Result, None]:
    """Follows a burst of at most ten packets, station by station, with everything that this node can see of it.

    The firewall's rules and counters, the kernel's routes and neighbours, the tunnel's own state and a tap on all
    devices are read before and after; what the peer's responder reported counts too. Where they leave several stations,
    none is named.
    """
    followed, left_out = ctx.peers[:MOST_PEERS], ctx.peers[MOST_PEERS:]
    async for peer, said in for_each_peer(followed, partial(_follow, ctx), at_once=MOST_PEERS):
        for verdict in conclude(peer.target, said):
            yield judge(peer, verdict)
    for peer in left_out:
        yield _left_out(peer)


async def _follow(ctx: Context, peer: Peer) -> tuple[Observation, ...]:
    return await ctx.net.ways.follow(peer, large=_only_large_die(ctx, peer))


def judge(peer: Peer, verdict: Verdict) -> Result:
    """One result per direction; what is proven is about its station."""
    direction = Direction(verdict.direction)
    if verdict.code is None:
        return skipped(
            codes.RUN_NOT_APPLICABLE, peer.target, direction, verdict.message, observations=verdict.observations
        )
    return failed(
        verdict.code,
        peer.target,
        direction,
        verdict.message,
        station=verdict.station,
        facts=verdict.facts,
        remedies=verdict.remedies,
        observations=verdict.observations,
    )


def _only_large_die(ctx: Context, peer: Peer) -> bool:
    """Whether a search has shown that the path carries less than the interface."""
    searches = ctx.facts(facts.MtuFacts, peer.target)
    return any(each.mtu_bytes is not None and each.mtu_bytes < each.interface_mtu_bytes for each in searches)


def _left_out(peer: Peer) -> Result:
    message = f"packets of {MOST_PEERS} peers are followed in one run; name this one with --peer to follow its packets"
    return skipped(codes.RUN_NOT_APPLICABLE, peer.target, Direction.ROUND_TRIP, message)
