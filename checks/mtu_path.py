"""Does the path carry packets as large as the overlay's interface promises, forward and reverse?"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from preflight.api import (
    Context,
    Direction,
    Evidence,
    Peer,
    Remedies,
    Result,
    Station,
    by_hand,
    check,
    codes,
    failed,
    for_each_peer,
    inconclusive,
    passed,
    warned,
)
from preflight.model.facts import AnswerFacts, MtuSearchFacts
from preflight.model.overlay import IPV6_EXTRA_BYTES, OverlayPeer
from preflight.model.pmtu import PathMtu, ProbeSizes, SearchOutcome, as_data
from preflight.model.pmtu_hops import Vanishing
from preflight.proto.pmtu.advice import Tunnel, advise_mtu, counts_on_fragments, set_mtu_here, set_mtu_there, tunnel_of
from preflight.proto.pmtu.unanswered import unanswered
from preflight.proto.pmtu.wire import LARGEST

CONCURRENT_PEERS = 16
CONCURRENT_SILENT = 128

Found = tuple[PathMtu, PathMtu]
"""Forward and reverse."""


@dataclass(frozen=True, slots=True)
class Trail:
    """How far large packets get towards the peer or, `outside` the tunnel, towards its endpoint."""

    towards: str
    vanishing: Vanishing
    outside: bool = False


@dataclass(frozen=True, slots=True)
class Underlay:
    """What is known about the path to a tunnel's endpoint. `mtu`: see `Carried`."""

    mtu: int = 0
    trail: Trail | None = None


@dataclass(frozen=True, slots=True)
class Carried:
    """How packets get to one peer.

    interface: the overlay interface of the route, `product` what runs it; None off the overlay.
    endpoint: underlay address of the tunnel's other end. underlay_mtu: the largest packet known to get there, from the
    kernel's PMTU cache or an answer of that host; bytes, 0 = unknown.
    trail: how far large packets get before they vanish; None if not measured. others_answered: the responder answers
    other packets, and this node has no key.
    """

    peer: Peer
    interface: str | None = None
    product: str | None = None
    tunnel: Tunnel | None = None
    endpoint: str | None = None
    underlay_mtu: int = 0
    trail: Trail | None = None
    others_answered: bool = False


@check(
    "mtu.path",
    title="The path carries full-size packets",
    subject="peer",
    needs=("reach.udp",),
    reads=(AnswerFacts,),
    measures=True,
    timeout=150,
    timeout_per_peer=0.5,
    codes=(codes.MTU_BLACK_HOLE, codes.MTU_REDUCED, codes.MTU_BELOW_MINIMUM),
)
async def mtu_path(ctx: Context) -> AsyncGenerator[Result, None]:
    """Searches the path MTU to and from each peer's responder, each direction separately, exact to the byte.

    It distinguishes packets that vanish silently, packets that an ICMP error reports, and packets that arrive only
    because the tunnel fragments its outer packets. Where packets to a peer vanish, it probes each hop to find
    the last one that they reach.
    """
    underlay: dict[str, Underlay] = {}
    async for peer, both in _found(ctx):
        carried = await explain(ctx, peer, both, underlay)
        carried = replace(carried, others_answered=_others_answered(ctx, peer))
        for found in both:
            yield judge(carried, found, ctx.least_mtu(peer.address, fits=found.fits), _proven(both, found))


def _others_answered(ctx: Context, peer: Peer) -> bool:
    keyless = ctx.settings.secrets.key_for(peer.address) is None
    return keyless and any(each.answered for each in ctx.facts(AnswerFacts, peer.target))


def _proven(both: Found, found: PathMtu) -> int:
    """What the other direction carries whole, bytes; 0 where that is not measured."""
    other = next(each for each in both if each is not found)
    return other.mtu_bytes or 0 if other.outcome is SearchOutcome.MEASURED and other.fits else 0


async def _found(ctx: Context) -> AsyncGenerator[tuple[Peer, Found], None]:
    """The findings for each peer, first one alone: it shows what the link carries. Those silent so far come last."""
    silent = tuple(peer for peer in ctx.peers if ctx.net.path.silent(peer))
    talking = tuple(peer for peer in ctx.peers if not ctx.net.path.silent(peer))
    done, at_once = 0, 1
    while group := talking[done : done + at_once]:
        for peer, both in await _side_by_side(ctx, group):
            yield peer, both
        done, at_once = done + len(group), ctx.net.pmtu.at_once(CONCURRENT_PEERS)
    async for peer, both in for_each_peer(silent, partial(measure, ctx), at_once=CONCURRENT_SILENT):
        yield peer, both


