"""Does the session with a silent peer live, so that a policy or a filter behind it drops what is sent?"""

import asyncio
import time
from collections.abc import AsyncGenerator
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
    look,
    skipped,
)
from preflight.proto.tunnel.session_life import Life, life, policy_levers
from preflight.proto.tunnel.silence import only_silence

PRODUCTS = ("tailscale", "zerotier")
MOST_PEERS = 6
SENT_S = 0.2
"""After this long a daemon has sent what was given to its interface."""


@check(
    "overlay.policy",
    title="What goes through a living session is not dropped behind it",
    subject="peer",
    needs=(),
    after=("reach.udp", "reach.icmp", "overlay.session"),
    when="trouble",
    reads=(facts.AnswerFacts, facts.EchoFacts),
    timeout=12,
    timeout_per_peer=0.01,
    codes=(codes.OVERLAY_POLICY_DROP, codes.OVERLAY_DUPLICATE_KEY),
)
async def overlay_policy(ctx: Context) -> AsyncGenerator[Result, None]:
    """Asks the product itself about peers that answered nothing: by its own ping, or by when it last heard the peer.

    One more datagram goes to each, and Tailscale's daemon sends two small packets. What the product's policy drops is
    in no counter of this node.
    """
    async for peer, result in for_each_peer(ctx.peers[:MOST_PEERS], partial(_asked, ctx), at_once=MOST_PEERS):
        yield result if result is not None else _nothing(peer)
    for peer in ctx.peers[MOST_PEERS:]:
        yield _nothing(peer)


def _nothing(peer: Peer) -> Result:
    message = f"nothing shows a living session behind which packets to {peer.target} are dropped"
    return skipped(codes.RUN_NOT_APPLICABLE, peer.target, Direction.ROUND_TRIP, message)


async def _asked(ctx: Context, peer: Peer) -> Result | None:
    if not only_silence(ctx.facts(facts.EchoFacts, peer.target), ctx.facts(facts.AnswerFacts, peer.target)):
        return None
    await asyncio.to_thread(ctx.net.icmp.provoke_handshake, peer.address, ctx.tunnel(peer.address))
    await asyncio.sleep(SENT_S)
    overlay = await ctx.net.overlay()
    state = overlay.at(ctx.tunnel(peer.address)) if overlay is not None else None
    if state is None or state.product not in PRODUCTS or state.condition is not None or state.unreadable is not None:
        return None
    pings = await ctx.net.overlay_pings(state.product, peer.address)
    return judge(peer, life(state, peer.address, pings, time.time()), state.product)


def judge(peer: Peer, seen: Life | None, product: str) -> Result | None:
    """The finding of a session's life; None where it does not show that the session lives."""
    if seen is None:
        return None
    if seen.unkeyed:
        return failed(
            codes.OVERLAY_DUPLICATE_KEY,
            peer.target,
            Direction.ROUND_TRIP,
            f"{seen.words}: another machine has the key of this node, or that of {peer.target}",
            remedies=look(
                "tailscale status --json | jq -r .Self.PublicKey   # on both: the copy has to log out and in again",
                where="peer",
                host=peer.target,
            ),
            station=Station("session", "receiver"),
        )
    return failed(
        codes.OVERLAY_POLICY_DROP,
        peer.target,
        Direction.ROUND_TRIP,
        f"{seen.words}; what this node sends through the tunnel stays without any answer: "
        f"{policy_words(product, peer)}",
        remedies=policy_levers(product, peer.target, here=seen.here),
        station=Station("session", "sender" if seen.here else "receiver"),
    )


def policy_words(product: str, peer: Peer) -> str:
    """Who may drop it then."""
    if product == "tailscale":
        return f"the tailnet's access rules do not allow it, or {peer.target} has shields up, or a firewall"
    return f"the network's flow rules drop it, or {peer.target} is not authorised in the network, or has a firewall"
