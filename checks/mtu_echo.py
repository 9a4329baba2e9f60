"""Without a responder: do full-size packets get to the peer and back, as far as one side can prove it?"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace

from preflight.api import (
    Context,
    Direction,
    Evidence,
    Peer,
    Remedies,
    Result,
    by_hand,
    check,
    codes,
    failed,
    inconclusive,
    passed,
    skipped,
    warned,
)
from preflight.model.facts import MtuEchoFacts, MtuFacts, MtuSearchFacts
from preflight.model.pmtu import EchoSizes, PathMtu, SearchOutcome, as_data
from preflight.proto.icmp.advice import allow_echoes
from preflight.proto.icmp.traceroute import FIRST_PORT
from preflight.proto.pmtu.advice import counts_on_fragments, set_mtu_here, set_mtu_there
from preflight.proto.pmtu.wire import SMALLEST
from preflight.proto.responder.reach import start_responder

CONCURRENT_PEERS = 16
REFUSALS_TRIED = 3
SMALL_BYTES = 200
REFUSAL_WAIT_S = 1.1
"""Linux reports closed ports to one host once a second, after a burst of six (icmp(7), `icmp_ratelimit`)."""


@dataclass(frozen=True, slots=True)
class Alone:
    """The findings of one side. Silence alone never names a direction.

    echo: the largest echo that came back. forward_bytes: the largest UDP packet that the peer's host confirms, 0 =
    none. swallowed: full-size UDP packets that it did not confirm, although it confirmed a small one behind them.
    interface: of the overlay, if the route uses it; product: what runs that.
    """

    echo: PathMtu
    forward_bytes: int = 0
    swallowed: int = 0
    interface: str | None = None
    product: str | None = None

    @property
    def forward_open(self) -> bool:
        """Whether full-size packets are proven to get to the peer."""
        return self.forward_bytes >= self.echo.ceiling_bytes

    @property
    def forward_dead(self) -> bool:
        """Whether full-size packets are proven not to get to the peer: its host confirms smaller ones only."""
        return self.swallowed > 0


@check(
    "mtu.echo",
    title="Without a responder: full-size echoes come back",
    subject="peer",
    needs=("reach.icmp",),
    reads=(MtuSearchFacts,),
    measures=True,
    timeout=60,
    timeout_per_peer=0.5,
    privileges=("net_raw",),
    codes=(codes.MTU_BLACK_HOLE, codes.MTU_REDUCED, codes.MTU_BELOW_MINIMUM),
)
async def mtu_echo(ctx: Context) -> AsyncGenerator[Result, None]:
    """Searches the largest echo that is answered, where no responder measures each direction separately (`mtu.path`).

    An echo is as large in both directions, so a loss has no direction. If the peer's host quotes a full-size UDP
    packet to a closed port, the forward direction is proven open, and the loss is in the reverse direction.
    """
    for start in range(0, len(ctx.peers), CONCURRENT_PEERS):
        for peer, alone in await _side_by_side(ctx, ctx.peers[start : start + CONCURRENT_PEERS]):
            fits = alone is not None and alone.echo.fits
            for result in judge(peer, alone, ctx.least_mtu(peer.address, fits=fits)):
                yield result


async def _side_by_side(ctx: Context, peers: Sequence[Peer]) -> list[tuple[Peer, Alone | None]]:
    """Measure some peers at once. The kernel counts fragments for all flows together, so a measurement that shows some
    is repeated alone.
    """
    found = list(await asyncio.gather(*(measure(ctx, peer) for peer in peers)))
    for place, (peer, alone) in enumerate(zip(peers, found, strict=True)):
        if len(peers) > 1 and alone is not None and _telling(alone.echo):
            found[place] = replace(
                alone, echo=await ctx.net.pmtu.echo(peer.address, tunnel_bytes=ctx.tunnel_mtu(peer.address))
            )
    return list(zip(peers, found, strict=True))


def _telling(echo: PathMtu) -> bool:
    return echo.outcome is SearchOutcome.MEASURED and (echo.miscounted or not echo.fits)


async def measure(ctx: Context, peer: Peer) -> Alone | None:
    """A few round trips; some seconds where it waits for the peer's host. None: a responder measures it better."""
    if await _has_responder(ctx, peer):
        return None
    echo = await ctx.net.pmtu.echo(peer.address, tunnel_bytes=ctx.tunnel_mtu(peer.address))
    overlay = await ctx.net.with_routes(ctx.overlay, [peer.address])
    alone = Alone(echo)
    if overlay and overlay.carries(peer.address):
        product = overlay.tunnel_for(peer.address).product
        alone = replace(alone, interface=overlay.routes[peer.address].interface, product=product)
    if echo.fits:
        return alone
    port = await _closed_port(ctx, peer)
    if port is None:
        return alone
    if forward := await _forward_bytes(ctx, peer, echo.ceiling_bytes, port):
        return replace(alone, forward_bytes=forward)
    # Linux limits what it refuses: only a small packet behind the large ones shows that these did not come.
    confirmed = await _forward_bytes(ctx, peer, SMALL_BYTES, port)
    return replace(alone, swallowed=REFUSALS_TRIED if confirmed else 0)


