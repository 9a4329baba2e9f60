"""What does the product itself show of a silent peer: a session that lives, so that a policy drops, or none?"""

import asyncio
import time
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
    look,
    skipped,
)
from preflight.model.complaint import EXIT_NODE
from preflight.model.overlay import OverlayState
from preflight.model.product_ping import ProductPing
from preflight.proto.tunnel.policy_advice import policy_levers, trusting
from preflight.proto.tunnel.session_life import Life, life
from preflight.proto.tunnel.session_loss import Loss, loss
from preflight.proto.tunnel.silence import only_silence

PRODUCTS = ("tailscale", "zerotier", "nebula")
MOST_PEERS = 6
COPY = look(
    "zerotier-cli info   # on both hosts: has a second machine the same address? A copy needs another identity",
    root=True,
)
SENT_S = 0.2
"""After this long a daemon has sent what was given to its interface."""
LOOKS = 5
CONNECTED_S = 1.2
"""A connection that is not answered the first time is tried again after a second."""


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
    codes=(
        codes.OVERLAY_POLICY_DROP,
        codes.OVERLAY_DUPLICATE_KEY,
        codes.OVERLAY_PEER_LOST,
        codes.OVERLAY_NO_HANDSHAKE,
    ),
)
async def overlay_policy(ctx: Context) -> AsyncGenerator[Result, None]:
    """Asks the product itself about peers that answered nothing: by its own ping, or by when it last heard the peer.

    One more datagram goes to each, a connection to the responder's port is tried, and Tailscale's daemon sends two
    small packets. What the product's policy drops is in no counter of this node.
    """
    async for peer, result in for_each_peer(ctx.peers[:MOST_PEERS], partial(_asked, ctx), at_once=MOST_PEERS):
        yield result if result is not None else _nothing(peer)
    for peer in ctx.peers[MOST_PEERS:]:
        yield _nothing(peer)


def _nothing(peer: Peer) -> Result:
    message = f"nothing shows a living session behind which packets to {peer.target} are dropped"
    return skipped(codes.RUN_NOT_APPLICABLE, peer.target, Direction.ROUND_TRIP, message)


async def _asked(ctx: Context, peer: Peer) -> Result | None:
    tunnel = ctx.overlay.tunnel_for(peer.address) if ctx.overlay is not None else None
    if tunnel is None or tunnel.product not in PRODUCTS:
        return None
    if not only_silence(ctx.facts(facts.EchoFacts, peer.target), ctx.facts(facts.AnswerFacts, peer.target)):
        return None
    connection, (state, missed) = await asyncio.gather(
        ctx.net.tcp.connect(peer.address, peer.responder_port, timeout_s=CONNECTED_S), _after_sending(ctx, peer)
    )
    if state is None or state.product not in PRODUCTS or state.condition is not None or state.unreadable is not None:
        return None
    if connection.outcome in ("open", "refused"):
        return judge(peer, Life(f"{peer.target} answers TCP through the tunnel", partly=True), state.product)
    pings = await ctx.net.overlay_pings(state.product, peer.address)
    return found(peer, state, pings, time.time(), missed=missed)


async def _after_sending(ctx: Context, peer: Peer) -> tuple[OverlayState | None, int]:
    """The peer's tunnel after something was sent to it, and how often it did not have the peer before.

    Nebula forgets a handshake whose answer it refuses, until the next packet.
    """
    interface, state, missed = ctx.tunnel(peer.address), None, 0
    while missed < LOOKS:
        await asyncio.to_thread(ctx.net.icmp.provoke_handshake, peer.address, interface)
        await asyncio.sleep(SENT_S)
        overlay = await ctx.net.overlay()
        state = overlay.at(interface) if overlay is not None else None
        if state is None or state.product != "nebula" or state.peer_for(peer.address) is not None:
            break
        missed += 1
    return state, missed


def found(
    peer: Peer, state: OverlayState, pings: Sequence[ProductPing], now_unix_s: float, *, missed: int = 0
) -> Result | None:
    """The finding of a silent peer, from what its product shows after this run sent to it.

    missed: how often in a row its product did not have the peer just after that.
    """
    alive = life(state, peer.address, pings, now_unix_s)
    if alive is not None:
        return judge(peer, alive, state.product)
    lost = loss(state, peer.target, peer.address, pings, now_unix_s, missed=missed)
    return judge_loss(peer, lost) if lost is not None else None


def judge_loss(peer: Peer, lost: Loss) -> Result:
    """The finding of a product that does not reach the peer either."""
    aspect = EXIT_NODE if lost.exits else ""
    return failed(
        lost.code,
        peer.target,
        Direction.ROUND_TRIP,
        lost.words,
        remedies=lost.remedies,
        aspect=aspect,
        measurements={"endpoint": list(lost.places)} if lost.places else {},
    )


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
    what = "echoes and UDP stay" if seen.partly else "what this node sends through the tunnel stays"
    return failed(
        codes.OVERLAY_POLICY_DROP,
        peer.target,
        Direction.ROUND_TRIP,
        f"{seen.words}; {what} without any answer: {_trusted(peer, seen)}{policy_words(product, peer)}{_copied(seen)}",
        remedies=(
            *(trusting(peer.target) if seen.trusted else ()),
            *policy_levers(product, peer.target, here=seen.here),
            *(COPY if seen.places else ()),
        ),
        station=Station("session", "sender" if seen.here else "receiver"),
    )


def _trusted(peer: Peer, seen: Life) -> str:
    """Only this node's side of a trusted path is known here."""
    if not seen.trusted:
        return ""
    return f"it goes to {seen.trusted}, without encryption, which {peer.target} drops unless it has that path too; or "


def _copied(seen: Life) -> str:
    """Two uplinks look the same from here: it is one possibility more."""
    return f"; or a copy of it answers, for it is heard at {' and at '.join(seen.places)}" if seen.places else ""


def policy_words(product: str, peer: Peer) -> str:
    """Who may drop it then."""
    if product == "tailscale":
        return f"the tailnet's access rules do not allow it, or {peer.target} has shields up, or a firewall"
    if product == "nebula":
        return f"the inbound rules of {peer.target}'s Nebula do not let it in, or a firewall there drops it"
    return f"the network's flow rules drop it, or {peer.target} is not authorised in the network, or has a firewall"
