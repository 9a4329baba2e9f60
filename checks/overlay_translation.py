"""Does the peer see the source address that this node sent from, or does the overlay translate addresses?"""

from collections.abc import AsyncGenerator
from functools import partial

from preflight.api import (
    Context,
    Direction,
    Evidence,
    Peer,
    Result,
    check,
    codes,
    for_each_peer,
    inconclusive,
    look,
    passed,
    warned,
)
from preflight.model.stun import Silence, StunAnswer, host_of
from preflight.proto.responder.answerer import replace_answerer, who_answers
from preflight.proto.responder.reach import start_responder

CONCURRENT_PEERS = 128
GAP_S = 0.002
FEW, SLOW_GAP_S = 4, 0.05
"""Peers that are asked again at one time, and how soon after one another."""


@check(
    "overlay.translation",
    title="The overlay does not translate addresses",
    subject="peer",
    needs=("reach.udp",),
    timeout=20,
    timeout_per_peer=0.1,
    codes=(codes.OVERLAY_TRANSLATED,),
)
async def overlay_translation(ctx: Context) -> AsyncGenerator[Result, None]:
    """Asks each peer's responder by STUN, inside the tunnel, which address and port it sees for this node's socket."""
    told, untold = False, list[tuple[Peer, StunAnswer]]()
    async for peer, answer in for_each_peer(ctx.peers, partial(measure, ctx), at_once=CONCURRENT_PEERS, gap_s=GAP_S):
        if answer.mapped is None and not answer.rejected and _has_answered(ctx, peer):
            untold.append((peer, answer))
        else:
            told |= answer.mapped is not None
            yield judge(peer, answer)
    if told and untold:  # others know the protocol, so the question may have been lost behind packets of this node
        async with ctx.net.turns.alone_instead():
            again = tuple(peer for peer, _ in untold)
            untold = [each async for each in for_each_peer(again, partial(measure, ctx), at_once=FEW, gap_s=SLOW_GAP_S)]
    for peer, answer in untold:
        yield judge(peer, answer)


def _has_answered(ctx: Context, peer: Peer) -> bool:
    """Whether the responder answers: of one that has in this run, a later session may be lost behind other packets."""
    return ctx.net.path.first(peer) is not None or not ctx.net.path.silent(peer)


async def measure(ctx: Context, peer: Peer) -> StunAnswer:
    """Ask, except whom other checks have found silent for seconds."""
    if (silence := ctx.net.path.proven_silent(peer)) is not None:
        why: Silence = "closed" if silence.port_unreachable else "silent"
        return StunAnswer(peer.target, why=why, rejected=silence.rejected)
    return await ctx.net.stun.ask_peer(peer)


def judge(peer: Peer, answer: StunAnswer) -> Result:
    """What the peer sees, compared with what was sent."""
    if answer.mapped is None or answer.local is None:
        return _untold(peer, answer)
    evidence = (Evidence("stun", "this node's socket, here and at the peer", [answer.local, answer.mapped]),)
    if answer.mapped == answer.local:
        message = (
            f"{peer.target} sees this node's packets come from {host_of(answer.mapped)}, the address that they "
            "left from"
        )
        return passed(peer.target, Direction.FORWARD, message, evidence=evidence)
    return warned(
        codes.OVERLAY_TRANSLATED,
        peer.target,
        Direction.FORWARD,
        f"{peer.target} sees packets that this node sends from {answer.local} come from {answer.mapped}: something "
        "inside the overlay translates addresses",
        remedies=look(
            f"nft list ruleset | grep -nE 'masquerade|snat'   # on the node that has {host_of(answer.mapped)}",
            where="peer",
            root=True,
        ),
        measurements={"local": answer.local, "mapped": answer.mapped, "source": host_of(answer.mapped)},
        evidence=evidence,
    )


def _untold(peer: Peer, answer: StunAnswer) -> Result:
    place = (peer.target, peer.address, peer.responder_port)
    if answer.rejected:
        fact = who_answers(peer.target, peer.responder_port, answer.rejected)
        remedies = replace_answerer(*place, answer.rejected)
    else:
        fact = f"the responder of {peer.target} does not say which address it sees for this node"
        remedies = start_responder(*place)
    message = f"{fact}, so it is not known whether something translates addresses"
    return inconclusive(codes.RUN_NEEDS_RESPONDER, peer.target, Direction.FORWARD, message, remedies=remedies)
