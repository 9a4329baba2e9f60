"""Do packets get to the peer, and do the peer's get here?"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from functools import partial

from preflight.api import (
    Context,
    Direction,
    Evidence,
    Peer,
    Remedies,
    Result,
    beside,
    by_hand,
    check,
    codes,
    failed,
    for_each_peer,
    inconclusive,
    look,
    passed,
    warned,
)
from preflight.model.facts import AnswerFacts
from preflight.model.icmp import EchoStats
from preflight.model.overlay import OverlayState
from preflight.model.path import AskResult, PeerReport, StampStats
from preflight.proto.responder import reach
from preflight.proto.responder import reach_messages as say
from preflight.proto.responder.answerer import replace_answerer, who_answers
from preflight.proto.responder.reach import Way
from preflight.proto.responder.reached import Reached, counts, forward_counts, outside_router, reverse_counts
from preflight.proto.responder.return_path import explain
from preflight.proto.way.stations import SOCKET

COUNT, INTERVAL_S = 10, 0.01
CONNECTED_S = 1.2  # one that is not answered the first time is tried again after a second
CONCURRENT_PEERS = 128
PACKETS_PER_SECOND = 2000
"""To all peers together, where all is well; silent ones get packets more slowly."""


@check(
    "reach.udp",
    title="Packets reach the peer, and the peer's reach this node",
    subject="peer",
    needs=("overlay.session", "overlay.route"),
    measures=True,
    timeout=30,
    timeout_per_peer=0.25,
    codes=(
        codes.REACH_NO_FORWARD,
        codes.REACH_NO_REVERSE,
        codes.REACH_UNREACHABLE,
        codes.UDP_BLOCKED,
        codes.HOST_FIREWALL_DROP,
        codes.HOST_RP_FILTER,
        codes.OVERLAY_ROUTE_LEAK,
        codes.REACH_ASYMMETRIC,
    ),
)
async def reach_udp(ctx: Context) -> AsyncGenerator[Result, None]:
    """Sends a few STAMP packets to the peer's responder.

    Without an answer, three others can show the direction. The peer reports by the control plane's mailbox what it
    received, what its reverse-path filter drops and where its route back leads, and it probes back. Its hellos say what
    it received. Answers that reach the tunnel interface, not the socket, were dropped here. Echo and TCP show it alive.
    """
    starts = ctx.net.starts(COUNT / PACKETS_PER_SECOND)
    spaced = starts.spaced(partial(measure, ctx), lambda each: (each.session.rtt_ms, each.session.lost))
    async for peer, reached in for_each_peer(ctx.peers, spaced, at_once=CONCURRENT_PEERS):
        for result in judge(peer, reached):
            yield result


async def measure(ctx: Context, peer: Peer) -> Reached:
    """A tenth of a second where all is well, some seconds where nothing comes back."""
    tunnel = ctx.overlay.tunnel_for(peer.address) if ctx.overlay is not None else None
    session, more = await beside(
        ctx.net.path.stamp(peer, count=COUNT, interval_s=INTERVAL_S),
        partial(_more, ctx, peer, tunnel),
        enough=lambda session: bool(session.answered or session.port_unreachable or not session.sent),
    )
    if more is None:
        asks = session.port_unreachable and peer.agent_id is not None
        return await _refused(ctx, peer, tunnel, session) if asks else Reached(session)
    unsigned, asked, echo, connected = more
    routers = {**session.icmp_from, **asked.icmp_from}
    outside = outside_router(await ctx.net.with_routes(ctx.overlay, routers), routers)
    return Reached(session, unsigned if session.authenticated else None, asked, echo, outside, tunnel, connected)


async def _refused(ctx: Context, peer: Peer, tunnel: OverlayState | None, session: StampStats) -> Reached:
    """A firewall calls a port closed too, and another machine with the address: a responder that runs reports it."""
    echo = ctx.net.icmp.echo(peer.address, count=3, interval_s=0.1, timeout_s=1.0)
    asked, echoed = await asyncio.gather(ctx.net.path.ask(peer, tunnel), echo)
    return Reached(session, asked=asked, echo=echoed, tunnel=tunnel)


async def _more(ctx: Context, peer: Peer, tunnel: OverlayState | None) -> tuple[StampStats, AskResult, EchoStats, bool]:
    """Everything that shows more about a silent peer, at once."""
    ctx.net.troubled(peer)
    return await asyncio.gather(
        ctx.net.path.stamp(peer, count=3, interval_s=INTERVAL_S, authenticated=False),
        ctx.net.path.ask(peer, tunnel),
        ctx.net.icmp.echo(peer.address, count=3, interval_s=0.1, timeout_s=1.0),
        ctx.net.tcp.answered(peer.address, peer.responder_port, CONNECTED_S),
    )


def judge(peer: Peer, reached: Reached) -> tuple[Result, ...]:
    """One result per direction where the directions can be distinguished, else one for both."""
    asked = reached.asked
    if reached.session.answered:
        return _both_open(peer, reached.session.answered, reached.session)
    if asked is not None and asked.answered:
        return _both_open(peer, asked.answered, reached.session, late=True)
    if reached.unsigned is not None and reached.unsigned.answered:
        return (*_both_open(peer, reached.unsigned.answered, reached.unsigned), _other_key(peer, reached))
    if reached.port_unreachable and (asked is None or asked.report is None):
        return (_no_responder(peer, reached, f"its host says that nobody listens on UDP port {peer.responder_port}"),)
    if asked is None or asked.sent == 0:
        return (_nothing_left(peer, asked.send_errors if asked else reached.session.send_errors),)
    if asked.strays:
        return (_from_elsewhere(peer, asked),)
    if reached.rejected:
        return (_not_a_responder(peer, reached, asked),)
    if overload := reached.overload(peer.target):
        return (_overloaded(peer, asked, overload),)
    return _by_ways(peer, reached, asked)


def _by_ways(peer: Peer, reached: Reached, asked: AskResult) -> tuple[Result, ...]:
    """What is known of the two directions when nothing at all comes from the responder's place."""
    ways = reach.forward_way(asked), reach.reverse_way(asked)
    if ways == (Way.OPEN, Way.OPEN) and (asked.report is not None or asked.hello is not None):
        return (_mute(peer, asked),)
    found: tuple[Result | None, ...]
    if ways[0] is Way.UNKNOWN and ways[1] in (Way.UNKNOWN, Way.OPEN):
        found = _untold(peer, reached, asked)
    elif asked.report is not None and ways == (Way.DEAD, Way.DEAD):
        found = (_both_dead(peer, reached, asked, asked.report),)
    else:
        found = (_forward(peer, reached, asked, ways[0]), _reverse(peer, reached, asked, ways[1]))
    return tuple(result for result in (*found, _explained(peer, reached, asked)) if result is not None)


