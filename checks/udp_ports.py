"""Where echoes pass and the responder's port is silent: does UDP get to the peer at all?"""

import asyncio
import random
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from functools import partial

from preflight.api import (
    Context,
    Direction,
    Peer,
    Result,
    check,
    codes,
    facts,
    failed,
    for_each_peer,
    passed,
    skipped,
    warned,
)
from preflight.proto.responder.reach import look_at_filters, serve
from preflight.proto.tunnel.policy_advice import let_udp_in, udp_words

MOST_PEERS = 6
UNUSED = range(20000, 32000)
"""Below the ports that systems give to their own sockets, and without well-known services."""
ASKED = 4
GAP_S, PATIENCE_S = 0.3, 1.2
"""A host says of at most one datagram a second that nobody listens, after a few at once."""
NETWORKWIDE = ("tailscale", "zerotier")
"""Products whose policy is one for the whole network: without UDP nobody can measure it."""


REFILL_S = 2.5
"""A host says that a port is closed about once a second (icmp_ratelimit), and other checks may have used that up."""


@dataclass(frozen=True, slots=True)
class Said:
    """What the peer's host says to datagrams for ports that nobody uses.

    asked: how many left. closed: for how many it said that nobody listens. tcp: whether it answered a connection.
    """

    asked: int
    closed: int
    tcp: bool


@check(
    "udp.ports",
    title="UDP gets to the peer's host",
    subject="peer",
    needs=(),
    after=("reach.udp", "reach.icmp", "udp.quality"),
    when="trouble",
    reads=(facts.AnswerFacts, facts.EchoFacts),
    timeout=10,
    timeout_per_peer=0.01,
    codes=(codes.UDP_BLOCKED,),
)
async def udp_ports(ctx: Context) -> AsyncGenerator[Result, None]:
    """Sends a datagram each to some ports that nobody uses, and tries one TCP connection to the responder's port.

    It runs only where every echo was answered and no UDP packet, and this node has a key for the peer's responder, so
    that one is meant to run. A host to which UDP gets says for such a port that nobody listens. A filter, or the
    product's policy, that lets no UDP in keeps it silent. One that lets in the responder's port alone looks the same,
    if that responder has another key.

    Of a host's own filter it is a warning: whether a responder runs behind it stays open, and what else the filter lets
    in may be all that is needed.
    """
    async for peer, said in for_each_peer(ctx.peers[:MOST_PEERS], partial(_ask, ctx), at_once=MOST_PEERS):
        yield judge(peer, said, _product(ctx, peer))
    for peer in ctx.peers[MOST_PEERS:]:
        yield judge(peer, None)


def _product(ctx: Context, peer: Peer) -> str:
    return ctx.overlay.tunnel_for(peer.address).product if ctx.overlay is not None else ""


async def _ask(ctx: Context, peer: Peer) -> Said | None:
    echoes, answers = ctx.facts(facts.EchoFacts, peer.target), ctx.facts(facts.AnswerFacts, peer.target)
    echoed = bool(echoes) and all(each.sent and each.received == each.sent for each in echoes)
    silent = bool(answers) and not any(each.answered or each.rejected for each in answers)
    if not echoed or not silent or ctx.settings.secrets.key_for(peer.address) is None:
        return None
    said = ctx.net.path.proven_silent(peer)
    if said is not None and said.port_unreachable:
        return None  # its host has said so in this run: UDP gets there, and it may be out of errors by now
    if await ctx.net.icmp.port_says(peer.address, peer.responder_port, timeout_s=GAP_S) == "closed":
        return None
    connection = await ctx.net.tcp.connect(peer.address, peer.responder_port, timeout_s=PATIENCE_S)
    sent: list[str] = []
    for wait_s in (0.0, REFILL_S):
        await asyncio.sleep(wait_s)
        ports = random.sample(UNUSED, ASKED)
        words = await ctx.net.icmp.ports_say(peer.address, ports, gap_s=GAP_S, timeout_s=PATIENCE_S)
        sent = [word for word in words if word != "unsent"]
        if "closed" in sent:
            break
    return Said(len(sent), sent.count("closed"), connection.outcome in ("open", "refused"))


def judge(peer: Peer, said: Said | None, product: str = "") -> Result:
    """Silence of all ports is a filter's; one word of the host shows that UDP gets there and its answers back."""
    if said is None or said.asked < ASKED:
        message = f"ports of {peer.target} that nobody uses show nothing more"
        return skipped(codes.RUN_NOT_APPLICABLE, peer.target, Direction.ROUND_TRIP, message)
    if said.closed:
        message = (
            f"UDP gets to {peer.target}: its host says for {said.closed} of {said.asked} ports that nobody listens "
            f"there, so port {peer.responder_port} alone is silent, by a filter or by what listens there"
        )
        return passed(peer.target, Direction.ROUND_TRIP, message)
    port, make = peer.responder_port, failed if product in NETWORKWIDE else warned
    return make(
        codes.UDP_BLOCKED,
        peer.target,
        Direction.ROUND_TRIP,
        f"{peer.target} answers echoes{' and TCP' if said.tcp else ''} and no UDP: its port {port} is silent, and for "
        f"none of {said.asked} ports that nobody uses does its host say that nobody listens; "
        f"{udp_words(product, peer.target)}; should port {port} be let in, a responder there does not answer this node",
        remedies=(
            *let_udp_in(product, peer.target, port),
            *look_at_filters(peer.target, "what drops UDP from this node?"),
            *serve(peer.target, "this node"),
        ),
    )
