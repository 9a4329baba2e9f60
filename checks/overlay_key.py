"""Do two machines use one key, so that a peer's endpoint goes to and fro between them?"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from functools import partial

from preflight.api import (
    Context,
    Direction,
    Peer,
    Remedies,
    Result,
    Station,
    check,
    codes,
    failed,
    for_each_peer,
    look,
    skipped,
)
from preflight.model.overlay import OverlayPeer
from preflight.proto.tunnel.endpoint_turns import Turns, moved, turns

PRODUCTS = ("wireguard", "tailscale")
MOST_PEERS = 6
EACH_S, PROVOKED_S = 0.25, 1.0
SHORT_S, LONG_S = 4.0, 10.0
"""How long the endpoint is watched: not at all where nothing has come from the key in this run; longer where it has
changed since the run began, or changes meanwhile. A responder's hello comes every three seconds."""


@check(
    "overlay.key",
    title="No other machine has the peer's key",
    subject="peer",
    needs=(),
    after=("reach.udp", "reach.icmp", "overlay.session", "udp.quality"),
    when="trouble",
    timeout=15,
    timeout_per_peer=0.01,
    codes=(codes.OVERLAY_DUPLICATE_KEY,),
)
async def overlay_key(ctx: Context) -> AsyncGenerator[Result, None]:
    """Reads the endpoint of a peer in trouble several times; once it has changed, it sends one datagram a second too.

    Each packet that fits the key moves the endpoint to its sender. A machine that has moved changes it once; where two
    machines send in turn, it returns.
    """
    async for peer, result in for_each_peer(ctx.peers[:MOST_PEERS], partial(_watched, ctx), at_once=MOST_PEERS):
        yield result if result is not None else _nothing(peer)
    for peer in ctx.peers[MOST_PEERS:]:
        yield _nothing(peer)


def _nothing(peer: Peer) -> Result:
    message = f"the endpoint of {peer.target} does not go to and fro"
    return skipped(codes.RUN_NOT_APPLICABLE, peer.target, Direction.ROUND_TRIP, message)


async def _watched(ctx: Context, peer: Peer) -> Result | None:
    interface, clock = ctx.tunnel(peer.address), asyncio.get_running_loop()
    state = ctx.overlay.at(interface) if ctx.overlay is not None else None
    known = state.peer_for(peer.address) if state is not None else None
    if state is None or known is None or state.product not in PRODUCTS or known.last_handshake_unix_s == 0.0:
        return None
    seen, began, provoked, came = [known.endpoint], clock.time(), -PROVOKED_S, True
    while (found := turns(seen)) is None and clock.time() - began < _patience_s(seen, came=came):
        # What nobody has moved is only read: what is sent would be counted by others who look at the same time.
        if moved(seen) and clock.time() - provoked >= PROVOKED_S:
            provoked = clock.time()
            await asyncio.to_thread(ctx.net.icmp.provoke_handshake, peer.address, interface)
        await asyncio.sleep(EACH_S)
        overlay = await ctx.net.overlay()
        now = overlay.at(interface) if overlay is not None else None
        again = now.peer_for(peer.address) if now is not None else None
        seen.append(again.endpoint if again is not None else None)
        came = again is not None and (again.rx_bytes or 0) > (known.rx_bytes or 0)
    return judge(peer, known, state.product, found) if found is not None else None


def _patience_s(seen: Sequence[str | None], *, came: bool) -> float:
    """How long it is worth to look. came: whether any packet of the key has arrived since the run began."""
    if moved(seen):
        return LONG_S
    return SHORT_S if came else 0.0


def judge(peer: Peer, known: OverlayPeer, product: str, found: Turns) -> Result:
    """The finding of an endpoint that returns."""
    first, second = found.places
    return failed(
        codes.OVERLAY_DUPLICATE_KEY,
        peer.target,
        Direction.ROUND_TRIP,
        f"{product} sees the key of {peer.target} ({known.key}) at {first} and at {second} in turn, with "
        f"{found.changes} changes in this run: two machines use it",
        remedies=_remedies(peer, product, found),
        measurements={"public_key": known.key, "endpoint": first, "other_endpoint": second},
        station=Station("session", "receiver"),
    )


def _remedies(peer: Peer, product: str, found: Turns) -> Remedies:
    """Which of the two is the copy, only its owner knows."""
    hosts = " and on ".join(place.rpartition(":")[0] for place in found.places)
    if product == "tailscale":
        line = f"tailscale logout; tailscale up   # on the copy: on {hosts}, one has to log in as another machine"
    else:
        line = f"wg show all public-key   # on {hosts}: the copy needs another key (wg genkey)"
    return look(line, where="peer", host=peer.target, root=True)
