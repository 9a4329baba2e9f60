"""Do two machines use one key, so that a peer's endpoint goes to and fro between them?"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from time import monotonic

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
from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.model.tapped import Tapped
from preflight.proto.tunnel.duplicate_key import explain
from preflight.proto.tunnel.endpoint_turns import Seen, Turns, Watched, moved, renewals, turns
from preflight.proto.tunnel.sessions_seen import LEAST_MESSAGES, Reading, for_another, on_the_wire, one_machine, strange

PRODUCTS = ("wireguard", "tailscale", "nebula")
MOST_PEERS = 6
EACH_S, PROVOKED_S = 0.25, 1.0
SHORT_S, LONG_S = 3.3, 10.0
"""How long the endpoint is watched, from the beginning of the run or the first trouble of the peer on: not at all where
nothing has come from the key in this run; longer where it has changed since the run began, or changes meanwhile. A
responder's hello comes every three seconds, and the next look after it is at most a quarter of a second later."""
NO_HELLO_S = 2.0
"""The same where the peer's host says that no responder is there: what moves the endpoint is other traffic then."""
HANDSHAKES_S, SELDOM_S = 14.0, 0.75
"""Nebula's two machines take the session from each other every three to five seconds; each look at it is a log-in."""
SESSION_S = 180.0
"""WireGuard takes and sends nothing more in the session of an older handshake."""
STRANGE_S, OWN_S = 1.5, 16.0
"""How soon a peer's data for another machine's session shows; and how soon WireGuard, of which the peer accepts nothing
any more, makes another handshake: 15 s after it was first silent."""


@check(
    "overlay.key",
    title="No other machine has the peer's key, or this node's",
    subject="peer",
    needs=("overlay.route",),
    after=("reach.udp", "reach.icmp", "overlay.session", "udp.quality"),
    when="trouble",
    reads=(facts.LossFacts, facts.AnswerFacts),
    timeout=20,
    timeout_per_peer=0.01,
    codes=(codes.OVERLAY_DUPLICATE_KEY,),
)
async def overlay_key(ctx: Context) -> AsyncGenerator[Result, None]:
    """Reads the endpoint of a peer in trouble several times; once it has changed, it sends one datagram a second too.

    Each packet that fits the key moves the endpoint to its sender. A machine that has moved changes it once; where two
    machines send in turn, it returns. With a tap on WireGuard's own packets it also sees what the peer sends for a
    session that this node does not have: then another machine has this node's key. Who takes a peer's endpoint takes
    its packets too: where none was lost, nobody is looked for.
    """
    losing = [peer for peer in ctx.peers if not _all_arrived(ctx, peer)]
    for peer in ctx.peers:
        if peer not in losing:
            yield await _once_silent(ctx, peer) or _at_one_place(peer)
    async for peer, result in for_each_peer(losing[:MOST_PEERS], partial(_watched, ctx), at_once=MOST_PEERS):
        yield result if result is not None else _nothing(peer)
    for peer in losing[MOST_PEERS:]:
        yield _nothing(peer)


def _all_arrived(ctx: Context, peer: Peer) -> bool:
    """Whether no packet of the longest measurement was lost, in either direction."""
    ways = ctx.facts(facts.LossFacts, peer.target)
    undirected = any(each.undirected for each in ctx.facts(facts.AnswerFacts, peer.target))
    return bool(ways) and not undirected and all(way.received == way.sent for way in ways)


def _came_whole(ctx: Context, peer: Peer) -> bool:
    """Whether all answers of the peer came here, or all probes that it sent for its report: nobody took them."""
    asked = ctx.net.path.asked(peer)
    probed = asked is not None and asked.report is not None and 0 < asked.report.sent <= asked.probes_received
    return probed or ctx.net.path.whole.came(peer)


async def _once_silent(ctx: Context, peer: Peer) -> Result | None:
    """Of a peer that answers now: whether what it sent while it seemed silent was for another machine."""
    messages = await ctx.net.watch.sessions.for_another(peer)
    state, known = _known(ctx.overlay, ctx.tunnel(peer.address), peer)
    if not messages or state is None or known is None or state.public_key is None:
        return None
    return judge_own(peer, known, state.public_key, messages)


def _at_one_place(peer: Peer) -> Result:
    message = (
        f"every packet of the longest measurement to {peer.target} and from it arrived, so no other machine has its "
        "place now"
    )
    return skipped(codes.RUN_NOT_APPLICABLE, peer.target, Direction.ROUND_TRIP, message)


def _nothing(peer: Peer) -> Result:
    message = f"the endpoint of {peer.target} does not go to and fro"
    return skipped(codes.RUN_NOT_APPLICABLE, peer.target, Direction.ROUND_TRIP, message)


async def _watched(ctx: Context, peer: Peer) -> Result | None:
    earlier = ctx.net.watch.endpoints.take(peer)
    state, known = _known(ctx.overlay, ctx.tunnel(peer.address), peer)
    if state is None or known is None or state.product not in PRODUCTS or known.last_handshake_unix_s == 0.0:
        return None
    if known.turns is not None:  # overlay.session has said it
        return None
    if state.product != "wireguard":
        found = await _turns(ctx, peer, state, known, earlier, [], lambda _: ())
        return judge(peer, known, state.product, found) if found is not None else None
    async with ctx.net.watch.tap(peer, state) as tap:
        readings: list[Reading] = []
        alive = (
            not tap.blind
            and not _came_whole(ctx, peer)
            and time.time() - (known.last_handshake_unix_s or 0.0) < SESSION_S
        )
        if alive:
            await _read(ctx, peer, state, readings)
            await ctx.net.icmp.echo(peer.address, count=LEAST_MESSAGES, interval_s=EACH_S, timeout_s=0.0)
        wire = lambda seen: on_the_wire(tap.taken().packets, seen)  # noqa: E731
        found = await _turns(ctx, peer, state, known, earlier, readings, wire, STRANGE_S if alive else 0.0)
        if found is not None:
            one = one_machine(tap.taken().packets, found.places)
            return judge(peer, known, state.product, found) if not one else None
        if not alive or state.public_key is None or not strange(tap.taken(), known.endpoint, readings):
            return None
        messages = await _own_key(ctx, peer, state, known, tap.taken, readings)
        return judge_own(peer, known, state.public_key, messages) if messages else None


