"""Where do the packets to and from a peer in trouble die, who saw them last, and what killed them there?"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from functools import partial

from preflight.api import (
    CONTROL,
    Context,
    Direction,
    Observation,
    Peer,
    Remedies,
    Result,
    check,
    codes,
    facts,
    failed,
    for_each_peer,
    heal,
    skipped,
)
from preflight.model.fix import PeerAddress
from preflight.proto.tunnel.handed_on import handed_on, led_behind, lets_in, server_of
from preflight.proto.tunnel.members import shut_out, stranger, uncarried
from preflight.proto.tunnel.policy_advice import let_udp_in
from preflight.proto.tunnel.silence import only_silence
from preflight.proto.way.observation import Passing
from preflight.proto.way.verdict import Verdict, conclude

HANDED_ON = (codes.REACH_UNREACHABLE, codes.REACH_NO_FORWARD)
MOST_PEERS = 6
"""A fault that many peers share is found at the first of them."""


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
    reads=(facts.AnswerFacts, facts.MtuFacts, facts.EchoFacts, facts.NameFacts),
    measures=True,
    timeout=30,
    timeout_per_peer=0.01,
    privileges=("net_admin", "net_raw"),
    codes=(
        codes.HOST_FIREWALL_DROP,
        codes.HOST_GATEWAY_DEAD,
        codes.HOST_RP_FILTER,
        codes.HOST_UPLINK_DOWN,
        codes.MTU_BLACK_HOLE,
        codes.OVERLAY_ALLOWED_IPS,
        codes.OVERLAY_DAEMON_DOWN,
        codes.OVERLAY_DUPLICATE_ADDRESS,
        codes.OVERLAY_ENDPOINT_ANSWERS_ELSEWHERE,
        codes.OVERLAY_ENDPOINT_HAIRPIN,
        codes.OVERLAY_ENDPOINT_LOOP,
        codes.OVERLAY_HANDSHAKE_STALE,
        codes.OVERLAY_NO_HANDSHAKE,
        codes.OVERLAY_PORT_CONFLICT,
        codes.OVERLAY_PRESHARED_KEY,
        codes.OVERLAY_ROUTE_LEAK,
        codes.OVERLAY_WRONG_SOURCE,
        codes.REACH_NO_FORWARD,
        codes.REACH_NO_REVERSE,
        codes.REACH_UNREACHABLE,
        codes.UDP_BLOCKED,
    ),
)
async def way_packet(ctx: Context) -> AsyncGenerator[Result, None]:
    """Follows a burst of at most ten packets, station by station, with everything that this node can see of it.

    The firewall's rules and counters, the kernel's routes and neighbours, the tunnel's own state and a tap on all
    devices are read before and after; what the peer's responder reported counts too. Where they leave several stations,
    none is named.
    """
    followed, left_out = ctx.peers[:MOST_PEERS], ctx.peers[MOST_PEERS:]
    async for peer, said in for_each_peer(followed, partial(_follow, ctx), at_once=MOST_PEERS):
        verdicts = conclude(peer.target, said, passes=_passes(ctx, peer), silent=_silent(ctx, peer))
        for verdict in verdicts:
            known = await _with_others(ctx, peer, corrected(ctx, peer, verdict))
            yield judge(peer, known, _levers(ctx, peer, verdict))
        if not verdicts:
            yield unfollowed(peer)
    for peer in left_out:
        yield _left_out(peer)


async def _follow(ctx: Context, peer: Peer) -> tuple[Observation, ...]:
    """Nothing of a peer that is nobody in its overlay: where its packets go does not matter then."""
    if await _is_nobody(ctx, peer):
        return ()
    large, passes = _only_large_die(ctx, peer), _passes(ctx, peer)
    heard = [other.address for other in _all(ctx) if other != peer and _passes(ctx, other)]
    return await ctx.net.ways.follow(peer, large=large, passes=passes, others=_others(ctx, peer), heard=heard)


async def _is_nobody(ctx: Context, peer: Peer) -> bool:
    """Whether no member has the address, nor a network with it; what goes to an exit node goes somewhere.

    An overlay that has not admitted this node may have it.
    """
    if ctx.overlay is None:
        return False
    state = ctx.overlay.tunnel_for(peer.address)
    if stranger(state, peer.target, peer.address) is not None or shut_out(ctx.overlay, peer.address) is not None:
        return True
    if ctx.overlay.further or uncarried(state, peer.address) is None:
        return False
    return (await ctx.net.kernel.route_to(peer.address)).interface != state.interface


def _others(ctx: Context, peer: Peer) -> Sequence[str]:
    """The addresses of the other peers, and that of the control plane, unless it is on this peer.

    An address of the other family may be this peer's too.
    """
    url = ctx.settings.control.usable_url
    named = [address for each in ctx.facts(facts.NameFacts, CONTROL) for address in each.addresses]
    control = [url.host] if url is not None and url.address is not None else named
    if peer.address in control:
        control = []
    alike = [address for address in control if (":" in address) == (":" in peer.address)]
    return [*(other.address for other in _all(ctx) if other.address != peer.address), *alike]


def _all(ctx: Context) -> Sequence[Peer]:
    """The peers of the run; those of the context are the ones in trouble."""
    return ctx.settings.peers or ctx.peers


def _passes(ctx: Context, peer: Peer) -> Passing | None:
    """What gets to the peer and back, although its responder is silent."""
    echoes = ctx.facts(facts.EchoFacts, peer.target)
    if any(each.received for each in echoes):
        return "ICMP echo"
    return "TCP" if any(each.tcp_answered for each in echoes) else None


def _silent(ctx: Context, peer: Peer) -> bool:
    """Whether it was asked in this run and answered nothing."""
    return _passes(ctx, peer) is None and only_silence(
        ctx.facts(facts.EchoFacts, peer.target), ctx.facts(facts.AnswerFacts, peer.target)
    )


def corrected(ctx: Context, peer: Peer, verdict: Verdict) -> Verdict:
    """With the line that gives the peer its right address, where the settings file has a wrong one for it."""
    known = verdict.facts
    if verdict.code != codes.OVERLAY_ALLOWED_IPS or known is None or known.address != peer.address:
        return verdict
    right, file = known.answered_from, ctx.settings.source
    if right is None or file is None or not ctx.settings.peers_from_file:
        return verdict
    fix = heal(lambda: PeerAddress(file=str(file.absolute()), before=peer.address, address=right))
    return replace(verdict, remedies=fix or verdict.remedies)


async def _with_others(ctx: Context, peer: Peer, verdict: Verdict) -> Verdict:
    """Where nobody saw the place of a death: who else has to hand on packets to the peer, or to let them in."""
    tunnel = ctx.overlay.tunnel_for(peer.address) if ctx.overlay is not None else None
    if tunnel is None or verdict.code not in HANDED_ON or verdict.station is not None:
        return verdict
    words, shown = led_behind(tunnel, peer.address)
    server = server_of(tunnel, peer.address)
    if server is not None and (await ctx.net.icmp.echo(server, count=2, interval_s=0.1, timeout_s=0.5)).received:
        words, shown = handed_on(peer.target, server)
    message = f"{verdict.message}; {words}" if words else verdict.message
    further = shown or lets_in(tunnel, peer.target)
    return replace(verdict, message=message, remedies=(*verdict.remedies, *further)) if further else verdict


def _levers(ctx: Context, peer: Peer, verdict: Verdict) -> Remedies:
    """Where nobody saw what drops UDP behind the session: the product's own rules."""
    if verdict.code != codes.UDP_BLOCKED or verdict.remedies or ctx.overlay is None:
        return ()
    return let_udp_in(ctx.overlay.tunnel_for(peer.address).product, peer.target, peer.responder_port)


def judge(peer: Peer, verdict: Verdict, levers: Remedies = ()) -> Result:
    """One result per direction, or one for both where nobody saw which is dead; what is proven is about its station.

    levers: what to look at if the verdict has no remedy.
    """
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
        remedies=verdict.remedies or levers,
        observations=verdict.observations,
    )


def _only_large_die(ctx: Context, peer: Peer) -> bool:
    """Whether a search has shown that the path carries less than the interface."""
    searches = ctx.facts(facts.MtuFacts, peer.target)
    return any(each.mtu_bytes is not None and each.mtu_bytes < each.interface_mtu_bytes for each in searches)


def unfollowed(peer: Peer) -> Result:
    """Where no observer saw anything, as without a tunnel: said, so that no result is missing."""
    message = f"nothing on this node could follow packets to {peer.target}"
    return skipped(codes.RUN_NOT_APPLICABLE, peer.target, Direction.ROUND_TRIP, message)


def _left_out(peer: Peer) -> Result:
    message = f"packets of {MOST_PEERS} peers are followed in one run; name this one with --peer to follow its packets"
    return skipped(codes.RUN_NOT_APPLICABLE, peer.target, Direction.ROUND_TRIP, message)
