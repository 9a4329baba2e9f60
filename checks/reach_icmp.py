"""Does the peer answer echoes inside the tunnel?"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from preflight.api import (
    Context,
    Direction,
    Peer,
    Remedies,
    Result,
    beside,
    check,
    codes,
    failed,
    for_each_peer,
    inconclusive,
    look,
    passed,
    warned,
)
from preflight.model.facts import EchoFacts
from preflight.model.icmp import PRIVILEGE, EchoStats
from preflight.model.path import StampStats
from preflight.proto.icmp.advice import allow_echoes
from preflight.proto.responder.reach import start_responder

if TYPE_CHECKING:
    from preflight.proto.way.observation import Death

FIRST = 4
MORE = 100  # enough to distinguish 1 % from chance
SLOW_EACH_S, SLOW_GAP_S = 0.02, 0.05
FULLY = 5
"""After this number of peers with many echoes a few have to do: what is lost to all of them has been measured."""
FEW = 20
ENOUGH = 50
CONCURRENT_PEERS = 128
"""All echoes share one socket and one pace; only the UDP sessions with silent peers are limited."""
SHORTEST_GAP_S = FIRST / 1000
CONNECTED_S = 1.2
"""A connection that is not answered the first time is tried again after a second."""
CROWDED_MS = 50.0
"""By how much the round trips of one peer differ where echoes waited behind others."""


@dataclass(frozen=True, slots=True)
class Reached:
    """Echoes and, if some are missing, a few STAMP packets to the peer's responder.

    connected: where neither came back, its host answers TCP.
    """

    echo: EchoStats
    udp: StampStats | None = None
    connected: bool = False

    @property
    def missing(self) -> int:
        """Echoes without an answer."""
        return self.echo.sent - self.echo.received

    @property
    def settled(self) -> bool:
        """Whether nothing is missing, no echo may be sent, or what is missing is for `udp.quality` to measure."""
        return self.udp is None or (self.echo.received > 0 and self.udp_alive)

    @property
    def only_udp(self) -> bool:
        """Whether echoes are sent and not answered, by a peer that answers UDP."""
        return self.echo.sent > 0 and not self.echo.received and self.udp_alive

    @property
    def udp_alive(self) -> bool:
        """Whether the peer answered by UDP, even if only with "port unreachable"."""
        return self.udp is not None and (self.udp.answered > 0 or self.udp.port_unreachable)


@check(
    "reach.icmp",
    title="The peer answers echoes through the tunnel",
    subject="peer",
    needs=("overlay.session", "overlay.route"),
    timeout=20,
    timeout_per_peer=0.15,
    privileges=("net_raw",),
    codes=(codes.REACH_ICMP_FILTERED, codes.REACH_UNREACHABLE, codes.REACH_LOSS),
)
async def reach_icmp(ctx: Context) -> AsyncGenerator[Result, None]:
    """Sends a few echoes to all peers at once. If some get no answer, UDP packets show whether it is a filter or a dead
    path, and more echoes measure the loss.

    Where nothing comes back, a TCP connection to the responder's port shows whether the host answers at all, even if
    only with a reset. An echo goes both ways, so its loss has no direction: where a responder answers, `udp.quality`
    gives it.
    """
    limits, found = ctx.settings.thresholds, dict[Peer, Reached]()
    spaced = ctx.net.starts(SHORTEST_GAP_S).spaced(partial(measure, ctx), lambda each: (each.echo.rtt_ms, each.missing))
    silent, partly, crowded = list[Peer](), list[Peer](), False
    async for peer, reached in for_each_peer(ctx.peers, spaced, at_once=CONCURRENT_PEERS):
        crowded |= waited(reached)
        found[peer] = reached
        if reached.settled:
            yield judge(peer, reached, limits.loss_percent, limits.loss_fail_percent)
        else:
            (partly if reached.echo.received else silent).append(peer)
    doubtful = [peer for peer in silent if crowded or _was_heard(ctx, peer, found[peer])]
    async for peer, reached in _again(ctx, partly, doubtful):
        found[peer] = reached
    asked = lambda peer: _with_tcp(ctx, peer, found[peer])  # noqa: E731
    async for peer, reached in for_each_peer((*partly, *silent), asked, at_once=CONCURRENT_PEERS):
        rule = ctx.net.ways.rules.echoes_stopped(peer, ctx.tunnel(peer.address)) if reached.only_udp else None
        yield judge(peer, reached, limits.loss_percent, limits.loss_fail_percent, rule)


def _was_heard(ctx: Context, peer: Peer, reached: Reached) -> bool:
    """Whether another check has heard of who seems silent here: what limits a rate drops what comes with other packets.

    An echo of it was answered, or its responder has answered in this run and nothing comes back now; or some UDP was
    lost as well, as where the first packets of all checks do not fit into a short queue.
    """
    if ctx.net.icmp.has_answered(peer.address):
        return True
    first = ctx.net.path.first(peer)
    if not reached.udp_alive:
        return first is not None
    return any(each is not None and each.answered and each.lost for each in (reached.udp, first))


async def _with_tcp(ctx: Context, peer: Peer, reached: Reached) -> Reached:
    """With a word of the peer's TCP, if nothing else came back: a filter that takes the rest is not a dead path."""
    if reached.echo.received or reached.udp_alive or reached.echo.error == PRIVILEGE or not reached.echo.sent:
        return reached
    return replace(reached, connected=await ctx.net.tcp.answered(peer.address, peer.responder_port, CONNECTED_S))


