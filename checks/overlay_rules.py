"""Do the rules of one overlay of this node take the packets of another one?"""

from collections.abc import AsyncGenerator
from dataclasses import replace

from preflight.api import NODE, Context, Direction, Peer, Result, check, codes, facts, failed, passed, skipped
from preflight.proto.tunnel.silence import only_silence
from preflight.proto.way.observation import Death
from preflight.proto.way.rule_order import OWN_TABLES
from preflight.proto.way.stations import Station


@check(
    "overlay.rules",
    title="No rule takes the packets of this node's overlays from them",
    subject="node",
    needs=("overlay.interface",),
    after=("overlay.session", "reach.udp", "reach.icmp"),
    reads=(facts.AnswerFacts, facts.EchoFacts, facts.HandshakeFacts),
    timeout=5,
    codes=(codes.OVERLAY_ENDPOINT_LOOP, codes.OVERLAY_ROUTE_LEAK, codes.OVERLAY_EXIT_NODE_LAN),
)
async def overlay_rules(ctx: Context) -> AsyncGenerator[Result, None]:
    """Follows the rules of policy routing, where several overlays add theirs, or one has its routes in its own table.

    wg-quick's rule takes all packets but its own; where it was added after Tailscale's it takes the tailnet's too, and
    two such tunnels take each other's. An exit node takes what is for this node's own networks, unless it is let.
    """
    overlay = ctx.overlay
    if overlay is None or not (overlay.further or overlay.product in OWN_TABLES):
        yield _nothing("there is one overlay, and it adds no rule")
        return
    silent = [peer for peer in ctx.peers if _silent(ctx, peer)]
    found = await ctx.net.taken_by_rules(overlay, ctx.peers, silent, ctx.settings.control.usable_url)
    for death in found:
        yield replace(judge(death), aspect=death.code.slug)
    if not found:
        yield passed(NODE, Direction.LOCAL, "no rule sends the packets of one of this node's overlays elsewhere")


def _nothing(message: str) -> Result:
    return skipped(codes.RUN_NOT_APPLICABLE, NODE, Direction.LOCAL, message)


def _silent(ctx: Context, peer: Peer) -> bool:
    """Whether nothing came back, also where nothing was sent because there is no session."""
    sessions = ctx.facts(facts.HandshakeFacts, peer.target)
    if any(each.handshake_age_s is None and each.received_bytes == 0 for each in sessions):
        return True
    return only_silence(ctx.facts(facts.EchoFacts, peer.target), ctx.facts(facts.AnswerFacts, peer.target))


def judge(death: Death) -> Result:
    """The finding: packets die at this node, for one peer or for many."""
    return failed(
        death.code,
        NODE,
        Direction.LOCAL,
        death.message,
        remedies=death.remedies,
        facts=death.facts,
        station=Station("route-outer" if death.code is codes.OVERLAY_ENDPOINT_LOOP else "route"),
    )
