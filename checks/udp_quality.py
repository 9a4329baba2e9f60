"""Loss, jitter, reordering and duplication of UDP, each direction separately."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from preflight.api import (
    Code,
    Context,
    Direction,
    Evidence,
    Peer,
    Remedies,
    Result,
    Status,
    check,
    codes,
    for_each_peer,
    inconclusive,
    look,
    passed,
)
from preflight.model.facts import AnswerFacts, LossFacts
from preflight.model.path import DirectionStats, Drops, StampStats, percentile
from preflight.model.spread import as_data, spread
from preflight.proto.responder.answerer import replace_answerer, who_answers
from preflight.proto.responder.reach import look_at_filters, start_responder, who_floods
from preflight.proto.stamp.enough import significant
from preflight.proto.stamp.pace import JITTER_PERCENTILE, LEAST_EVENTS, jitter_limit_ms, smallest_loss_percent
from preflight.proto.stamp.policer import suspected_per_s

if TYPE_CHECKING:
    from preflight.api import Thresholds

CONCURRENT_PEERS = 8
CONCURRENT_SILENT = 64
MANY = 200
"""A session of fewer packets says which loss it would not have shown."""
NO_PATH = "that says nothing about the path"


@dataclass(frozen=True, slots=True)
class Property:
    """One bad property of one direction."""

    code: Code
    name: str
    status: Status
    message: str
    remedies: Remedies = ()


@check(
    "udp.quality",
    title="UDP passes without loss, jitter, reordering or duplication",
    subject="peer",
    needs=("reach.udp",),
    measures=True,
    timeout=90,
    timeout_per_peer=2,
    codes=(codes.UDP_LOSS, codes.UDP_JITTER, codes.UDP_REORDERING, codes.UDP_DUPLICATION, codes.HOST_FIREWALL_DROP),
)
async def udp_quality(ctx: Context) -> AsyncGenerator[Result, None]:
    """Runs one STAMP session with each peer's responder, and more if the first was not clean.

    The first has 200 packets, with a single peer 300; with more than 50 peers, or on a slow link, fewer. All sessions
    together begin with 250 packets a second, and have 2000 at most where no queue fills. Trouble is measured again at a
    quarter of the pace, and alone where packets waited: what is gone then was made by these packets.
    """
    limits = ctx.settings.thresholds
    silent = tuple(peer for peer in ctx.peers if ctx.net.path.silent(peer))
    talking = tuple(peer for peer in ctx.peers if not ctx.net.path.silent(peer))
    quality = ctx.net.quality(partial(_decided, limits), len(talking))
    for peers, at_once in ((talking, CONCURRENT_PEERS), (silent, CONCURRENT_SILENT)):
        async for peer, stats in for_each_peer(peers, quality.measure, at_once=at_once):
            for result in judge(peer, stats, limits):
                yield result


def _decided(limits: "Thresholds", peer: Peer, stats: StampStats) -> bool:
    """Whether it is certain that something is bad."""
    return any(result.status in (Status.FAIL, Status.WARN) for result in judge(peer, stats, limits))


def judge(peer: Peer, stats: StampStats, limits: "Thresholds") -> tuple[Result, ...]:
    """A result per direction with all its measurements; a second bad property of a direction gets a separate result."""
    if not stats.answered:
        return (_unanswered(peer, stats),)
    results: list[Result] = []
    for direction, measured in ((Direction.FORWARD, stats.forward), (Direction.REVERSE, stats.reverse)):
        results += _judge_direction(peer, direction, measured, stats, limits)
    results[0] = replace(results[0], evidence=(*results[0].evidence, *_round_trips(stats)))
    return (*results, *_judge_silence(peer, stats, limits), *_judge_times(peer, stats))


def _round_trips(stats: StampStats) -> tuple[Evidence, ...]:
    """How the round trips are distributed: a median hides that some wait."""
    known = spread(stats.rtt_ms)
    if known is None:
        return ()
    told = f"{len(stats.rtt_ms)} round trips: half within {known.p50_ms} ms, 99 of 100 within {known.p99_ms} ms"
    return (Evidence("round-trips", told, as_data(known)),)


def _unanswered(peer: Peer, stats: StampStats) -> Result:
    place = (peer.target, peer.address, peer.responder_port)
    if stats.rejected:
        fact = f"{who_answers(peer.target, peer.responder_port, stats.rejected)}, so nothing was measured"
        remedies = replace_answerer(*place, stats.rejected, keyed=stats.authenticated)
    else:
        fact = f"no responder answers on UDP port {peer.responder_port} of {peer.address}, so nothing was measured"
        remedies = start_responder(*place, certain=stats.port_unreachable)
    return inconclusive(
        codes.RUN_NEEDS_RESPONDER,
        peer.target,
        Direction.ROUND_TRIP,
        f"{fact}; a responder there would measure loss and jitter of each direction",
        remedies=remedies,
        facts=AnswerFacts(sent=stats.sent, answered=0, rejected=sum(stats.rejected.values())),
    )


def _judge_times(peer: Peer, stats: StampStats) -> list[Result]:
    """Without plausible times no delay was measured, and a direction without loss is not free of jitter."""
    if not stats.implausible:
        return []
    message = (
        f"the times in {stats.implausible} of {stats.answered} answers of {peer.target} cannot be true (its clock was "
        "set meanwhile, or the times are made up), so jitter was not measured"
    )
    return [
        inconclusive(
            codes.RUN_NEEDS_RESPONDER,
            peer.target,
            Direction.ROUND_TRIP,
            message,
            aspect="times",
            remedies=look(
                f"chronyc tracking || timedatectl timesync-status   # on {peer.target}; then run again",
                where="peer",
                host=peer.target,
            ),
            measurements={"answered": stats.answered, "implausible_times": stats.implausible},
        )
    ]


def _judge_silence(peer: Peer, stats: StampStats, limits: "Thresholds") -> list[Result]:
    """Packets after the last answer: they are lost, but the direction is not known."""
    if not significant(stats.undirected, stats.sent, limits.loss_percent):
        return []
    fatal = significant(stats.undirected, stats.sent, limits.loss_fail_percent)
    code, status, remedies = codes.UDP_LOSS, Status.FAIL if fatal else Status.WARN, _trace(peer)
    why = "the path broke, in an unknown direction"
    if stats.drops.forward:
        code, status, remedies = (
            codes.RUN_OVERLOADED,
            Status.INCONCLUSIVE,
            who_floods(peer.target, peer.responder_port),
        )
        why = f"{_dropped(peer, True, stats.drops)}, and {NO_PATH}"
    return [
        Result(
            target=peer.target,
            direction=Direction.ROUND_TRIP,
            status=status,
            code=code,
            message=f"{stats.undirected} of {stats.sent} packets to {peer.target} got no answer, and neither did "
            f"any packet after them: {why}",
            facts=AnswerFacts(sent=stats.sent, answered=stats.answered, undirected=stats.undirected),
            remedies=remedies,
        )
    ]


def _trace(peer: Peer) -> Remedies:
    return look(f"mtr -u {peer.address}   # then run it towards the tunnel's endpoint too: where does the loss begin?")


def _judge_direction(
    peer: Peer, direction: Direction, measured: DirectionStats | None, stats: StampStats, limits: "Thresholds"
) -> list[Result]:
    if measured is None:
        trouble = (
            f"{stats.lost} of {stats.sent} packets got no answer, and"
            if stats.lost
            else f"all {stats.sent} packets were answered, but"
        )
        message = f"{trouble} the reflector's numbers do not show the direction"
        remedies = start_responder(peer.target, peer.address, peer.responder_port)
        return [inconclusive(codes.RUN_NEEDS_RESPONDER, peer.target, direction, message, remedies=remedies)]
    facts = _facts(direction, measured, stats)
    way = f"to {peer.target}" if direction is Direction.FORWARD else f"from {peer.target}"
    gone = (_kept_back(peer, direction, stats, limits), _loss(peer, direction, measured, stats, limits))
    found = [*filter(None, gone), *_properties(measured, way, limits, jitter_limit_ms(stats, limits.jitter_ms))]
    if not found:
        jitter = "not measured" if stats.implausible else f"{facts.jitter_p95_ms} ms"
        if (facts.jitter_p95_ms or 0) >= limits.jitter_ms:
            jitter += _and_busy(jitter_limit_ms(stats, limits.jitter_ms) - limits.jitter_ms)
        message = f"{measured.sent} packets {way}: {_number(measured.loss_percent)} % lost, jitter {jitter}"
        if measured.sent < MANY:
            message += f"; this number shows no loss below {_number(facts.smallest_loss_percent or 0)} %"
        return [passed(peer.target, direction, message, facts=facts)]
    return [
        Result(
            target=peer.target,
            direction=direction,
            status=item.status,
            code=item.code,
            message=item.message,
            aspect=item.name if number else "",
            facts=facts,
            remedies=item.remedies or _trace(peer),
        )
        for number, item in enumerate(found)
    ]


def _kept_back(peer: Peer, direction: Direction, stats: StampStats, limits: "Thresholds") -> Property | None:
    """What this node's firewall did not let out: no path lost that. A limit may do so at the quicker pace alone."""
    if direction is not Direction.FORWARD:
        return None
    for paced in filter(None, (stats, stats.quicker)):
        kept = paced.send_errors.get("EPERM", 0)
        wanted = paced.sent + kept
        if significant(kept, wanted, limits.loss_percent):
            fatal = significant(kept, wanted, limits.loss_fail_percent)
            text = f"this node's own firewall did not let {kept} of {wanted} packets to {peer.target} out (EPERM)"
            remedies = look_at_filters("here", here=True)
            return Property(codes.HOST_FIREWALL_DROP, "refused", Status.FAIL if fatal else Status.WARN, text, remedies)
    return None