def _explained(peer: Peer, reached: Reached, asked: AskResult) -> Result | None:
    """The cause that a router reported, or that the peer's kernel knows.

    Where echoes pass, the routes and the filter of the peer are not it; a policy rule here may still be.
    """
    if reached.outside is not None:
        return _leaking(peer, *reached.outside)
    cause = None if reached.passes else explain(asked, peer.target)
    if cause is None:
        return None
    make = warned if cause.is_warning else failed
    direction = Direction(cause.direction)
    return make(cause.code, peer.target, direction, cause.message, aspect=cause.aspect, remedies=cause.remedies)


def _leaking(peer: Peer, router: str, interface: str) -> Result:
    return failed(
        codes.OVERLAY_ROUTE_LEAK,
        peer.target,
        Direction.FORWARD,
        f"{router}, which is not on the overlay, answered by {interface} what this node sent to {peer.address}: "
        "that leaves outside the overlay",
        aspect="route",
        remedies=look(f"ip rule; ip route get {peer.address} ipproto udp dport {peer.responder_port}"),
    )


def _both_open(peer: Peer, answered: int, session: StampStats, *, late: bool = False) -> tuple[Result, ...]:
    name = peer.target
    fact = say.answered_late(name, session.sent) if late else say.answered_of(name, answered, session.sent)
    best = f", the quickest after {min(session.rtt_ms):.1f} ms" if session.rtt_ms else ""
    rtt_min_ms = round(min(session.rtt_ms), 3) if session.rtt_ms else None
    facts = AnswerFacts(sent=session.sent, answered=answered, rtt_min_ms=rtt_min_ms)
    attempts = 2 if late else 1
    return (
        passed(name, Direction.FORWARD, fact, facts=facts, attempts=attempts),
        passed(name, Direction.REVERSE, f"its answers arrive here{best}", facts=facts, attempts=attempts),
    )


def _other_key(peer: Peer, reached: Reached) -> Result:
    """The responder answers unsigned packets. What it sends back to signed ones shows more, if it sends anything."""
    rejected = reached.rejected
    fact = who_answers(peer.target, peer.responder_port, rejected) if rejected else say.other_key(peer.target)
    return inconclusive(
        codes.RUN_NEEDS_RESPONDER,
        peer.target,
        Direction.ROUND_TRIP,
        fact,
        aspect="key",
        remedies=reach.give_key(peer.target),
        station=SOCKET,
    )