async def _has_responder(ctx: Context, peer: Peer) -> bool:
    """Whether path-MTU probes are answered: what mtu.path found, or a few probes of our own where it found nothing.

    STAMP goes first, because there silence costs less, but other reflectors answer it too.
    """
    if ctx.facts(MtuSearchFacts, peer.target):
        return True
    if ctx.net.path.silent(peer) or not (await ctx.net.path.stamp(peer, count=3, interval_s=0.01)).answered:
        return False
    probed = await ctx.net.pmtu.search(peer, "forward", ceiling_bytes=SMALLEST)
    return probed.outcome is SearchOutcome.MEASURED


async def _closed_port(ctx: Context, peer: Peer) -> int | None:
    """A port of which the peer's host says that it is closed: the responder's if it has said so in this run already,
    else traceroute's first, or again the responder's where a firewall lets in what is open only. None if it says so of
    neither.
    """
    if ctx.net.path.refusals.closed(peer):
        return peer.responder_port
    for port in (FIRST_PORT, peer.responder_port):
        if await _forward_bytes(ctx, peer, SMALL_BYTES, port, tries=1):
            return port
    return None


async def _forward_bytes(ctx: Context, peer: Peer, size: int, port: int, *, tries: int = REFUSALS_TRIED) -> int:
    """`size` if a UDP packet of that size got to the peer, proven by its host's "port unreachable"; else 0."""
    for _ in range(tries):
        if await ctx.net.pmtu.underlay_carries(peer.address, size, size, timeout_s=REFUSAL_WAIT_S, port=port):
            return size
    return 0


def judge(peer: Peer, alone: Alone | None, minimum_mtu: int) -> tuple[Result, ...]:
    """Judge the round trip, and the forward direction alone where it is proven; sizes are IP packets in bytes."""
    if alone is None:
        message = f"the responder of {peer.target} measures the path MTU of each direction (mtu.path)"
        return (skipped(codes.RUN_NOT_APPLICABLE, peer.target, Direction.ROUND_TRIP, message),)
    echo = alone.echo
    if echo.outcome is not SearchOutcome.MEASURED or echo.mtu_bytes is None:
        return (_undecided(peer, alone), *_forward(peer, alone))
    if echo.fits and echo.mtu_bytes >= minimum_mtu:
        return (_whole(peer, alone),)
    return (_limited(peer, alone, echo.mtu_bytes, minimum_mtu), *_forward(peer, alone))


def _whole(peer: Peer, alone: Alone) -> Result:
    echo = alone.echo
    come = "come back, whole or in fragments" if echo.miscounted else "come back whole"
    return passed(
        peer.target,
        Direction.ROUND_TRIP,
        f"{echo.mtu_bytes}-byte echoes to {peer.target} {come}, and {_promise(alone)}; only a responder there can "
        f"show whether they arrive in fragments, and what size {peer.target} can send",
        facts=_facts(alone),
        evidence=(_sizes(echo),),
    )


def _forward(peer: Peer, alone: Alone) -> tuple[Result, ...]:
    if not alone.forward_open:
        return ()
    return (
        passed(
            peer.target,
            Direction.FORWARD,
            f"a UDP packet of {alone.forward_bytes} bytes got to {peer.target}: its host quotes it and says that the "
            "port is closed",
            facts=MtuFacts(mtu_bytes=alone.forward_bytes, interface_mtu_bytes=alone.echo.ceiling_bytes),
        ),
    )


def _limited(peer: Peer, alone: Alone, mtu: int, minimum_mtu: int) -> Result:
    """Less than the interface's MTU, or less than the overlay needs."""
    echo = alone.echo
    black_hole = echo.black_hole
    # UDP of this size gets there, so the echo was lost on the way back; and fragments are seen where they come in.
    direction = Direction.ROUND_TRIP
    if black_hole and (alone.forward_open or alone.forward_dead):
        direction = Direction.REVERSE if alone.forward_open else Direction.FORWARD
    elif echo.fragmented_outside:
        direction = Direction.REVERSE
    message = f"{_fate(peer, alone, mtu)}, {'and' if echo.fits else 'but'} {_promise(alone)}"
    if echo.in_pieces and counts_on_fragments(alone.product, echo.ceiling_bytes):
        message += f"; {alone.product} does so by default"
        return passed(peer.target, direction, message, facts=_facts(alone), evidence=(_sizes(echo),))
    short = mtu < minimum_mtu and not echo.in_pieces
    if short:
        message += f"; the overlay must carry {minimum_mtu}"
    if black_hole:
        verdict, code = failed, codes.MTU_BLACK_HOLE
    elif short:
        verdict, code = failed, codes.MTU_BELOW_MINIMUM
    else:
        verdict, code = warned, codes.MTU_REDUCED
    return verdict(
        code,
        peer.target,
        direction,
        message + _open_question(peer, alone),
        remedies=_remedies(peer, alone, mtu, minimum_mtu),
        facts=_facts(alone),
        evidence=(_sizes(echo),),
    )