async def _side_by_side(ctx: Context, peers: Sequence[Peer]) -> list[tuple[Peer, Found]]:
    """Measure some peers at once. The kernel counts fragments for all flows together: a measurement that met some is
    repeated alone.
    """
    together = await asyncio.gather(*(measure(ctx, peer) for peer in peers))
    again = len(peers) > 1
    return [
        (peer, await measure(ctx, peer) if again and any(map(_in_doubt, both)) else both)
        for peer, both in zip(peers, together, strict=True)
    ]


def _in_doubt(found: PathMtu) -> bool:
    """Whether packets of other peers may have affected it."""
    return found.miscounted or bool(found.fragmented) or found.outcome is SearchOutcome.UNDECIDED


async def measure(ctx: Context, peer: Peer) -> Found:
    """Search both directions. The silent are not asked."""
    if (silence := ctx.net.path.proven_silent(peer)) is not None:
        outcome = SearchOutcome.REFUSED if silence.port_unreachable else SearchOutcome.NO_ANSWER
        nothing = partial(PathMtu, outcome=outcome, ceiling_bytes=0, rejected=silence.rejected)
        return nothing(direction="forward"), nothing(direction="reverse")
    tunnel_bytes = ctx.tunnel_mtu(peer.address)
    return await ctx.net.pmtu.both(peer, tunnel_bytes=tunnel_bytes, rtt_s=ctx.net.path.rtt_s(peer))


def _telling(found: PathMtu) -> bool:
    """Whether there is more to report than whole full-size packets, or silence."""
    return not found.silent and (found.miscounted or not found.fits)


async def explain(ctx: Context, peer: Peer, both: Found, underlay: dict[str, Underlay]) -> Carried:
    """Which tunnel leads there and, if there is a finding, what its underlay carries (`underlay`, by endpoint)."""
    told, forward = any(map(_telling, both)), both[0]
    overlay = ctx.overlay
    if told:
        overlay = await ctx.net.with_routes(overlay, [peer.address], peer.responder_port, "udp")
    if overlay is None or not overlay.carries(peer.address):
        return Carried(peer, trail=await _trail(ctx, peer.address, forward))
    state = overlay.tunnel_for(peer.address)
    owner = state.peer_for(peer.address)
    endpoint = owner.endpoint_address if owner else None
    tunnel = tunnel_of(state, endpoint)
    if owner and endpoint and tunnel and told and endpoint not in underlay:
        underlay[endpoint] = await _underlay(ctx, state.fwmark, owner, tunnel, forward)
    known = underlay.get(endpoint, Underlay()) if endpoint else Underlay()
    trail = known.trail or await _trail(ctx, peer.address, forward)
    return Carried(peer, state.interface, state.product, tunnel, endpoint, known.mtu, trail)


async def _underlay(ctx: Context, fwmark: int, owner: OverlayPeer, tunnel: Tunnel, forward: PathMtu) -> Underlay:
    """The underlay's MTU from the kernel's cache; if there is none, the size that the endpoint's host answers to."""
    endpoint = owner.endpoint_address
    assert endpoint is not None
    if forward.mtu_bytes is None or not forward.black_hole:
        return Underlay(ctx.net.pmtu.path_mtu(endpoint, mark=fwmark))
    if fwmark:
        return Underlay()
    # Padding leaves a range open, which plain packets to the endpoint can close; above it they must vanish too.
    low, high = tunnel.outer_bounds(forward.mtu_bytes)
    carried = await ctx.net.pmtu.underlay_carries(endpoint, low, high + 1, timeout_s=_patience_s(forward))
    if not low <= carried <= high:
        return Underlay()
    # Plain packets have the tunnel's limit, so they can replace its packets here.
    vanishing = await ctx.net.pmtu.vanishing(endpoint, small=low, large=high + 1, patience_s=_patience_s(forward))
    return Underlay(carried, Trail(endpoint, vanishing, outside=True))


async def _trail(ctx: Context, address: str, forward: PathMtu) -> Trail | None:
    """How far large packets get before they vanish, by the hops in between; a full mesh has none."""
    if forward.mtu_bytes is None or not forward.black_hole:
        return None
    small = forward.mtu_bytes
    return Trail(
        address,
        await ctx.net.pmtu.vanishing(address, small=small, large=small + 1, patience_s=_patience_s(forward)),
    )