def _not_a_responder(peer: Peer, reached: Reached, asked: AskResult) -> Result:
    """Datagrams come from the responder's place, so no firewall drops them; but none is an answer."""
    rejected, keyed = reached.rejected, reached.session.authenticated
    return inconclusive(
        codes.RUN_NEEDS_RESPONDER,
        peer.target,
        Direction.ROUND_TRIP,
        f"{who_answers(peer.target, peer.responder_port, rejected)}, so the directions cannot be measured",
        remedies=replace_answerer(peer.target, peer.address, peer.responder_port, rejected, keyed=keyed),
        station=SOCKET,
        facts=AnswerFacts(sent=reached.session.sent + asked.sent, answered=0, rejected=sum(rejected.values())),
        evidence=(Evidence("rejected", "datagrams that answer nothing, by reason", rejected), _evidence(asked)),
    )


def _from_elsewhere(peer: Peer, asked: AskResult) -> Result:
    places = ", ".join(sorted(asked.strays))
    return inconclusive(
        codes.RUN_NEEDS_RESPONDER,
        peer.target,
        Direction.ROUND_TRIP,
        f"what answers packets for UDP port {peer.responder_port} of {peer.address} answers from {places}: something "
        "translates addresses between the two, or the responder does not send from where it is asked",
        remedies=look(
            f"nft list ruleset | grep -nE 'masquerade|snat|dnat|redirect'   # here and on {peer.target}", root=True
        ),
        measurements={"sent": asked.sent, "answered_from_elsewhere": sum(asked.strays.values())},
        evidence=(_evidence(asked),),
    )


def _overloaded(peer: Peer, asked: AskResult, overload: str) -> Result:
    return inconclusive(
        codes.RUN_OVERLOADED,
        peer.target,
        Direction.ROUND_TRIP,
        f"{overload}, as it reports, so what is missing says nothing about the path",
        remedies=reach.who_floods(peer.target, peer.responder_port),
        station=SOCKET,
        evidence=(_evidence(asked),),
    )


def _no_responder(peer: Peer, reached: Reached, fact: str) -> Result:
    return inconclusive(
        codes.RUN_NEEDS_RESPONDER,
        peer.target,
        Direction.ROUND_TRIP,
        f"packets get to {peer.target} and back, but {fact}: without a responder there the directions cannot be "
        "measured apart",
        remedies=(*reached.levers(peer), *_start(peer, reached)),
        station=SOCKET if reached.port_unreachable else None,
    )


def _start(peer: Peer, reached: Reached) -> Remedies:
    """A responder for this node at the peer; a silent port may have one already, behind a filter."""
    local = (reached.asked.local if reached.asked else None) or reached.session.local
    place, keyed = (peer.target, peer.address, peer.responder_port), reached.session.authenticated
    return reach.start_or_key(*place, asker=local[0] if local else None, keyed=keyed, certain=reached.port_unreachable)


def _nothing_left(peer: Peer, errors: Mapping[str, int]) -> Result:
    names = ", ".join(sorted(errors))
    if "EPERM" in errors:
        return failed(
            codes.HOST_FIREWALL_DROP,
            peer.target,
            Direction.FORWARD,
            f"this node's own firewall refuses packets to {peer.address} port {peer.responder_port} ({names})",
            remedies=look("nft list ruleset | grep -nE 'hook output|drop|reject'   # here", root=True),
        )
    return failed(
        codes.REACH_UNREACHABLE,
        peer.target,
        Direction.ROUND_TRIP,
        f"no packet for {peer.address} can leave this node ({names})",
        remedies=look(f"ip route get {peer.address}"),
    )


def _mute(peer: Peer, asked: AskResult) -> Result:
    """Packets get through both ways and yet no test packet is answered: the responder does not serve this node."""
    return inconclusive(
        codes.RUN_NEEDS_RESPONDER,
        peer.target,
        Direction.ROUND_TRIP,
        say.unanswered(peer.target, asked),
        remedies=reach.serve(peer.target, asked.local[0] if asked.local else "this node"),
        station=SOCKET,
        evidence=(_evidence(asked),),
    )


