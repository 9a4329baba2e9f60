"""Do packets get to the peer, and do the peer's get here?"""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from preflight.api import (
    Context,
    Direction,
    Evidence,
    Peer,
    Result,
    check,
    codes,
    failed,
    inconclusive,
    passed,
)
from preflight.model.icmp import EchoStats
from preflight.model.path import AskResult, PeerReport, StampStats

COUNT = 10
INTERVAL_S = 0.01
CONCURRENT_PEERS = 32


@dataclass(frozen=True, slots=True)
class Reached:
    """A short STAMP session; where it stayed silent, what asking the peer and an echo told."""

    session: StampStats
    asked: AskResult | None = None
    echo: EchoStats | None = None

    @property
    def answered(self) -> int:
        """Answers to STAMP packets, the late ones too."""
        return self.session.answered + (self.asked.answered if self.asked else 0)

    @property
    def port_unreachable(self) -> bool:
        """Whether the peer's host itself says that no responder listens: both directions carry packets then."""
        return self.session.port_unreachable or (self.asked is not None and self.asked.port_unreachable)

    @property
    def echoed(self) -> bool:
        """Whether the peer answered an echo."""
        return self.echo is not None and self.echo.received > 0


@check(
    "reach.udp",
    title="Packets reach the peer, and the peer's reach this node",
    subject="peer",
    needs=("overlay.session", "overlay.route"),
    measures=True,
    timeout=30,
    codes=(codes.REACH_NO_FORWARD, codes.REACH_NO_REVERSE, codes.REACH_UNREACHABLE, codes.HOST_FIREWALL_DROP),
)
async def reach_udp(ctx: Context) -> AsyncGenerator[Result, None]:
    """Sends a few STAMP packets to the peer's responder.

    Where none is answered the answer must come another way: the peer tells by the control plane's mailbox what it got,
    and probes back; answers that arrive on the tunnel interface and not at the socket were dropped here.
    """
    gate = asyncio.Semaphore(CONCURRENT_PEERS)

    async def bounded(peer: Peer) -> tuple[Peer, Reached]:
        async with gate:
            return peer, await measure(ctx, peer)

    for done in asyncio.as_completed([bounded(peer) for peer in ctx.peers]):
        peer, reached = await done
        for result in judge(peer, reached):
            yield result


async def measure(ctx: Context, peer: Peer) -> Reached:
    """A tenth of a second where all is well, some seconds where nothing comes back."""
    session = await ctx.net.path.stamp(peer, count=COUNT, interval_s=INTERVAL_S)
    if session.answered or session.port_unreachable:
        return Reached(session)
    interface = ctx.overlay.interface if ctx.overlay else None
    asked, echo = await asyncio.gather(
        ctx.net.path.ask(peer, interface=interface),
        ctx.net.icmp.echo(peer.address, count=3, interval_s=0.1, timeout_s=1.0),
    )
    return Reached(session, asked, echo)


def judge(peer: Peer, reached: Reached) -> tuple[Result, ...]:
    """One result per direction where the directions can be told apart, else one for both."""
    if reached.answered:
        return _answered(peer, reached)
    if reached.port_unreachable:
        return (_no_responder(peer, f"{peer.address} answers that nobody listens on UDP port {peer.responder_port}"),)
    asked = reached.asked
    if asked is None or (asked.sent == 0 and asked.send_errors):
        return (_nothing_left(peer, asked.send_errors if asked else reached.session.send_errors),)
    if asked.report is not None:
        return _reported(peer, reached, asked, asked.report)
    if asked.on_interface:
        return (_dropped_here(peer, asked),)
    if reached.echoed:
        return (
            _no_responder(peer, f"{peer.address} answers echoes, and no responder on UDP port {peer.responder_port}"),
        )
    return _silent(peer, reached, asked)