async def _again(
    ctx: Context, partly: Sequence[Peer], silent: Sequence[Peer]
) -> AsyncGenerator[tuple[Peer, Reached], None]:
    """Once more with no other work: what was lost may have been lost behind packets of this node."""
    if not partly and not silent:
        return
    async with ctx.net.turns.alone_instead():
        async for peer, reached in for_each_peer(
            silent, partial(measure_slowly, ctx, FIRST), at_once=CONCURRENT_PEERS, gap_s=SLOW_GAP_S
        ):
            yield peer, reached
        for number, peer in enumerate(partly):
            yield peer, await measure_slowly(ctx, MORE if number < FULLY else FEW, peer)


async def measure(ctx: Context, peer: Peer) -> Reached:
    """Quick if all is well; about two seconds if nothing comes back."""
    echo, udp = await beside(
        ctx.net.icmp.echo(peer.address, count=FIRST, interval_s=0.02, timeout_s=1.0),
        partial(ctx.net.path.stamp, peer, count=3, interval_s=0.02),
        enough=lambda echo: echo.error == PRIVILEGE or (echo.sent > 0 and echo.received == echo.sent),
    )
    return Reached(echo, udp)


def waited(reached: Reached) -> bool:
    """Whether echoes waited behind other packets, or only some were lost, so that those of other peers may be too."""
    echo = reached.echo
    return bool(echo.rtt_ms) and (echo.received < echo.sent or max(echo.rtt_ms) - min(echo.rtt_ms) >= CROWDED_MS)


async def measure_slowly(ctx: Context, count: int, peer: Peer) -> Reached:
    """A few packets by UDP, then echoes: many only if they decide.

    A responder measures loss better, and by direction (`udp.quality`).
    """
    udp = await ctx.net.path.stamp(peer, count=3, interval_s=SLOW_EACH_S)
    echoes = FIRST if Reached(EchoStats(0, 0), udp).udp_alive else count
    return Reached(await ctx.net.icmp.echo(peer.address, count=echoes, interval_s=SLOW_EACH_S, timeout_s=1.0), udp)