def _loss(
    peer: Peer, direction: Direction, measured: DirectionStats, stats: StampStats, limits: "Thresholds"
) -> Property | None:
    """What is missing in a direction. The path did not lose packets that an end dropped or did not understand."""
    if not significant(measured.lost, measured.sent, limits.loss_percent):
        return None
    forward = direction is Direction.FORWARD
    way = f"{'to' if forward else 'from'} {peer.target}"
    missing = f"{_number(measured.loss_percent)} % of {measured.sent} packets {way} "
    dropped = stats.drops.forward if forward else stats.drops.reverse
    refused = 0 if forward else sum(stats.rejected.values())
    if significant(measured.lost - dropped - refused, measured.sent, limits.loss_percent):
        fatal = significant(measured.lost, measured.sent, limits.loss_fail_percent)
        text = f"{missing}were lost ({measured.lost})"
        return Property(codes.UDP_LOSS, "loss", Status.FAIL if fatal else Status.WARN, text)
    if dropped:
        text = f"{missing}are missing ({measured.lost}), but {_dropped(peer, forward, stats.drops)}: {NO_PATH}"
        remedies = who_floods(peer.target, peer.responder_port) if forward else ()
        return Property(codes.RUN_OVERLOADED, "loss", Status.INCONCLUSIVE, text, remedies)
    who = who_answers(peer.target, peer.responder_port, stats.rejected)
    text = f"{missing}are missing ({measured.lost}), but not only the responder answers: {who}; {NO_PATH}"
    return Property(codes.RUN_NEEDS_RESPONDER, "loss", Status.INCONCLUSIVE, text)