def _answered(peer: Peer, reached: Reached) -> tuple[Result, ...]:
    sent = reached.session.sent + (reached.asked.sent if reached.asked else 0)
    rtts = reached.session.rtt_ms
    best = f", round trip from {min(rtts):.1f} ms" if rtts else ""
    late = "" if reached.session.answered else " after the tunnel had come up"
    measurements = {
        "sent": sent,
        "answered": reached.answered,
        "rtt_min_ms": round(min(rtts), 3) if rtts else None,
    }
    signed = " authenticated" if reached.session.authenticated else ""
    return (
        passed(
            peer.target,
            Direction.FORWARD,
            f"packets arrive at {peer.target}: its responder answered {reached.answered} of {sent}{signed}{late}",
            measurements=measurements,
        ),
        passed(
            peer.target,
            Direction.REVERSE,
            f"packets of {peer.target} arrive here{best}",
            measurements=measurements,
        ),
    )


def _no_responder(peer: Peer, fact: str) -> Result:
    return inconclusive(
        codes.RUN_NEEDS_RESPONDER,
        peer.target,
        Direction.ROUND_TRIP,
        f"packets go both ways ({fact}), but without a responder there the directions cannot be measured apart",
        remedy=f"preflight responder --bind {_bind(peer)}   # on {peer.target}",
    )


def _bind(peer: Peer) -> str:
    address = f"[{peer.address}]" if ":" in peer.address else peer.address
    return address if peer.responder_port == 862 else f"{address}:{peer.responder_port}"


def _nothing_left(peer: Peer, errors: object) -> Result:
    names = ", ".join(errors) if isinstance(errors, dict) else str(errors)
    if "EPERM" in names:
        return failed(
            codes.HOST_FIREWALL_DROP,
            peer.target,
            Direction.FORWARD,
            f"this node's own firewall refuses packets to {peer.address} port {peer.responder_port} ({names})",
            remedy="nft list ruleset   # find the rule on output that drops them",
        )
    return failed(
        codes.REACH_UNREACHABLE,
        peer.target,
        Direction.ROUND_TRIP,
        f"no packet for {peer.address} can leave this node ({names})",
        remedy=f"ip route get {peer.address}",
    )


def _reported(peer: Peer, reached: Reached, asked: AskResult, report: PeerReport) -> tuple[Result, ...]:
    """Both ends have counted: each direction has its own verdict."""
    arrived_there = report.received + report.elsewhere + sum(report.refused.values())
    if report.refused and asked.probes_received:
        reasons = ", ".join(sorted(report.refused))
        return (_no_responder(peer, f"{peer.target} got {arrived_there} of {asked.sent} and refuses them: {reasons}"),)
    forward_ok, reverse_ok = arrived_there > 0, asked.probes_received > 0
    if not forward_ok and not reverse_ok and report.sent:
        return (
            failed(
                codes.REACH_UNREACHABLE,
                peer.target,
                Direction.ROUND_TRIP,
                f"nothing passes either way: {peer.target} got none of {asked.sent} packets, "
                f"and none of the {report.sent} that it sent arrived here",
                remedy=f"nft list ruleset   # here and on {peer.target}; then compare `wg show` on both",
                evidence=_evidence(reached, asked),
            ),
        )
    return (
        _forward(peer, reached, asked, arrived_there),
        _reverse(peer, reached, asked, report),
    )


def _forward(peer: Peer, reached: Reached, asked: AskResult, arrived_there: int) -> Result:
    measurements = {"sent": asked.sent, "received_by_peer": arrived_there}
    if arrived_there:
        return passed(
            peer.target,
            Direction.FORWARD,
            f"{peer.target} got {arrived_there} of {asked.sent} packets, as it tells by mailbox",
            measurements=measurements,
        )
    return failed(
        codes.REACH_NO_FORWARD,
        peer.target,
        Direction.FORWARD,
        f"{peer.target} got none of the {asked.sent} packets that this node sent, as it tells by mailbox, "
        f"while {asked.probes_received} of its packets arrived here",
        remedy=f"nft list ruleset   # on {peer.target}: what drops packets from this node on the overlay interface?",
        measurements=measurements,
        evidence=_evidence(reached, asked),
    )


