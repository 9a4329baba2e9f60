"""How much does the path carry, by TCP and by UDP, in each direction?"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from preflight.api import Context, Direction, Peer, Result, check, codes, inconclusive, passed, skipped
from preflight.model.facts import ThroughputFacts
from preflight.model.load import FailedFlow, Flow, FlowKind
from preflight.proto.load.asking import ALL_ARRIVED, left_out, no_flow, udp_mbit
from preflight.proto.load.wire import Amount

FLOWS: tuple[tuple[Direction, FlowKind, FlowKind], ...] = (
    (Direction.FORWARD, "tcp-up", "udp-up"),
    (Direction.REVERSE, "tcp-down", "udp-down"),
)


@dataclass(frozen=True, slots=True)
class Carried:
    """The flows of one direction."""

    tcp: Flow | FailedFlow
    udp: Flow | FailedFlow | None = None


@check(
    "perf.throughput",
    title="The path's throughput is known",
    subject="peer",
    needs=("reach.udp",),
    after=("perf.latency-under-load",),
    measures=True,
    timeout=120,
    timeout_per_peer=100,
    tags=("load",),
    codes=(codes.PERF_RESPONDER_LOAD_OFF, codes.PERF_LOAD_REFUSED),
)
async def perf_throughput(ctx: Context) -> AsyncGenerator[Result, None]:
    """Sends for some seconds by TCP, then by UDP a fifth more than TCP carried, in each direction.

    The receiver counts. The remote end is the peer's responder, if it was started with `--load` and has the key. Three
    peers at most, one after the other; never the control host, and never where the settings say that traffic is
    metered. The settings' `load` bounds its bytes and seconds.
    """
    url, wanted = ctx.settings.control.usable_url, ctx.settings.load
    control = await ctx.net.dns.addresses(url) if url is not None else ()
    for rank, peer in enumerate(ctx.peers):
        keyed = ctx.net.load.may_ask(peer)
        why = left_out(peer, rank, metered=wanted.metered, keyed=keyed, control=control)
        if why is not None:
            yield skipped(codes.RUN_NOT_APPLICABLE, peer.target, Direction.ROUND_TRIP, why)
            continue
        for direction, tcp, udp in FLOWS:
            found = await measure(ctx, peer, tcp, udp)
            yield judge(peer, direction, found)
            if isinstance(found.tcp, FailedFlow):
                break


async def measure(ctx: Context, peer: Peer, tcp: FlowKind, udp: FlowKind) -> Carried:
    """One direction."""
    wanted = ctx.settings.load
    size = wanted.megabytes * 1_000_000
    first = await ctx.net.load.flow(peer, tcp, Amount(wanted.seconds, size))
    if isinstance(first, FailedFlow):
        return Carried(first)
    mbit = udp_mbit(first.arrived.mbit_s, wanted.udp_mbit)
    second = await ctx.net.load.flow(peer, udp, Amount(wanted.seconds, size, round(mbit * 1000)))
    return Carried(first, second)


def judge(peer: Peer, direction: Direction, found: Carried) -> Result:
    """The numbers, or why there are none; no number is bad by itself."""
    if isinstance(found.tcp, FailedFlow):
        code, fact, remedies = no_flow(peer, found.tcp)
        message = f"{fact}; one that takes load would show the throughput"
        return inconclusive(code, peer.target, Direction.ROUND_TRIP, message, remedies=remedies)
    rate = found.tcp.arrived.mbit_s
    if rate is None:
        message = f"{found.tcp.arrived.bytes} bytes came by TCP: too few for a rate"
        return inconclusive(codes.RUN_NO_ANSWER, peer.target, direction, message)
    facts = _facts(found.tcp, found.udp if isinstance(found.udp, Flow) else None)
    where = "to" if direction is Direction.FORWARD else "from"
    message = f"TCP carries {rate:.1f} Mbit/s {where} {peer.target}, {_udp_words(found, facts)}"
    return passed(peer.target, direction, message, facts=facts)


def _udp_words(found: Carried, facts: ThroughputFacts) -> str:
    if not isinstance(found.udp, Flow):
        why = (found.udp.detail or found.udp.why) if found.udp is not None else "it was not tried"
        return f"and UDP gave no number ({why})"
    if facts.udp_mbit_s is None:
        return "and of UDP too little arrived for a rate"
    if found.udp.arrived.overflowed:
        return f"UDP at least {facts.udp_mbit_s:.1f}: its receiver was too busy to take all that came"
    if facts.udp_at_least:
        return f"UDP at least {facts.udp_mbit_s:.1f}, for nearly all arrived of what was sent"
    sent = facts.udp_mbit_s * found.udp.sent_bytes / found.udp.arrived.bytes
    return f"UDP {facts.udp_mbit_s:.1f} of {sent:.1f} that were sent"


def _facts(tcp: Flow, udp: Flow | None) -> ThroughputFacts:
    tcp_rate = tcp.arrived.mbit_s
    rounded = None if tcp_rate is None else round(tcp_rate, 3)
    if udp is None or udp.arrived.mbit_s is None:
        return ThroughputFacts(tcp_mbit_s=rounded, tcp_bytes=tcp.arrived.bytes)
    return ThroughputFacts(
        tcp_mbit_s=rounded,
        tcp_bytes=tcp.arrived.bytes,
        udp_mbit_s=round(udp.arrived.mbit_s, 3),
        udp_at_least=udp.arrived.bytes >= ALL_ARRIVED * udp.sent_bytes or bool(udp.arrived.overflowed),
        udp_bytes=udp.arrived.bytes,
    )
