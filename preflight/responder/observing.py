"""The responder's observers: what this host's kernel, firewall and tunnel do with the packets of one asker.

They only read, before the probes that the asker wants and after them, and a tap looks meanwhile. Nothing is sent.
"""

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final, TypeVar

from preflight.model.kernel import NeedsPlatform
from preflight.model.network_state import NetworkState
from preflight.model.observed import PeerSight
from preflight.model.overlay import OverlayState
from preflight.model.peer import Peer
from preflight.net.kernel import Kernel
from preflight.net.way.firewall import Firewall
from preflight.net.way.routes import KernelState
from preflight.net.way.tap import Tap, Wanted
from preflight.net.way.udp_ports import udp_ports
from preflight.proto.responder.admission import TokenBucket
from preflight.proto.responder.mailbox_probe import ASKER_INTERVAL_S, ProbeRequest
from preflight.proto.way.kernel_word import observe_kernel, questions, uplink_of
from preflight.proto.way.netfilter.observe import observe_filters
from preflight.proto.way.netfilter.ruleset import FilterSnapshot
from preflight.proto.way.own_policy import observe_inbound
from preflight.proto.way.peer_telling import told
from preflight.proto.way.tunnel import observe_tunnel
from preflight.proto.way.tunnel_view import Burst, TunnelView, carrier_of, tunnel_ports
from preflight.responder.serve import ServedSocket, listener_towards
from preflight.responder.vantage import Vantage, is_own

REQUESTS_PER_S: Final = 0.5
REQUEST_BURST: Final = 3.0
"""Looking takes a second, and requests are served one after the other: who asks while many do gets the plain report."""
WINDOW_S: Final = 1.0
"""How long to look where the asker's packets do not come: it sends one every quarter of a second."""
ENOUGH: Final = 3
LOOK_AGAIN_S: Final = 0.05
Read = TypeVar("Read")
ReadOverlay = Callable[[Sequence[str], str | None], Awaitable[OverlayState | None]]
"""Reads this host's tunnels: of several the one that has these addresses, or the one of an interface."""


class Observers:
    """Looks at the packets of those who ask, a few at a time.

    read: this host's tunnels, for an asker's address. peers: of the settings.
    """

    def __init__(self, listeners: Sequence[ServedSocket], read: ReadOverlay, peers: Sequence[Peer], now: float) -> None:
        self._listeners = listeners
        self._peers = peers
        self._read = read
        self._rate = TokenBucket(REQUESTS_PER_S, REQUEST_BURST, now)
        self._kernel, self._firewall = KernelState(), Firewall()

    @asynccontextmanager
    async def look(self, request: ProbeRequest) -> AsyncGenerator["_Looking | None", None]:
        """From now on, at the packets between the asker's socket and the responder's; None if that cannot be."""
        begun = await _or_none(self._begin(request)) if self._rate.take(time.monotonic()) else None
        if begun is None:
            yield None
            return
        vantage, before, rules = begun
        async with Tap(await _wanted(vantage, before)) as tap:
            yield _Looking(self, vantage, before, rules, tap)

    async def _begin(self, request: ProbeRequest) -> tuple[Vantage, NetworkState, FilterSnapshot] | None:
        """The first readings; None where this host has nothing to do with what is asked."""
        vantage = await self._vantage(request)
        if vantage is None:
            return None
        rules = await asyncio.to_thread(self._firewall.snapshot)
        vantage = vantage.marked_by(rules)
        first = await self._snapshot(vantage)
        if (learned := vantage.learning_from(first)) != vantage:
            vantage, first = learned, await self._snapshot(learned)
        vantage = vantage.leaving_by(first)
        return vantage, await self._snapshot(vantage, uplink_of(first, vantage.watched)), rules

    async def _vantage(self, request: ProbeRequest) -> Vantage | None:
        if not is_own(request, self._peers):
            return None
        listener = listener_towards(self._listeners, request.address, request.port)
        overlay = await self._tunnels(request.address, request.to) if listener and request.to else None
        if listener is None or overlay is None:
            return None
        return Vantage.of(request, listener.port, overlay, os.getuid())

    async def _tunnels(self, asker: str, own: str) -> OverlayState | None:
        """This host's tunnels; a tunnel of a product that nobody can recognise is known by the responder's address."""
        overlay = await self._read([asker], None)
        if overlay is not None and overlay.has(own):
            return overlay
        links = await Kernel().links()
        holder = next((link.name for link in links if link.has(own) and not link.loopback), None)
        return await self._read([asker], holder) if holder is not None else None

    async def _snapshot(self, vantage: Vantage, uplink: str | None = None) -> NetworkState:
        return await self._kernel.snapshot(*questions(vantage.watched, uplink))

    async def sight(
        self, vantage: Vantage, before: NetworkState, rules: FilterSnapshot, tap: Tap, sent: int
    ) -> PeerSight:
        """Everything, with second readings. sent: probes that left for the asker meanwhile."""
        packets = tap.taken().packets
        vantage = vantage.seeing(packets)
        after = await self._snapshot(vantage, uplink_of(before, vantage.watched))
        overlay = await self._tunnels(vantage.address, vantage.own)
        if overlay is None:
            return PeerSight()
        seen = _came(tap, vantage)
        bursts = vantage.bursts(after, sent, seen, packets)
        flows = [burst.flow for burst in bursts]
        rules_after = await asyncio.to_thread(self._firewall.snapshot, flows, _addresses(after))
        bursts = vantage.begun_there(bursts, rules_after)
        view = _view(vantage, overlay, tap, after, sent)
        found = (
            *observe_kernel(before, after, replace(vantage.watched, sent=sent)),
            *observe_filters(rules, rules_after, bursts),
            *observe_tunnel(view),
            *observe_inbound(view),
        )
        return PeerSight(observed=tuple(told(found)), tunnel=vantage.end_of(view.after))


