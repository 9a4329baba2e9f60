"""Are large packets lost where small ones are not?"""

import asyncio
from collections.abc import AsyncGenerator

from preflight.api import Context, Direction, Peer, Result, check, codes, failed, look, passed, skipped
from preflight.model.facts import DeathFacts, MtuSearchFacts
from preflight.model.path import DirectionStats, StampStats, combined
from preflight.proto.stamp.large_loss import COUNT, HALF, lost_by_size, may_be_size, only_large, spacings_s

MOST_PEERS = 3
"""What loses large packets of many peers is found at the first of them."""
_HEADERS = {False: 28, True: 48}


@check(
    "mtu.loss",
    title="Large packets are not lost more often than small ones",
    subject="peer",
    needs=("mtu.path",),
    reads=(MtuSearchFacts,),
    measures=True,
    timeout=120,
    timeout_per_peer=0.01,
    codes=(codes.UDP_LOSS,),
)
async def mtu_loss(ctx: Context) -> AsyncGenerator[Result, None]:
    """Sends 12 large packets, and as many small ones between them, to the peer's responder; twelve more of each where
    only large ones were lost. They take at most half of what the search for the path MTU has seen the link carry; a
    loss that this shows has to remain at an eighth.

    It runs only where the search for the path MTU had to send a size again that then arrived: the search calls such a
    path good, and the small packets of udp.quality are not lost on it.
    """
    tried = 0
    for peer in ctx.peers:
        searches = ctx.facts(MtuSearchFacts, peer.target)
        size = min((each.mtu_bytes for each in searches if each.mtu_bytes is not None), default=0)
        if not size or not any(each.recovered for each in searches) or tried >= MOST_PEERS:
            yield _not_tried(peer)
            continue
        tried += 1
        for result in judge(peer, size, *await measure(ctx, peer, size)):
            yield result


async def measure(ctx: Context, peer: Peer, size: int) -> tuple[StampStats, StampStats]:
    """Large packets and small ones: more than a second on a quick link, twice as long where large ones are lost.

    On a slow link that is done again, slower: what is lost only then counts.
    """
    for interval_s in spacings_s(size, ctx.net.pmtu.s_per_byte):
        found = await _at_pace(ctx, peer, size, interval_s)
        if not lost_by_size(*found):
            break
    return found


async def _at_pace(ctx: Context, peer: Peer, size: int, interval_s: float) -> tuple[StampStats, StampStats]:
    first = await _both(ctx, peer, size, HALF, interval_s)
    if not may_be_size(*first):
        return first
    more = await _both(ctx, peer, size, COUNT - HALF, interval_s)
    return combined([first[0], more[0]]), combined([first[1], more[1]])


async def _both(ctx: Context, peer: Peer, size: int, count: int, interval_s: float) -> tuple[StampStats, StampStats]:
    payload = size - _HEADERS[":" in peer.address]
    return await asyncio.gather(
        ctx.net.path.stamp(peer, count=count, interval_s=interval_s, payload_bytes=payload),
        ctx.net.path.stamp(peer, count=count, interval_s=interval_s),
    )


def judge(peer: Peer, size: int, large: StampStats, small: StampStats) -> tuple[Result, ...]:
    """A failure for each direction in which only large packets are lost. size: of their IP packets, bytes."""
    ways = ((Direction.FORWARD, large.forward, small.forward), (Direction.REVERSE, large.reverse, small.reverse))
    found = tuple(
        _lossy(peer, size, way, one, other) for way, one, other in ways if one and other and only_large(one, other)
    )
    message = f"{large.answered} of {large.sent} packets of {size} bytes were answered, and {small.answered} small ones"
    return found or (passed(peer.target, Direction.ROUND_TRIP, message),)


def _lossy(peer: Peer, size: int, way: Direction, large: DirectionStats, small: DirectionStats) -> Result:
    to = f"{'to' if way is Direction.FORWARD else 'from'} {peer.target}"
    return failed(
        codes.UDP_LOSS,
        peer.target,
        way,
        f"{large.lost} of {large.sent} large packets ({size} bytes) {to} were lost, and {small.lost} of {small.sent} "
        "small ones that left between them: something on the way loses packets by their size",
        facts=DeathFacts(packet_class="large", mtu_bytes=size),
        remedies=look(
            f"ping -i 0.2 -c 50 -s {size - 28} {peer.address}   # then from router to router, outside the tunnel too: "
            "from where on are they lost? Look there at queues, and at links with errors (ip -s -s link)"
        ),
    )


def _not_tried(peer: Peer) -> Result:
    message = "the search for the path MTU lost nothing that arrived later"
    return skipped(codes.RUN_NOT_APPLICABLE, peer.target, Direction.ROUND_TRIP, message)