def _patience_s(forward: PathMtu) -> float:
    """How long to wait for an answer that takes no longer than the peer's."""
    return 0.05 + 3 * (forward.rtt_s or 0.0)


def judge(carried: Carried, found: PathMtu, minimum_mtu: int, proven: int = 0) -> Result:
    """The verdict on one direction; sizes are IP packets in bytes. proven: what the other direction carries whole."""
    target, direction = carried.peer.target, Direction(found.direction)
    if found.outcome is not SearchOutcome.MEASURED or found.mtu_bytes is None:
        return _undecided(carried.peer, found, others_answered=carried.others_answered)
    details = {"facts": _facts(found), "evidence": (_sizes(found), *_hops(carried, found))}
    promise = _promise(carried, found)
    if found.fits and found.mtu_bytes >= minimum_mtu:
        arrive = "arrive, whole or in fragments" if found.miscounted else "arrive whole"
        message = f"{found.mtu_bytes}-byte packets {_way(carried, found)} {arrive}, {promise}"
        if found.direction == "reverse" and not found.miscounted and proven > found.ceiling_bytes + IPV6_EXTRA_BYTES:
            return _smaller_there(carried, found, message, proven, details)
        return passed(target, direction, message, **details)
    message = f"packets over {found.mtu_bytes} bytes {_way(carried, found)} {_fate(carried, found)}, {promise}"
    if found.in_pieces and counts_on_fragments(carried.product, found.ceiling_bytes):
        return passed(target, direction, f"{message}; {carried.product} does so by default", **details)
    short = found.mtu_bytes < minimum_mtu and not found.in_pieces
    if short:
        message += f"; the overlay must carry {minimum_mtu}"
    if found.black_hole:
        verdict, code = failed, codes.MTU_BLACK_HOLE
    elif short:
        verdict, code = failed, codes.MTU_BELOW_MINIMUM
    else:
        verdict, code = warned, codes.MTU_REDUCED
    remedies = _remedies(carried, found, minimum_mtu)
    return verdict(code, target, direction, message, remedies=remedies, station=_station(carried, found), **details)


def _smaller_there(carried: Carried, found: PathMtu, message: str, proven: int, details: dict[str, Any]) -> Result:
    """The two ends differ by more than IPv4 and IPv6 under the tunnel do. Nobody knows whether more would come back."""
    peer, mtu = carried.peer, found.ceiling_bytes
    return warned(
        codes.MTU_REDUCED,
        peer.target,
        Direction.REVERSE,
        f"{message}, while packets of {proven} bytes to {peer.target} arrive whole: the two ends of the tunnel have "
        "different MTUs",
        remedies=set_mtu_here(carried.interface, mtu, carried.product) if carried.interface else (),
        **details,
    )


def _station(carried: Carried, found: PathMtu) -> Station | None:
    """The network, if large packets are certain to vanish behind one of its hops."""
    trail = carried.trail
    if trail is None or found.direction != "forward" or not (found.black_hole and trail.outside):
        return None
    return Station("network", "network") if trail.vanishing.last is not None and not trail.vanishing.doubt else None


def _way(carried: Carried, found: PathMtu) -> str:
    return f"{'to' if found.direction == 'forward' else 'from'} {carried.peer.target}"


def _promise(carried: Carried, found: PathMtu) -> str:
    """The MTU of the sender's interface, which every program there relies on."""
    if found.fits and found.ceiling_bytes >= LARGEST:
        return "the largest size that is tried"
    sender = f"{carried.peer.target}'s interface" if found.direction == "reverse" else carried.interface
    joined = "and" if found.fits else "but"
    return f"{joined} {sender or 'the interface that leads there'} has MTU {found.ceiling_bytes}"


def _fate(carried: Carried, found: PathMtu) -> str:
    """What happens to packets that are too large."""
    if found.fits:
        return "cannot be sent"
    if found.fragmented_outside:
        known = carried.underlay_mtu and found.direction == "forward"
        why = f" (the underlay to {carried.endpoint} carries {carried.underlay_mtu})" if known else ""
        return f"arrive only because the tunnel sends them in fragments{why}"
    if found.signalled:
        teller = f" from {', '.join(found.icmp_from)}" if any(found.icmp_from) else ""
        return f"do not arrive; an ICMP error{teller} reports that to the sender"
    return f"vanish{_behind(carried, found)} without an ICMP error"