def judge(
    peer: Peer, reached: Reached, warn_percent: float, fail_percent: float, rule: "Death | None" = None
) -> Result:
    """Report loss only from enough echoes, and only if no responder can measure its direction.

    rule: of this node's own firewall, if it stops the echoes or their answers.
    """
    echo = reached.echo
    if echo.error == PRIVILEGE:
        return inconclusive(
            codes.RUN_NEEDS_PRIVILEGE,
            peer.target,
            Direction.ROUND_TRIP,
            f"this process may not send echoes to {peer.address}: raw sockets need CAP_NET_RAW",
            remedies=allow_echoes(),
        )
    if echo.received:
        return _answered(peer, reached, warn_percent, fail_percent)
    return _silent(peer, reached, rule)


def _answered(peer: Peer, reached: Reached, warn_percent: float, fail_percent: float) -> Result:
    echo, loss = reached.echo, reached.echo.loss_percent
    best = min(echo.rtt_ms)
    facts = EchoFacts(
        sent=echo.sent,
        received=echo.received,
        rtt_min_ms=round(best, 3),
        rtt_max_ms=round(max(echo.rtt_ms), 3),
    )
    message = f"{echo.received} of {echo.sent} echoes answered, round trip from {best:.1f} ms"
    if echo.sent < ENOUGH or loss < warn_percent or reached.udp_alive:
        return passed(peer.target, Direction.ROUND_TRIP, message, facts=facts)
    make = failed if loss >= fail_percent else warned
    return make(
        codes.REACH_LOSS,
        peer.target,
        Direction.ROUND_TRIP,
        f"{loss:.0f} % of {echo.sent} echoes were lost; no responder answers, so the direction is not known",
        remedies=start_responder(peer.target, peer.address, peer.responder_port),
        facts=facts,
    )


def _let_echoes_in(peer: Peer) -> Remedies:
    ignored = "net.ipv6.icmp.echo_ignore_all" if ":" in peer.address else "net.ipv4.icmp_echo_ignore_all"
    line = f"nft list ruleset; sysctl {ignored}   # on {peer.target}: accept ICMP echo on the overlay, and ignore none"
    return look(line, where="peer", host=peer.target, root=True)


def _let_echoes_out() -> Remedies:
    return look("nft list ruleset   # on this node: accept ICMP echo on the overlay interface", root=True)


def _filtered(peer: Peer, reached: Reached, rule: "Death | None") -> tuple[str, Remedies]:
    """What passes although no echo does, and what to do about the echoes."""
    if not reached.udp_alive:
        port = f"UDP port {peer.responder_port} if a responder runs there"
        return f"and UDP stays without an answer, but its host answers TCP: a filter drops the echoes, and {port}", (
            _let_echoes_in(peer)
        )
    if rule is not None:
        return f"but UDP comes back: {rule.message}", rule.remedies
    remedies = _let_echoes_in(peer) if reached.echo.sent else _let_echoes_out()
    return "but UDP comes back: only ICMP echo is filtered", remedies


def _silent(peer: Peer, reached: Reached, rule: "Death | None" = None) -> Result:
    echo, udp = reached.echo, reached.udp
    facts = EchoFacts(sent=echo.sent, received=0, udp_answered=udp.answered if udp else 0)
    facts = replace(facts, tcp_answered=True) if reached.connected else facts
    said = f" ({echo.error})" if echo.error else ""
    none = f"{peer.address} answered none of {echo.sent} echoes{said}" if echo.sent else f"no echo left this node{said}"
    if reached.udp_alive or reached.connected:
        words, remedies = _filtered(peer, reached, rule)
        message = f"{none}, {words}"
        return warned(
            codes.REACH_ICMP_FILTERED, peer.target, Direction.ROUND_TRIP, message, remedies=remedies, facts=facts
        )
    if udp is not None:
        none += f" and none of {udp.sent} UDP packets came back" if udp.sent else " and no UDP packet left this node"
    return failed(
        codes.REACH_UNREACHABLE,
        peer.target,
        Direction.ROUND_TRIP,
        none,
        remedies=look(f"ping {peer.address}   # from another member of the overlay: does it answer there?"),
        facts=facts,
    )