class _Looking:
    """One asker's packets, until `finish`."""

    def __init__(
        self, observers: Observers, vantage: Vantage, before: NetworkState, rules: FilterSnapshot, tap: Tap
    ) -> None:
        self._observers, self._vantage = observers, vantage
        self._before, self._rules, self._tap = before, rules, tap

    async def finish(self, sent: int) -> PeerSight:
        """What was seen, for the asker: once enough of its packets came, or none did for long enough."""
        for _ in range(round(WINDOW_S / LOOK_AGAIN_S)):
            if _came(self._tap, self._vantage) >= ENOUGH:
                break
            await asyncio.sleep(LOOK_AGAIN_S)  # the firewall sends no notice when it drops what came
        sight = self._observers.sight(self._vantage, self._before, self._rules, self._tap, sent)
        return await _or_none(sight) or PeerSight()


async def _or_none(reading: Awaitable[Read | None]) -> Read | None:
    """None where this host cannot be asked: a look that fails must not end the responder."""
    from preflight.netlink import NetlinkError

    try:
        return await reading
    except (NeedsPlatform, NetlinkError, OSError):
        return None


async def _wanted(vantage: Vantage, state: NetworkState) -> Wanted:
    tunnel, ports = vantage.tunnel, await asyncio.to_thread(udp_ports)
    link = state.link(vantage.device)
    carrier = carrier_of(tunnel, link.kind if link else None, ports)
    return Wanted(
        product=carrier or tunnel.product,
        interface=tunnel.interface,
        tunnel_ports=tunnel_ports(tunnel, carrier, ports),
        probe_ports=frozenset((vantage.port,)),
        addresses=frozenset(each.endpoint_address for each in tunnel.peers if each.endpoint_address),
    )


def _came(tap: Tap, vantage: Vantage) -> int:
    """How many of the asker's packets came out of the tunnel."""
    asked = (vantage.address, vantage.port)
    return sum(
        1
        for packet in tap.taken().packets
        if packet.device == vantage.device and not packet.outgoing and packet.remote == asked
    )


def _addresses(state: NetworkState) -> frozenset[str]:
    return frozenset(str(each.ip) for link in state.links for each in link.addresses)


def _view(vantage: Vantage, overlay: OverlayState, tap: Tap, after: NetworkState, sent: int) -> TunnelView:
    """The tunnel around the probes. What the asker sends meanwhile it sends at a known pace."""
    tunnel, link = overlay.at(vantage.device) or vantage.tunnel, after.link(vantage.device)
    return TunnelView(
        target=vantage.address,
        address=vantage.address,
        before=vantage.tunnel,
        after=tunnel,
        burst=Burst(flow=vantage.probes, sent=sent, answer_bytes=vantage.questions.length_bytes),
        tapped=tap.taken(),
        read_ns=time.time_ns(),
        uplink=uplink_of(after, vantage.watched),
        own=_addresses(after),
        carrier=carrier_of(tunnel, link.kind if link else None, ()),
        answers_sent=max(1, int(WINDOW_S / ASKER_INTERVAL_S) - 1),
    )
