"""Above which rate are packets lost, and which one passes?"""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from preflight.api import (
    Context,
    Direction,
    Peer,
    Result,
    Status,
    check,
    codes,
    look,
    passed,
    skipped,
)
from preflight.model.facts import LossFacts
from preflight.model.path import StampStats
from preflight.proto.stamp import policer
from preflight.proto.stamp.policer import Policed, Try, WayDirection

if TYPE_CHECKING:
    from preflight.api import PathProbes

MOST_PEERS = 3
"""What limits the rate of many peers is found at the first of them."""
ENOUGH_PER_S = 100.0
"""As many full packets a second carry about one megabit: less stops what the overlay is for."""
DIRECTIONS: Mapping[Direction, WayDirection] = {Direction.FORWARD: "forward", Direction.REVERSE: "reverse"}


@dataclass(frozen=True, slots=True)
class Rates:
    """Two sessions: one below the rate that arrived, and one above it. None: not needed, or nothing came back."""

    below: StampStats
    above: StampStats | None = None


@check(
    "reach.rate",
    title="No rate limit loses the packets",
    subject="peer",
    needs=("reach.udp",),
    reads=(LossFacts,),
    measures=True,
    timeout=60,
    timeout_per_peer=0.01,
    codes=(codes.REACH_POLICED,),
)
async def reach_rate(ctx: Context) -> AsyncGenerator[Result, None]:
    """Tries a rate that should pass and one that should not, with at most two hundred packets.

    It runs only where udp.quality lost many packets at one of its paces, and none of them waited in a queue: a slow
    link lets packets wait, a policer does not. One peer at a time.
    """
    tried = 0
    for peer in ctx.peers:
        arriving = suspected(ctx.facts(LossFacts, peer.target))
        if arriving is None or tried >= MOST_PEERS:
            yield _not_tried(peer, arriving)
            continue
        tried += 1
        # Others' packets would meet the limit too, and wait in the queue of a slow link.
        async with ctx.net.turns.alone_instead():
            rates = await measure(ctx.net.path, peer, arriving)
        for result in judge(peer, rates):
            yield result


def suspected(facts: tuple[LossFacts, ...]) -> float | None:
    """The rate that arrived, packets a second, in the direction in which it is smaller."""
    return min((each.arriving_per_s for each in facts if each.arriving_per_s is not None), default=None)


async def measure(path: "PathProbes", peer: Peer, per_s: float) -> Rates:
    """About six seconds; the rate that should pass is corrected once, by what arrived of it."""
    below = await _session(path, peer, policer.try_below(per_s, policer.BELOW_COUNT))
    if _loses(below) and (arrived := _arrived_per_s(below)) is not None and arrived >= policer.SLOWEST_PER_S:
        per_s = min(per_s, arrived)
        below = await _session(path, peer, policer.try_below(per_s, policer.AGAIN_COUNT))
    if not below.answered or _loses(below):
        return Rates(below)
    return Rates(below, await _session(path, peer, policer.try_above(per_s)))


async def _session(path: "PathProbes", peer: Peer, what: Try) -> StampStats:
    return await path.stamp(peer, count=what.count, interval_s=what.interval_s)


def _loses(stats: StampStats) -> bool:
    return any(policer.loses(stats, way) for way in DIRECTIONS.values())


def _arrived_per_s(stats: StampStats) -> float | None:
    """The rate that arrived in the direction in which less did."""
    rates = [policer.arrived_per_s(stats, way) for way in DIRECTIONS.values()]
    return min((rate for rate in rates if rate is not None), default=None)


def judge(peer: Peer, rates: Rates) -> tuple[Result, ...]:
    """A result for each direction in which packets are lost above a rate; else one that says what was tried."""
    below, above = rates.below, rates.above
    if above is None:
        message = f"packets {_way(peer, None)} are lost at every rate that was tried, so that no rate is the reason"
        return (skipped(codes.RUN_NOT_APPLICABLE, peer.target, Direction.ROUND_TRIP, message),)
    found = {each: policer.policed(below, above, way) for each, way in DIRECTIONS.items()}
    results = tuple(_policed(peer, each, what, above) for each, what in found.items() if what is not None)
    if results:
        return results
    message = f"{above.answered} of {above.sent} packets were answered at the quicker of two rates: no limit was found"
    return (passed(peer.target, Direction.ROUND_TRIP, message),)


def _policed(peer: Peer, direction: Direction, what: Policed, above: StampStats) -> Result:
    way = _way(peer, direction)
    return Result(
        target=peer.target,
        direction=direction,
        status=Status.FAIL if what.below_per_s < ENOUGH_PER_S else Status.WARN,
        code=codes.REACH_POLICED,
        message=f"packets {way} are lost above a rate: of {what.above_per_s:.0f} a second "
        f"{what.loss_percent:.0f} % were lost and about {what.arriving_per_s:.0f} a second arrived, while "
        f"{what.below_per_s:.0f} a second passed (all of {what.below_count}). What arrived did not wait in a queue, "
        "so this is a limit on the rate, and not a slow link",
        measurements={
            "passing_per_s": round(what.below_per_s, 1),
            "losing_per_s": round(what.above_per_s, 1),
            "arriving_per_s": round(what.arriving_per_s, 1),
            "loss_percent": round(what.loss_percent, 1),
            "payload_bytes": above.payload_bytes,
        },
        remedies=look(
            "nft list ruleset | grep -B2 -A2 limit; tc -s filter show; tc -s qdisc show   # policers and their drops",
            where="router",
            root=True,
        ),
    )


def _way(peer: Peer, direction: Direction | None) -> str:
    if direction is None:
        return f"between this node and {peer.target}"
    return f"{'to' if direction is Direction.FORWARD else 'from'} {peer.target}"


def _not_tried(peer: Peer, arriving: float | None) -> Result:
    message = "udp.quality saw no loss that a limit on the rate would make"
    if arriving is not None:
        message = f"the rates of {MOST_PEERS} peers are tried in one run; name this one with --peer to try them"
    return skipped(codes.RUN_NOT_APPLICABLE, peer.target, Direction.ROUND_TRIP, message)