def _reverse(peer: Peer, reached: Reached, asked: AskResult, report: PeerReport) -> Result:
    measurements = {
        "sent_by_peer": report.sent,
        "received": asked.probes_received,
        "received_on_interface": asked.on_interface,
    }
    if asked.probes_received:
        return passed(
            peer.target,
            Direction.REVERSE,
            f"{asked.probes_received} of {report.sent} packets that {peer.target} sent arrived here",
            measurements=measurements,
        )
    if asked.on_interface:
        return _dropped_here(peer, asked)
    refused = ", ".join(sorted(report.send_errors))
    sent = (
        f"{peer.target}'s own firewall refuses to send ({refused})"
        if not report.sent and refused
        else f"none of the {report.sent} packets that {peer.target} sent arrived here"
    )
    return failed(
        codes.REACH_NO_REVERSE,
        peer.target,
        Direction.REVERSE,
        f"{sent}, though it got what this node sent",
        remedy=f"nft list ruleset   # on {peer.target}: what drops its answers to this node on output?",
        measurements=measurements,
        evidence=_evidence(reached, asked),
    )


def _dropped_here(peer: Peer, asked: AskResult) -> Result:
    return failed(
        codes.HOST_FIREWALL_DROP,
        peer.target,
        Direction.REVERSE,
        f"{asked.on_interface} packets of {peer.target} came in on the overlay interface and none reached the socket: "
        "this node drops them",
        remedy="nft list ruleset   # here: what drops packets that come in on the overlay interface?",
        measurements={"received_on_interface": asked.on_interface, "received": 0},
    )


def _silent(peer: Peer, reached: Reached, asked: AskResult) -> tuple[Result, ...]:
    """Nothing came back, and nobody tells which direction is at fault: never guess."""
    echoes = reached.echo.sent if reached.echo else 0
    told = {
        "role": f"the peer could not be asked by mailbox: {asked.detail}",
        "silent": f"asked by mailbox it does not answer: {asked.detail}",
        "refused": f"the peer refuses to tell by mailbox: {asked.detail}",
    }.get(asked.unavailable or "", f"the peer could not be asked by mailbox: {asked.detail or 'no way'}")
    dead = failed(
        codes.REACH_UNREACHABLE,
        peer.target,
        Direction.ROUND_TRIP,
        f"{peer.address} answered none of {reached.session.sent + asked.sent} UDP packets and none of {echoes} echoes; "
        f"which direction is dead cannot be told from here: {told}",
        remedy=f"preflight run reach.udp   # on {peer.target}, towards this node: its view tells the direction",
        measurements={"sent": reached.session.sent + asked.sent, "answered": 0},
        evidence=_evidence(reached, asked),
    )
    if asked.unavailable != "role":
        return (dead,)
    missing = inconclusive(
        codes.RUN_NEEDS_CREDENTIALS,
        peer.target,
        Direction.ROUND_TRIP,
        f"the direction stays open: {asked.detail}",
        aspect="direction",
        remedy="Name the submitter's token under control.submitter_token_file, here and at the peer's responder.",
    )
    return dead, missing


def _evidence(reached: Reached, asked: AskResult) -> tuple[Evidence, ...]:
    report = asked.report
    counts = {
        "stamp_sent": reached.session.sent + asked.sent,
        "stamp_answered": reached.answered,
        "probes_received": asked.probes_received,
        "on_interface": asked.on_interface,
        "peer_received": report.received if report else None,
        "peer_sent": report.sent if report else None,
        "peer_send_errors": dict(report.send_errors) if report else None,
        "mailbox": asked.unavailable,
    }
    return (Evidence("counts", "what left and what arrived at both ends", counts),)