def _both_dead(peer: Peer, reached: Reached, asked: AskResult, report: PeerReport) -> Result:
    code = codes.UDP_BLOCKED if reached.passes else codes.REACH_UNREACHABLE
    return failed(
        code,
        peer.target,
        Direction.ROUND_TRIP,
        f"UDP passes neither way: {peer.target} got none of {asked.sent} packets, and "
        f"{say.not_here(report)}{reached.also}",
        remedies=(*reached.levers(peer), *reach.look_at_filters(f"here and on {peer.target}", here=True)),
        measurements=forward_counts(asked) | reverse_counts(asked),
        evidence=(_evidence(asked),),
    )


def _forward(peer: Peer, reached: Reached, asked: AskResult, way: Way) -> Result | None:
    if way is Way.UNKNOWN:
        return None
    measurements = forward_counts(asked)
    if way is Way.OPEN:
        return passed(peer.target, Direction.FORWARD, say.got(peer.target, asked), measurements=measurements)
    return failed(
        codes.UDP_BLOCKED if reached.passes else codes.REACH_NO_FORWARD,
        peer.target,
        Direction.FORWARD,
        f"{say.got_none(peer.target, asked)}{reached.also}",
        remedies=(*reached.levers(peer), *reach.look_at_filters(peer.target, "what drops this node's packets?")),
        measurements=measurements,
        evidence=(_evidence(asked),),
    )


def _reverse(peer: Peer, reached: Reached, asked: AskResult, way: Way) -> Result | None:
    report = asked.report
    if way is Way.DROPPED_HERE:
        return _dropped_here(peer, asked)
    if way is Way.UNKNOWN:
        return None
    if report is None or way is Way.OPEN:
        return passed(
            peer.target, Direction.REVERSE, say.arrived(peer.target, asked), measurements=reverse_counts(asked)
        )
    unwatched = f" (whether they came as far as the interface was not watched: {asked.unwatched})"
    return failed(
        codes.UDP_BLOCKED if reached.passes else codes.REACH_NO_REVERSE,
        peer.target,
        Direction.REVERSE,
        f"{peer.target} gets this node's packets, but {say.not_here(report)}"
        f"{unwatched if asked.unwatched and report.sent else ''}{reached.also}",
        remedies=reach.look_at_filters(peer.target, "what drops its answers?"),
        measurements=reverse_counts(asked),
        evidence=(_evidence(asked),),
    )


def _dropped_here(peer: Peer, asked: AskResult) -> Result:
    return failed(
        codes.HOST_FIREWALL_DROP,
        peer.target,
        Direction.REVERSE,
        f"{asked.on_interface} packets of {peer.target} came in on the overlay interface and none reached the socket: "
        "this node drops them",
        remedies=look("nft list ruleset | grep -nE 'hook (prerouting|input)|drop|reject'   # here", root=True),
        measurements={"received_on_interface": asked.on_interface, "received": 0},
        evidence=(_evidence(asked),),
    )


def _untold(peer: Peer, reached: Reached, asked: AskResult) -> tuple[Result, ...]:
    """Nothing came back, and nothing shows which direction is at fault: never guess."""
    if reached.passes:
        return (_no_responder(peer, reached, reached.silence(peer.responder_port)),)
    early = "its hellos arrive here, and none came late enough to count these packets" if asked.hello else ""
    sent, why = reached.session.sent + asked.sent, (asked.detail, asked.unheard, early)
    dead = failed(
        codes.REACH_UNREACHABLE,
        peer.target,
        Direction.ROUND_TRIP,
        f"{peer.address} answered none of {sent} UDP packets{say.echo_text(reached.echo)}; "
        f"which direction is dead cannot be seen from here: {'; '.join(filter(None, why))}",
        remedies=reach.look_from(peer.target),
        facts=AnswerFacts(sent=sent, answered=0),
        evidence=(_evidence(asked),),
    )
    return tuple(result for result in (dead, _missing_role(peer, asked)) if result is not None)


def _missing_role(peer: Peer, asked: AskResult) -> Result | None:
    """The peer was not asked because a role is missing: name the role that would show the direction."""
    if asked.unavailable != "role":
        return None
    line = "Name the submitter's token under control.submitter_token_file, here and at the peer's responder."
    return inconclusive(
        codes.RUN_NEEDS_CREDENTIALS,
        peer.target,
        Direction.ROUND_TRIP,
        f"which direction is dead stays open: {asked.detail}",
        aspect="direction",
        remedies=by_hand(line),
    )


def _evidence(asked: AskResult) -> Evidence:
    return Evidence("counts", "what left and what arrived at both ends", counts(asked))
