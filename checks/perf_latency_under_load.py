"""How much longer do other packets wait during one upload, and during one download?"""

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from preflight.api import (
    Context,
    Direction,
    Peer,
    Remedies,
    Result,
    Status,
    check,
    codes,
    inconclusive,
    look,
    skipped,
)
from preflight.model.facts import LoadedDelayFacts
from preflight.model.load import AddedDelay, FailedFlow, FlowKind, LoadedDelay
from preflight.proto.load.added import grade
from preflight.proto.load.asking import left_out, no_flow
from preflight.proto.load.wire import Amount

if TYPE_CHECKING:
    from preflight.api import Thresholds

FLOWS: tuple[tuple[Direction, FlowKind], ...] = ((Direction.FORWARD, "tcp-up"), (Direction.REVERSE, "tcp-down"))
CAKE_SHARE = 0.95


@check(
    "perf.latency-under-load",
    title="One transfer leaves others their latency",
    subject="peer",
    needs=("reach.udp",),
    measures=True,
    timeout=120,
    timeout_per_peer=60,
    tags=("load",),
    codes=(codes.PERF_BUFFERBLOAT, codes.PERF_RESPONDER_LOAD_OFF, codes.PERF_LOAD_REFUSED),
)
async def perf_latency_under_load(ctx: Context) -> AsyncGenerator[Result, None]:
    """Sends small packets for a second and a half, then during one upload and during one download by TCP.

    The remote end is the peer's responder, if it was started with `--load` and has the key. Three peers at most, one
    after the other; never the control host, and never where the settings say that traffic is metered. The settings'
    `load` bounds its bytes and seconds.
    """
    url, wanted = ctx.settings.control.usable_url, ctx.settings.load
    control = await ctx.net.dns.addresses(url) if url is not None else ()
    amount = Amount(wanted.seconds, wanted.megabytes * 1_000_000)
    for rank, peer in enumerate(ctx.peers):
        keyed = ctx.net.load.may_ask(peer)
        why = left_out(peer, rank, metered=wanted.metered, keyed=keyed, control=control)
        if why is not None:
            yield skipped(codes.RUN_NOT_APPLICABLE, peer.target, Direction.ROUND_TRIP, why)
            continue
        for direction, kind in FLOWS:
            found = await ctx.net.load.delay(peer, kind, amount)
            if isinstance(found, FailedFlow):
                yield _failed(peer, found)
                break
            yield judge(peer, direction, found, ctx.settings.thresholds)


def judge(peer: Peer, direction: Direction, found: LoadedDelay | None, limits: "Thresholds") -> Result:
    """A warning from the settings' limit on; else the number with its grade."""
    if found is None or found.way is None:
        message = (
            f"too few small packets were under way during the {_word(direction)} to say what it adds: it was over too "
            "soon (load.megabytes), or they were lost"
        )
        return inconclusive(codes.RUN_NO_ANSWER, peer.target, direction, message)
    added = found.way.added_ms
    bad = added >= limits.added_delay_ms
    return Result(
        target=peer.target,
        direction=direction,
        status=Status.WARN if bad else Status.PASS,
        code=codes.PERF_BUFFERBLOAT if bad else None,
        message=_message(peer, direction, found, found.way),
        facts=_facts(found, found.way),
        remedies=_remedies(peer, direction, found.flow.arrived.mbit_s) if bad else (),
    )


def _message(peer: Peer, direction: Direction, found: LoadedDelay, way: AddedDelay) -> str:
    rate = found.flow.arrived.mbit_s
    of = f" of {rate:.1f} Mbit/s" if rate is not None else ""
    lost = f"; {found.lost} of {found.sent} small packets were lost meanwhile" if found.lost else ""
    where = "to" if direction is Direction.FORWARD else "from"
    return (
        f"during one {_word(direction)}{of} packets {where} {peer.target} wait {way.added_ms:.1f} ms longer (95 of 100 "
        f"at most {way.loaded_p95_ms:.1f} ms; grade {grade(way.added_ms)}): the round trip takes "
        f"{found.loaded_rtt_ms:.1f} ms instead of {found.idle_rtt_ms:.1f}{lost}"
    )


def _facts(found: LoadedDelay, way: AddedDelay) -> LoadedDelayFacts:
    arrived = found.flow.arrived
    return LoadedDelayFacts(
        added_ms=round(way.added_ms, 3),
        added_p95_ms=round(way.loaded_p95_ms, 3),
        grade=grade(way.added_ms),
        idle_rtt_ms=round(found.idle_rtt_ms, 3),
        loaded_rtt_ms=round(found.loaded_rtt_ms, 3),
        packets=found.sent,
        lost=found.lost,
        tcp_mbit_s=None if arrived.mbit_s is None else round(arrived.mbit_s, 3),
        transfer_bytes=arrived.bytes,
        transfer_s=round(arrived.seconds, 3),
    )


def _remedies(peer: Peer, direction: Direction, mbit_s: float | None) -> Remedies:
    """A queue that is kept short, just before the place where the line is slow; which place that is, is not known."""
    rate = f"{mbit_s * CAKE_SHARE:.1f}mbit" if mbit_s is not None else "RATE"
    line = f"tc qdisc replace dev UPLINK root cake bandwidth {rate}"
    if direction is Direction.FORWARD:
        return look(f"{line}   # UPLINK: the interface to the Internet, here or on this site's router", root=True)
    return look(f"{line}   # on {peer.target} or its site's router", where="peer", host=peer.target, root=True)


def _failed(peer: Peer, failed: FailedFlow) -> Result:
    code, fact, remedies = no_flow(peer, failed)
    message = f"{fact}; one that takes load would show what a transfer adds to the delay"
    return inconclusive(code, peer.target, Direction.ROUND_TRIP, message, remedies=remedies)


def _word(direction: Direction) -> str:
    return "upload" if direction is Direction.FORWARD else "download"