def _dropped(peer: Peer, forward: bool, drops: Drops) -> str:
    """Packets that the ends dropped, which may be the missing ones."""
    facts = (
        (
            (drops.overflowed, "the receive queue of its responder had no room for {} datagram{}"),
            (drops.limited, "its responder dropped {} packet{} because of its rate limit"),
        )
        if forward
        else (
            (drops.unsent, f"the system of {peer.target} did not send {{}} answer{{}}"),
            (drops.here, "this node's own socket had no room for {} datagram{}"),
        )
    )
    return " and ".join(text.format(count, "" if count == 1 else "s") for count, text in facts if count)


def _properties(measured: DirectionStats, way: str, limits: "Thresholds", limit_ms: float) -> list[Property]:
    """The bad properties other than loss, worst first. limit_ms: of the delay variation."""
    jitter_ms = measured.delay_variation_percentile_ms(JITTER_PERCENTILE)
    slow = sum(delay_ms >= limit_ms for delay_ms in measured.delay_variation_ms)
    jittery = significant(slow, measured.observed, 100 - JITTER_PERCENTILE)
    found: list[Property] = []
    if jittery:
        text = (
            f"the delay of packets {way} varies by {jitter_ms:.0f} ms (95 of 100 of {measured.observed} packets; "
            f"the limit is {limits.jitter_ms:g} ms{_and_busy(limit_ms - limits.jitter_ms)})"
        )
        found.append(Property(codes.UDP_JITTER, "jitter", Status.WARN, text))
    # If the delay varies by more than the gap between packets, they overtake each other: one cause, not two.
    if not jittery and significant(measured.reordered, measured.observed, limits.reordering_percent):
        text = f"{_number(measured.reordered_percent)} % of {measured.observed} packets {way} arrived out of order"
        found.append(Property(codes.UDP_REORDERING, "reordering", Status.WARN, text))
    if significant(measured.duplicated, measured.observed, limits.duplication_percent):
        text = f"{_number(measured.duplicated_percent)} % of {measured.observed} packets {way} arrived more than once"
        found.append(Property(codes.UDP_DUPLICATION, "duplication", Status.WARN, text))
    return found


def _and_busy(busy_ms: float) -> str:
    """What the hosts at the ends, and not the path, may have added to a delay."""
    return f", and packets lay up to {busy_ms:.0f} ms at the ends before a program took them" if busy_ms else ""


def _facts(direction: Direction, measured: DirectionStats, stats: StampStats) -> LossFacts:
    """Each number with the count behind it: of losses `sent`, of order, copies and jitter `observed`."""
    arriving = suspected_per_s(stats, "forward" if direction is Direction.FORWARD else "reverse")
    return LossFacts(
        sent=measured.sent,
        received=measured.received,
        observed=measured.observed,
        loss_percent=round(measured.loss_percent, 3),
        jitter_p95_ms=None
        if stats.implausible
        else round(measured.delay_variation_percentile_ms(JITTER_PERCENTILE), 3),
        ipdv_mean_ms=None if stats.implausible else round(measured.ipdv_ms, 3),
        ipdv_pairs=len(measured.steps_ms),
        reordered=measured.reordered,
        reordered_percent=round(measured.reordered_percent, 3),
        reordering_extent=measured.extent,
        duplicated=measured.duplicated,
        duplicated_percent=round(measured.duplicated_percent, 3),
        rtt_median_ms=round(percentile(stats.rtt_ms, 50), 3) if stats.rtt_ms else None,
        rtt_packets=len(stats.rtt_ms),
        dropped_by_ends=stats.drops.forward + stats.drops.reverse,
        rejected=sum(stats.rejected.values()),
        smallest_loss_percent=round(smallest_loss_percent(measured.sent, LEAST_EVENTS), 1),
        arriving_per_s=None if arriving is None else round(arriving, 1),
    )


def _number(percent: float) -> str:
    return f"{percent:.1f}".removesuffix(".0")
