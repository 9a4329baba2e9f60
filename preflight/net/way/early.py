"""What is seen of tunnels that have no session, from the moment at which this was noticed.

WireGuard tries again every five seconds only: what one check has waited for, the next one need not wait for again.
"""

import asyncio
from base64 import b64decode
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from preflight.model.overlay import OverlayState
from preflight.model.path import AskResult
from preflight.model.peer import Peer
from preflight.net.way.tap import Tap, Wanted
from preflight.proto.way.tunnel_view import fragments_between, tunnel_ports

if TYPE_CHECKING:
    from preflight.net.stamp.path import PathProbes

MOST_TAPS: Final = 6
"""A fault that many peers share is found at the first of them."""


@dataclass(slots=True)
class _Early:
    """before: the overlay when the tap was opened."""

    before: OverlayState
    tap: Tap
    asking: asyncio.Task[AskResult] | None = None


class EarlyTaps:
    """A tap and a question for each of the first peers without a session."""

    def __init__(self, path: "PathProbes") -> None:
        self._path = path
        self._by_address: dict[str, _Early] = {}

    async def open(self, peer: Peer, overlay: OverlayState) -> None:
        """Look at the packets of a WireGuard tunnel from now on. overlay: its state, read just before."""
        if (former := self._by_address.pop(peer.address, None)) is not None:  # of an earlier round of this run
            await _close(former)
        if len(self._by_address) >= MOST_TAPS:
            return
        tap = Tap(wanted(peer, overlay.tunnel_for(peer.address), "wireguard"))
        self._by_address[peer.address] = _Early(overlay, await tap.__aenter__())

    def ask(self, peer: Peer) -> None:
        """Ask a peer meanwhile, by the control plane's mailbox and by its hellos: neither needs the tunnel."""
        early = self._by_address.get(peer.address)
        if early is not None and early.asking is None:
            tunnel = early.before.tunnel_for(peer.address)
            early.asking = asyncio.create_task(self._path.ask(peer, tunnel))

    async def drop(self, peer: Peer) -> None:
        """The tunnel has a session: what was seen before says nothing about now."""
        early = self._by_address.pop(peer.address, None)
        if early is not None:
            await _close(early)
            self._path.forget(peer)

    async def take(self, peer: Peer, stack: AsyncExitStack) -> tuple[OverlayState, Tap] | None:
        """The overlay at the begin and the tap, which closes with the stack; None if nobody has looked at this peer.

        What the peer was asked has its answer then. A tap that is full already is of no use.
        """
        early = self._by_address.pop(peer.address, None)
        if early is None:
            return None
        stack.push_async_callback(_close, early)
        if early.asking is not None:
            await early.asking
        return None if early.tap.taken().cut else (early.before, early.tap)

    async def aclose(self) -> None:
        """Close what nobody has taken."""
        while self._by_address:
            await _close(self._by_address.popitem()[1])


async def _close(early: _Early) -> None:
    if early.asking is not None:
        early.asking.cancel()
        await asyncio.gather(early.asking, return_exceptions=True)
    await early.tap.__aexit__()


def wanted(peer: Peer, tunnel: OverlayState, carrier: str | None, ports: frozenset[int] | None = None) -> Wanted:
    """What a tap keeps of a tunnel and of a burst to a peer. carrier: whose packets carry the tunnel."""
    return Wanted(
        product=carrier or tunnel.product,
        interface=tunnel.interface,
        tunnel_ports=tunnel_ports(tunnel, carrier, ()) if ports is None else ports,
        probe_ports=frozenset((peer.responder_port,)),
        addresses=fragments_between(tunnel, peer.address),
        public_key=b64decode(tunnel.public_key) if tunnel.public_key and carrier == "wireguard" else None,
    )
