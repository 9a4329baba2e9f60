"""Follows one burst to one peer: every observer's word before, during and after it.

What only reads comes first; the burst is ten packets at most. A tunnel without a session is given the time that its
product takes to try again, unless something has shown before that the packets die on this node.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from preflight.codes import OVERLAY_ALLOWED_IPS
from preflight.model.event import Listener, telling
from preflight.model.facts import DeathFacts
from preflight.model.flow import Flow
from preflight.model.kernel import NeedsPlatform
from preflight.model.overlay import OverlayState
from preflight.model.path import StampStats
from preflight.model.peer import Peer
from preflight.model.udp_port import UdpPort
from preflight.net.icmp.traceroute import trace
from preflight.net.way import waiting as waits
from preflight.net.way.ahead import Ahead
from preflight.net.way.configured_end import with_configured_end
from preflight.net.way.echo import ask_again
from preflight.net.way.endpoints import Watch
from preflight.net.way.events import tell_observations
from preflight.net.way.far_end import far_end
from preflight.net.way.firewall import Firewall
from preflight.net.way.instead import with_living
from preflight.net.way.kernel_questions import KernelQuestions
from preflight.net.way.openvpn_remote import openvpn_remote
from preflight.net.way.own_rules import OwnRules
from preflight.net.way.routes import KernelState
from preflight.net.way.rule_trace import RuleTrace
from preflight.net.way.tap import Tap, wanted_of
from preflight.net.way.trace import OuterTrace
from preflight.net.way.udp_ports import udp_ports
from preflight.proto.way.astray import with_the_peers_fix
from preflight.proto.way.behind import MOST_HOPS, may_be_behind
from preflight.proto.way.configured_end import is_moved
from preflight.proto.way.flows import inner_flow, openvpn_flow, outer_answer, outer_flow, outer_seen
from preflight.proto.way.followed import with_origin
from preflight.proto.way.kernel_word import Watched, questions, uplink_of
from preflight.proto.way.netfilter.walk import mark_of_sent
from preflight.proto.way.observation import Observation, Passing
from preflight.proto.way.observers import Moment, Record, observe
from preflight.proto.way.patience import (
    AGAIN_S,
    EAGER_S,
    Places,
    has_called,
    left_s,
    may_ask,
    next_look_s,
    unanswered_for,
)
from preflight.proto.way.peer_word import peer_word
from preflight.proto.way.tunnel_side import tunnel_side
from preflight.proto.way.tunnel_view import carrier_of, tunnel_ports
from preflight.proto.way.verdict import Verdict, conclude

if TYPE_CHECKING:
    from preflight.net.stamp.path import PathProbes

ReadOverlay = Callable[[], Awaitable[OverlayState | None]]

COUNT, LARGE_COUNT = 6, 4
INTERVAL_S: Final = 0.02
ANSWER_S: Final = 0.5
"""How long an answer may take, once a packet was seen to leave."""
LOOK_S: Final = 0.1
_HEADERS: Final = {False: 28, True: 48}


@dataclass(frozen=True, slots=True)
class _Known:
    """What other checks have found of a peer and of the others, as `PacketWays.follow` takes it."""

    large: bool
    passes: Passing | None
    others: tuple[str, ...]
    heard: tuple[str, ...]


class PacketWays:
    """The ways of packets to peers, both directions.

    path: sends the bursts, and knows what the peers have reported. overlay: reads the overlay's state again; begun:
    what it was when it was first read. watch: what was watched before. refused: whether an address has refused an
    echo. trace_rules: have the kernel trace the bursts through its rules, which adds a table while they pass.
    """

    def __init__(
        self,
        path: "PathProbes",
        overlay: ReadOverlay,
        listener: Listener | None = None,
        watch: Watch | None = None,
        *,
        begun: Callable[[], OverlayState | None] = lambda: None,
        refused: Callable[[str], bool] = lambda address: False,
        trace_rules: bool = False,
    ) -> None:
        self._path, self._overlay, self._begun, self._trace_rules = path, overlay, begun, trace_rules
        self._kernel, self._firewall = KernelState(listener), Firewall(listener)
        self.rules = OwnRules(self._firewall)
        self._listener, self._refused = listener, refused
        self._questions = KernelQuestions(listener)
        self._one_burst, self._refusals = asyncio.Lock(), waits.Refusals(path)
        self.ahead = Ahead(self._observed)
        self._watch = watch or Watch(overlay)
        self.dying_here: set[str] = set()
        """Addresses of peers whose packets, or whose answers, were found to die on this node."""

    async def aclose(self) -> None:
        """End what nobody has taken."""
        await self.ahead.aclose()

    async def follow(
        self,
        peer: Peer,
        *,
        large: bool = False,
        passes: Passing | None = None,
        others: Iterable[str] = (),
        heard: Iterable[str] = (),
    ) -> tuple[Observation, ...]:
        """Everything that is observed of both ways to a peer.

        large: only large packets are in trouble. passes: what the peer answers although its responder is silent.
        others: overlay addresses of others, which are not this peer's; heard: those that have answered. What the
        network does is data. Takes up to seven seconds where a tunnel has no session, and eleven where one does not
        answer, from where `ahead` began to follow the peer.
        """
        if large or passes:
            self.ahead.drop(peer)
        elif (observed := await self.ahead.take(peer)) is not None:
            return observed
        return await self._observed(peer, large=large, passes=passes, others=others, heard=heard)

    async def _observed(
        self,
        peer: Peer,
        *,
        large: bool = False,
        passes: Passing | None = None,
        others: Iterable[str] = (),
        heard: Iterable[str] = (),
    ) -> tuple[Observation, ...]:
        overlay = await self._overlay()
        if overlay is None or overlay.interface is None:
            return self._said(peer, passes)
        try:
            record = await self._record(peer, overlay, _Known(large, passes, tuple(others), tuple(heard)))
        except NeedsPlatform:
            return self._said(peer, passes)
        record = await with_living(record, self._path)
        found = with_the_peers_fix((*self._said(peer, passes), *observe(record)))
        found = with_origin(found, record.tunnel, peer.address, peer.target)
        tell_observations(self._listener, peer.target, found)
        if any(verdict.dies_here for verdict in conclude(peer.target, found, passes=passes)):
            self.dying_here.add(peer.address)
        return found

    def _said(self, peer: Peer, passes: Passing | None) -> tuple[Observation, ...]:
        """What the peer has reported in this run."""
        asked = self._path.asked(peer)
        return peer_word(asked, peer.target, passes=passes) if asked is not None else ()

    async def _record(self, peer: Peer, overlay: OverlayState, found: _Known) -> Record:
        async with AsyncExitStack() as stack:
            # Counters belong to the whole node, so one burst at a time; the waiting is in parallel.
            async with self._one_burst:
                tap, sent = await self._send(peer, overlay, found, stack)
                first = await self._read(tap, sent, overlay)
            told = conclude(peer.target, observe(first)) if not sent.stats.answered else ()
            # Who refuses where the tunnel's file does not lead may say more than the file does.
            verdicts = tuple(each for each in told if not is_moved(each.facts))
            here = any(verdict.station is not None and verdict.station.host == "sender" for verdict in verdicts)
            if sent.stats.answered:
                return first
            if here:
                return await self._asked(tap, await self._told_whose(peer, first, verdicts))
            to = waits.endpoints_of(sent) if sent.carrier == "wireguard" else frozenset()
            # The peer's own host says that a port is closed: what the tunnel sends arrives, and nobody refuses it.
            known = sent.stats.port_unreachable or any(verdict.station is not None for verdict in verdicts)
            waiting = self._wait(tap, sent, to, known=known)
            asks = (sent.asked is None and not sent.stats.port_unreachable) or waits.shows_its_end(sent)
            if asks:
                # Where the tunnel never came up no check has asked; the control plane's mailbox may answer anyway.
                await asyncio.gather(waiting, self._path.ask(peer, overlay.tunnel_for(peer.address)))
                waited = True
            else:
                waited = await waiting
            last = await self._read(tap, sent, overlay) if waited else first
            last = replace(waits.with_rules_of(last, first), asked=self._path.asked(peer), asked_meanwhile=asks)
            if await waits.confirmed_or_late(tap, last, conclude(peer.target, observe(last))):
                last = waits.with_rules_of(await self._read(tap, last, overlay), first)
            return await self._traced(tap, await self._asked(tap, await self._traced_inside(last)))

    async def _traced_inside(self, record: Record) -> Record:
        """With the machines that hand on what is for the peer, where another peer may have to do that."""
        known = any(verdict.station is not None for verdict in conclude(record.peer.target, observe(record)))
        if known or record.stats.answered or record.pings or not may_be_behind(record.tunnel, record.peer.address):
            return record
        tell = telling(self._listener, "icmp.traceroute", record.peer.address)
        return replace(record, hops=await trace(record.peer.address, max_hops=MOST_HOPS, tell=tell))

    async def _traced(self, tap: Tap, record: Record) -> Record:
        """With traces to the endpoint where nothing else has shown the place; last, for they refresh mappings.

        Who refuses them refuses the tunnel's packets too, whose errors another peer's may have used up.
        """
        outer = record.watched.outer
        known = any(verdict.station is not None for verdict in conclude(record.peer.target, observe(record)))
        if known or record.pings or record.tapped.blind is not None:
            return record
        if outer is None or not outer.source or record.tunnel.listen_port is None:
            return record
        try:
            traces = await OuterTrace(self._listener).follow(outer)
        except OSError:
            return record
        errors = tuple(each for each in tap.taken().packets if each.error is not None)
        packets = (*(each for each in record.tapped.packets if each.error is None), *errors)
        return replace(record, traces=traces, tapped=replace(record.tapped, packets=packets))

    async def _told_whose(self, peer: Peer, record: Record, verdicts: Sequence[Verdict]) -> Record:
        """With the peer's word where nobody here knows which of the tunnel's peers it is: it says its key."""
        nobody = any(each.code is OVERLAY_ALLOWED_IPS and each.facts == DeathFacts() for each in verdicts)
        if not nobody or record.asked is not None:
            return record
        await self._path.ask(peer, record.tunnel)
        return replace(record, asked=self._path.asked(peer))

    async def _asked(self, tap: Tap, record: Record) -> Record:
        """With what this node's links answer; it comes last, for it could refresh what the burst was to show."""
        answers = await self._questions.ask(record.after.kernel, record.watched)
        return replace(waits.with_answers_of(record, tap.taken().packets), answers=answers)

    async def _send(
        self, peer: Peer, overlay: OverlayState, known: _Known, stack: AsyncExitStack
    ) -> tuple[Tap, Record]:
        """Read, open the tap, and send the burst: a record without what comes after it."""
        tunnel, ports = overlay.tunnel_for(peer.address), udp_ports()
        watched = await self._watched(peer, tunnel, ports)
        before = await self._moment(overlay, watched)
        link = before.kernel.link(tunnel.interface)
        carrier = carrier_of(tunnel, link.kind if link else None, ports)
        if carrier == "openvpn" and watched.outer is None and (remote := openvpn_remote()) is not None:
            outer, again = await self._chosen(openvpn_flow(remote, ports))
            watched = replace(watched, outer=outer, remarked=again if again != outer else None)
            before = await self._moment(overlay, watched)
        wanted = wanted_of(peer, tunnel, carrier, tunnel_ports(tunnel, carrier, ports))
        tap = await stack.enter_async_context(Tap(wanted, self._watch.errors))
        tracing = self._rules_traced(stack, (watched.flows[0], *((watched.outer,) if watched.outer else ())))
        stats = await self.burst(peer)
        sent = Record(
            peer=peer,
            watched=watched,
            before=before,
            after=before,
            stats=stats,
            large=await self._large(peer, tunnel) if known.large else None,
            echo=await ask_again(peer.address, refused=self._refused(peer.address)) if stats.port_unreachable else None,
            read_ns=0,
            tapped=tap.taken(),
            ports=ports,
            carrier=carrier,
            asked=self._path.asked(peer),
            uid=os.getuid(),
            first_sent_ns=self._path.begun_ns.get(peer.address, 0),
            begun=self._begun(),
            pings=known.passes,
            others=known.others,
            heard=known.heard,
            traced=tracing.dropped() if tracing is not None else (),
        )
        return tap, await with_configured_end(sent, self._listener)

    async def burst(self, peer: Peer) -> StampStats:
        """The packets that are followed."""
        stats = await self._path.stamp(peer, count=COUNT, interval_s=INTERVAL_S, timeout_s=ANSWER_S)
        return self._path.refusals.completed(peer, stats)

    def _rules_traced(self, stack: AsyncExitStack, flows: Sequence[Flow]) -> RuleTrace | None:
        """A trace of the rules, if it was asked for and this process may."""
        if not self._trace_rules:
            return None
        try:
            return stack.enter_context(RuleTrace(flows, self._listener))
        except OSError:
            return None

    async def _read(self, tap: Tap, sent: Record, overlay: OverlayState) -> Record:
        """The record with what there is to see now. What came just now had its time to be counted."""
        await asyncio.sleep(LOOK_S)
        state = await self._overlay() or overlay
        so_far = replace(sent, tapped=tap.taken(), read_ns=time.time_ns())
        seen = outer_seen(so_far.tapped, sent.peer.address, sent.carrier)
        # What an OpenVPN sends outranks what its configuration says.
        outer = (seen or sent.watched.outer) if sent.carrier == "openvpn" else (sent.watched.outer or seen)
        if outer is None and sent.carrier == "vxlan":
            tunnel, to = state.tunnel_for(sent.peer.address), sent.peer.address
            outer = await far_end(self._kernel, self._firewall, tunnel, to, sent.before)
        watched = replace(sent.watched, arrives_by=so_far.arrives_by, astray_by=so_far.astray_by, outer=outer)
        moment = await self._moment(state, watched)
        return replace(so_far, watched=watched, after=moment, ruled_ns=time.time_ns())

    async def _wait(self, tap: Tap, sent: Record, to: Places, *, known: bool) -> bool:
        """Wait until the tunnel has sent the peer something and an answer had its time; whether it had to wait.

        to: where the peer is; empty: everything that the tunnel sends may be for it. known: where packets die.
        """
        peer, heard, waited = sent.peer, has_called(sent.tunnel.peer_for(sent.peer.address)), False
        began, most_s = time.monotonic(), AGAIN_S.get(sent.carrier or "", ANSWER_S)
        end = began + most_s
        while time.monotonic() < end and (tapped := tap.taken()).blind is None:
            with_peer = [packet for packet in tapped.packets if not to or packet.remote in to]
            rest_s = unanswered_for(with_peer, time.time_ns())
            if rest_s is not None and rest_s <= 0:
                return (not known and await self._refusals.asked_for(peer, tap, to)) or waited
            waited = True
            longer_s = time.monotonic() - began + left_s(with_peer, time.time_ns(), known=known)
            end = max(end, began + min(longer_s, 2 * most_s))
            eager = rest_s is None and may_ask(with_peer, time.time_ns(), heard=heard)
            if eager:
                # Only a packet that is due starts WireGuard's next handshake, once the answer to a call is 5 s old.
                await self._path.stamp(peer, count=1, interval_s=INTERVAL_S, timeout_s=INTERVAL_S)
            due_s = EAGER_S if eager else next_look_s(with_peer, time.time_ns(), LOOK_S)
            await asyncio.sleep(due_s if rest_s is None else min(rest_s, LOOK_S))
        return waited

    async def _large(self, peer: Peer, tunnel: OverlayState) -> StampStats:
        """Packets as large as the tunnel's MTU."""
        size = (tunnel.mtu or 1280) - _HEADERS[":" in peer.address]
        return await self._path.stamp(
            peer, count=LARGE_COUNT, interval_s=INTERVAL_S, payload_bytes=size, timeout_s=ANSWER_S
        )

    async def _watched(self, peer: Peer, tunnel: OverlayState, ports: Sequence[UdpPort]) -> Watched:
        """The flows, with the source that the kernel chooses for the tunnel's own packets.

        None of those where they leave in another namespace: this one's routes say nothing of them.
        """
        side = tunnel_side(peer, tunnel, ports)
        outer = None if side.elsewhere else outer_flow(tunnel, peer.address)
        inner = inner_flow(peer, os.getuid())
        # A connected socket asks twice: with the source that the first answer gave it, a rule may decide otherwise.
        chosen, remarked = await self._chosen(inner)
        flows = tuple(dict.fromkeys((inner, chosen, remarked)))
        if outer is None:
            return Watched(tunnel=side, flows=flows, sent=COUNT)
        outer, again = await self._chosen(outer)
        return Watched(tunnel=side, flows=flows, outer=outer, remarked=again if again != outer else None, sent=COUNT)

    async def _chosen(self, flow: Flow) -> tuple[Flow, Flow]:
        """The flow with the source that the kernel chooses, and the same with the mark that a rule gives it then."""
        lookup = (await self._kernel.snapshot((flow,))).lookup(flow)
        if lookup is None or not lookup.source:
            return replace(flow, source=""), replace(flow, source="")
        chosen, rules = replace(flow, source=lookup.source), self._firewall.snapshot()
        leaving = replace(chosen, interface_out=lookup.interface)
        mark = mark_of_sent(rules.ruleset, leaving) if rules.unreadable is None else None
        return chosen, chosen if mark is None else replace(chosen, mark=mark)

    async def _moment(self, overlay: OverlayState, watched: Watched) -> Moment:
        first = await self._kernel.snapshot(*questions(watched))
        uplink = uplink_of(first, watched)
        kernel = first if uplink is None else await self._kernel.snapshot(*questions(watched, uplink))
        own = [str(interface.ip) for link in kernel.links for interface in link.addresses]
        # What comes in may have begun a separate flow, which is translated by itself.
        sent = watched.outer if watched.outer is not None and watched.outer.source else None
        outer = (sent, outer_answer(sent)) if sent is not None else ()
        return Moment(overlay=overlay, kernel=kernel, rules=self._firewall.snapshot((*watched.flows, *outer), own))