def _known(
    overlay: OverlayState | None, interface: str | None, peer: Peer
) -> tuple[OverlayState | None, OverlayPeer | None]:
    state = overlay.at(interface) if overlay is not None else None
    return state, state.peer_for(peer.address) if state is not None else None


async def _read(ctx: Context, peer: Peer, state: OverlayState, readings: list[Reading]) -> OverlayPeer | None:
    """The peer as the product sees it now; what it has counted is one reading more."""
    _, now = _known(await ctx.net.overlay(), state.interface, peer)
    readings.append(Reading(time.time_ns(), (now.rx_bytes or 0) if now is not None else 0))
    return now


async def _turns(
    ctx: Context,
    peer: Peer,
    state: OverlayState,
    known: OverlayPeer,
    earlier: Watched | None,
    readings: list[Reading],
    wire: Callable[[Sequence[Seen]], Sequence[Seen]],
    least_s: float = 0.0,
) -> Turns | None:
    """Whether it goes to and fro.

    earlier: what was seen of it before. readings: what the tunnel counts is added. wire: from where its packets came,
    of the places at which the product has seen it. least_s: to look so long in any case.
    """
    began, provoked, rekeys, short_s = monotonic(), -PROVOKED_S, known.session is not None, _short_s(ctx, peer)
    since = earlier.since_s if earlier is not None else began
    seen = [Seen(known.endpoint, known.session), *(earlier.seen if earlier is not None else ())]
    ends = max(began + least_s, since + short_s)
    while (found := turns(seen) or turns(wire(seen)) or renewals(seen)) is None and monotonic() < ends:
        # What nobody has moved is only read: what is sent would be counted by others who look at the same time.
        if moved(seen) and monotonic() - provoked >= PROVOKED_S:
            provoked = monotonic()
            await asyncio.to_thread(ctx.net.icmp.provoke_handshake, peer.address, state.interface)
        await asyncio.sleep(min(SELDOM_S if rekeys else EACH_S, max(ends - monotonic(), 0.0)))
        now = await _read(ctx, peer, state, readings)
        seen.append(Seen(now.endpoint, now.session) if now is not None else Seen(None))
        came = rekeys or readings[-1].rx_bytes > (known.rx_bytes or 0)
        # What moves is provoked from here on only.
        from_s = began if moved(seen) else since
        ends = max(began + least_s, from_s + _patience_s(seen, short_s if came else 0.0, rekeys=rekeys))
    return found


async def _own_key(
    ctx: Context,
    peer: Peer,
    state: OverlayState,
    known: OverlayPeer,
    taken: Callable[[], Tapped],
    readings: list[Reading],
) -> int:
    """How many messages of the peer came for another machine with this node's key.

    It looks until this node's next handshake, which shows that nothing on the way drops them, or until it is known
    what on this node does.
    """
    clock = asyncio.get_running_loop()
    began = clock.time()
    while clock.time() - began < OWN_S and peer.address not in ctx.net.ways.dying_here:
        await ctx.net.icmp.echo(peer.address, count=1, interval_s=EACH_S, timeout_s=EACH_S)
        await _read(ctx, peer, state, readings)
        if messages := for_another(taken(), known.endpoint, readings):
            return messages
        await asyncio.sleep(EACH_S)
    return 0


def _short_s(ctx: Context, peer: Peer) -> float:
    silence = ctx.net.path.proven_silent(peer)
    return NO_HELLO_S if silence is not None and silence.port_unreachable else SHORT_S


def _patience_s(seen: Sequence[Seen], short_s: float, *, rekeys: bool) -> float:
    """How long it is worth to look. short_s: while nothing moves; 0 if nothing of the key has come in this run."""
    if moved(seen):
        return HANDSHAKES_S if rekeys else LONG_S
    return short_s


def judge(peer: Peer, known: OverlayPeer, product: str, found: Turns) -> Result:
    """The finding of an endpoint that returns."""
    message, remedies, measured = explain(peer, known, product, found)
    return failed(
        codes.OVERLAY_DUPLICATE_KEY,
        peer.target,
        Direction.ROUND_TRIP,
        message,
        remedies=remedies,
        measurements=measured,
        station=Station("session", "receiver"),
    )


def judge_own(peer: Peer, known: OverlayPeer, own_key: str, messages: int) -> Result:
    """The finding of data for a session of another machine."""
    return failed(
        codes.OVERLAY_DUPLICATE_KEY,
        peer.target,
        Direction.REVERSE,
        f"{messages} packets of {peer.target} came here from {known.endpoint} for a session that this node does not "
        f"have, and those for its own session were accepted: another machine uses this node's key ({own_key})",
        remedies=look(
            f"wg show all public-key   # on the machine that is a copy of this one: {own_key}; it needs another key "
            "(wg genkey)",
            root=True,
        ),
        measurements={"public_key": own_key, "packets": messages},
        station=Station("session", "receiver"),
    )