def _fate(peer: Peer, alone: Alone, mtu: int) -> str:
    echo, name = alone.echo, peer.target
    if echo.fits:
        return f"echoes to {name} over {mtu} bytes cannot be sent"
    if echo.fragmented_outside:
        return f"the answers of {name} to echoes over {mtu} bytes come in fragments"
    if echo.signalled:
        tellers = ", ".join(filter(None, echo.icmp_from))
        return f"packets over {mtu} bytes do not get to {name}: {tellers} reports so by an ICMP error"
    if alone.forward_open:
        return (
            f"echoes over {mtu} bytes get no answer from {name} and no ICMP error, while UDP of {alone.forward_bytes} "
            "bytes does get there: unless a filter drops large echoes, large packets vanish on the way back"
        )
    if alone.forward_dead:
        return (
            f"echoes over {mtu} bytes get no answer from {name} and no ICMP error; its host says of small UDP packets "
            f"that the port is closed, and of UDP of {echo.ceiling_bytes} bytes nothing: large packets vanish on the "
            "way there"
        )
    return f"echoes over {mtu} bytes to {name} get no answer and no ICMP error"


def _open_question(peer: Peer, alone: Alone) -> str:
    """What one side cannot show, and what could."""
    if alone.forward_dead:
        return "; it is not known what the way back carries"
    if alone.echo.black_hole and not alone.forward_open:
        return f"; a responder at {peer.target} would show in which direction large packets vanish"
    if alone.echo.fits:
        return ""
    return f"; a responder at {peer.target} would show the size for each direction"


def _promise(alone: Alone) -> str:
    return f"{alone.interface or 'the interface that leads there'} has MTU {alone.echo.ceiling_bytes}"


def _remedies(peer: Peer, alone: Alone, mtu: int, minimum_mtu: int) -> Remedies:
    """The size that passed; it is not known which end sends too large packets, so both ends need it."""
    if mtu < minimum_mtu and not alone.echo.fits:
        sentence = f"Make the path under the tunnel carry more: {mtu} bytes are less than the overlay's {minimum_mtu}."
        return by_hand(sentence, where="router")
    mtu = max(mtu, minimum_mtu) if alone.echo.fits else mtu
    if alone.interface is None:
        sentence = f"Set the MTU of the interface that leads to {peer.address} to {mtu}, here and on {peer.target}."
        return by_hand(sentence, root=True)
    if alone.forward_dead:
        return set_mtu_here(alone.interface, mtu)
    there = set_mtu_there(peer.target, peer.address, mtu)
    if alone.echo.black_hole and alone.forward_open:
        return there
    return (*set_mtu_here(alone.interface, mtu), *there)


def _undecided(peer: Peer, alone: Alone) -> Result:
    echo, name = alone.echo, peer.target
    if echo.outcome is SearchOutcome.NOT_PERMITTED:
        return inconclusive(
            codes.RUN_NEEDS_PRIVILEGE,
            name,
            Direction.ROUND_TRIP,
            f"this process may not send echoes to {peer.address} (raw sockets need CAP_NET_RAW), and no responder "
            f"there measures the path MTU: either would decide it",
            remedies=allow_echoes(),
        )
    if echo.outcome is SearchOutcome.UNDECIDED:
        return inconclusive(
            codes.RUN_TIMEOUT,
            name,
            Direction.ROUND_TRIP,
            f"too many echoes to {name} get no answer to find the path MTU: {echo.mtu_bytes or 0} bytes come back, "
            f"{echo.ceiling_bytes} is the interface's MTU",
            facts=_facts(alone),
            evidence=(_sizes(echo),),
        )
    known = "back" if alone.forward_open else "there and back"
    return inconclusive(
        codes.RUN_NEEDS_RESPONDER,
        name,
        Direction.ROUND_TRIP,
        f"{name} answers no echo and no path-MTU probe: a responder there would show what the path {known} carries",
        remedies=start_responder(name, peer.address, peer.responder_port),
        measurements={"echoes": echo.probes_sent},
    )


def _facts(alone: Alone) -> MtuEchoFacts:
    echo = alone.echo
    return MtuEchoFacts(
        mtu_bytes=echo.mtu_bytes,
        interface_mtu_bytes=echo.ceiling_bytes,
        forward_mtu_bytes=alone.forward_bytes or None,
        signalled=echo.signalled,
        echoes=echo.probes_sent,
        rounds=echo.rounds,
        rtt_ms=None if echo.rtt_s is None else round(echo.rtt_s * 1000, 3),
        search_ms=round(echo.duration_s * 1000, 3),
    )


def _sizes(echo: PathMtu) -> Evidence:
    sizes = EchoSizes(
        came_back=echo.passed,
        in_fragments=echo.fragmented,
        unanswered=echo.vanished,
        lost_once_but_came_back=echo.recovered,
        icmp_too_big_from=echo.icmp_from,
    )
    return Evidence("path-mtu", "sizes of echoes in bytes", as_data(sizes))
