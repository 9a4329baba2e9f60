"""Is a silent peer's address in another overlay of this node too, and does a machine answer there?"""

from collections.abc import AsyncGenerator, Sequence
from functools import partial

from preflight.api import (
    Context,
    Direction,
    Peer,
    Result,
    Station,
    check,
    codes,
    facts,
    failed,
    for_each_peer,
    skipped,
)
from preflight.model.overlay import OverlayState
from preflight.proto.tunnel.rivals import network_of, rivals
from preflight.proto.tunnel.route_advice import take_less
from preflight.proto.tunnel.silence import only_silence

MOST_PEERS, MOST_RIVALS = 6, 3
COUNT, EACH_S, WAIT_S = 2, 0.2, 1.0


@check(
    "overlay.rivals",
    title="No other overlay of this node has the peer's address",
    subject="peer",
    needs=("overlay.interface",),
    after=("overlay.session", "overlay.route", "reach.udp", "reach.icmp"),
    when="trouble",
    reads=(facts.AnswerFacts, facts.EchoFacts),
    timeout=6,
    timeout_per_peer=0.01,
    codes=(codes.OVERLAY_SUBNET_CONFLICT,),
)
async def overlay_rivals(ctx: Context) -> AsyncGenerator[Result, None]:
    """Sends two echoes to a silent peer out of the device of each further overlay that has its address.

    Two overlays with one network are not a fault by themselves: the kernel takes one of them, and the peer may be
    there. An answer in the other one shows that it is not.
    """
    async for peer, result in for_each_peer(ctx.peers[:MOST_PEERS], partial(_asked, ctx), at_once=MOST_PEERS):
        yield result if result is not None else _nothing(peer)
    for peer in ctx.peers[MOST_PEERS:]:
        yield _nothing(peer)


def _nothing(peer: Peer) -> Result:
    message = f"no other overlay of this node has {peer.address} with a machine that answers"
    return skipped(codes.RUN_NOT_APPLICABLE, peer.target, Direction.ROUND_TRIP, message)


async def _asked(ctx: Context, peer: Peer) -> Result | None:
    others = rivals(ctx.overlay, peer.address)[:MOST_RIVALS] if ctx.overlay is not None else ()
    if ctx.overlay is None or not others or not _silent(ctx, peer):
        return None
    living = [each for each in others if await _answers(ctx, peer, each)]
    return judge(peer, ctx.overlay.tunnel_for(peer.address), living) if living else None


def _silent(ctx: Context, peer: Peer) -> bool:
    """Whether nothing came back, or nothing was sent for want of a session."""
    echoes, answers = ctx.facts(facts.EchoFacts, peer.target), ctx.facts(facts.AnswerFacts, peer.target)
    return not (echoes or answers) or only_silence(echoes, answers)


async def _answers(ctx: Context, peer: Peer, other: OverlayState) -> bool:
    stats = await ctx.net.icmp.echo(
        peer.address, count=COUNT, interval_s=EACH_S, timeout_s=WAIT_S, interface=other.interface
    )
    return stats.received > 0


def judge(peer: Peer, taken: OverlayState, living: Sequence[OverlayState]) -> Result:
    """The finding of an address that answers in another overlay. taken: the one that the kernel takes."""
    network = network_of(taken, peer.address)
    others = " and ".join(f"{each.product} on {each.interface} ({network_of(each, peer.address)})" for each in living)
    return failed(
        codes.OVERLAY_SUBNET_CONFLICT,
        peer.target,
        Direction.FORWARD,
        f"{peer.address} is in {taken.product} on {taken.interface} ({network}) and in {others}: the kernel takes "
        f"{taken.interface}, where nothing answers, and a machine with that address answers on "
        f"{' and '.join(str(each.interface) for each in living)}",
        remedies=take_less(taken, str(network)),
        measurements={"interface": taken.interface, "other_interface": living[0].interface},
        station=Station("route"),
    )