def _behind(carried: Carried, found: PathMtu) -> str:
    """Where they vanish, if that is certain."""
    trail = carried.trail
    if trail is None or found.direction != "forward" or trail.vanishing.doubt:
        return ""
    last, outside = trail.vanishing.last, " on the underlay" if trail.outside else ""
    if last is None:
        return f" before the first hop{outside}, {trail.vanishing.hops[0].address},"
    return f" behind {last.address}{outside}"


def _remedies(carried: Carried, found: PathMtu, minimum_mtu: int) -> Remedies:
    """The MTU to set, on the node whose packets are too large."""
    assert found.mtu_bytes is not None
    tunnel = replace(carried.tunnel, mtu=found.ceiling_bytes) if carried.tunnel else None
    mtu = advise_mtu(found.mtu_bytes, tunnel, carried.underlay_mtu)
    if mtu < minimum_mtu and not found.fits:
        needed = f" {minimum_mtu + tunnel.overhead} bytes" if tunnel else " more"
        return by_hand(
            f"Make the path under the tunnel carry{needed}: an MTU of {mtu} is less than the overlay's {minimum_mtu}.",
            where="router",
        )
    mtu = max(mtu, minimum_mtu) if found.fits else mtu
    if found.direction == "reverse":
        there = set_mtu_there(carried.peer.target, carried.peer.address, mtu, carried.product)
        larger = carried.interface is not None and carried.tunnel is not None and carried.tunnel.mtu > mtu
        # Both ends of a tunnel should have one MTU.
        return (*there, *set_mtu_here(carried.interface, mtu, carried.product)) if larger else there
    if carried.interface is None:
        return by_hand(f"Set the MTU of the interface that leads to {carried.peer.address} to {mtu}.", root=True)
    return set_mtu_here(carried.interface, mtu, carried.product)


def _undecided(peer: Peer, found: PathMtu, *, others_answered: bool) -> Result:
    direction = Direction(found.direction)
    if found.outcome is SearchOutcome.UNDECIDED:
        message = (
            f"too many packets {'to' if found.direction == 'forward' else 'from'} {peer.target} are lost to find the "
            f"path MTU: {found.mtu_bytes or 0} bytes pass, {found.ceiling_bytes} is the interface's MTU"
        )
        return inconclusive(
            codes.RUN_TIMEOUT,
            peer.target,
            direction,
            message,
            facts=_facts(found),
            evidence=(_sizes(found),),
        )
    message, remedies = unanswered(peer, found, others_answered=others_answered)
    return inconclusive(
        codes.RUN_NEEDS_RESPONDER,
        peer.target,
        direction,
        message,
        remedies=remedies,
        measurements={"probes": found.probes_sent, "rejected": sum(found.rejected.values())},
    )


def _facts(found: PathMtu) -> MtuSearchFacts:
    return MtuSearchFacts(
        mtu_bytes=found.mtu_bytes,
        interface_mtu_bytes=found.ceiling_bytes,
        signalled=found.signalled,
        probes=found.probes_sent,
        rounds=found.rounds,
        rtt_ms=None if found.rtt_s is None else round(found.rtt_s * 1000, 3),
        search_ms=round(found.duration_s * 1000, 3),
        recovered=len(found.recovered),
    )


def _hops(carried: Carried, found: PathMtu) -> tuple[Evidence, ...]:
    """What the hops answered, and why that is not conclusive."""
    trail = carried.trail
    if trail is None or found.direction != "forward":
        return ()
    vanishing = trail.vanishing
    sizes = f"{vanishing.large_bytes} bytes towards {trail.towards} by hop, compared with {vanishing.small_bytes}"
    summary = f"packets of {sizes}"
    if vanishing.doubt:
        summary += f"; it is not known where they vanish: {vanishing.doubt}"
    rows = [
        {
            "ttl": hop.ttl,
            "address": hop.address,
            "large_sent": hop.asked,
            "large_answered": hop.large_answers,
            "small_answered": hop.small_answers,
        }
        for hop in vanishing.hops
    ]
    return (Evidence("path-mtu-hops", summary, rows),)


def _sizes(found: PathMtu) -> Evidence:
    sizes = ProbeSizes(
        passed=found.passed,
        fragmented=found.fragmented,
        vanished=found.vanished,
        lost_once_but_arrived=found.recovered,
        icmp_too_big_from=found.icmp_from,
    )
    return Evidence("path-mtu", "sizes of IP packets in bytes", as_data(sizes))
