"""Path-MTU searches over real sockets: thin shells around `preflight.proto.pmtu`."""

import asyncio
import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from preflight.model.event import Listener, Tell, telling
from preflight.model.peer import Peer
from preflight.model.pmtu import OneWay, PathMtu, SearchOutcome
from preflight.model.pmtu_hops import Vanishing
from preflight.net import udp
from preflight.net.drive import drive
from preflight.net.pmtu.echo import open_echo
from preflight.net.pmtu.host import HostPath, kernel_path_mtu
from preflight.proto.icmp.traceroute import FIRST_PORT
from preflight.proto.pmtu.budget import Budget
from preflight.proto.pmtu.echo import EchoSearch
from preflight.proto.pmtu.exchange import Exchange
from preflight.proto.pmtu.fast import PathMtuSearch
from preflight.proto.pmtu.hops import HopSearch
from preflight.proto.pmtu.strict import StrictPathMtuSearch
from preflight.proto.pmtu.underlay import RefusedSizes
from preflight.proto.pmtu.wire import LARGEST, TOKEN_BYTES

if TYPE_CHECKING:
    from preflight.settings.load import Settings


TIMES_ALONE = 2
"""How often a search that was silent, while the other direction's was answered, is tried by itself at most."""


class PathMtuProbes:
    """Searches towards the responders of this run's peers."""

    def __init__(self, settings: "Settings", *, listener: Listener | None = None) -> None:
        self._listener = listener
        self._key_for = settings.secrets.key_for
        self._search = StrictPathMtuSearch if settings.checks.pmtu == "strict" else PathMtuSearch
        self._budgets: dict[OneWay, Budget] = {"forward": Budget(), "reverse": Budget()}

    def at_once(self, most: int) -> int:
        """How many peers may be measured at one time on what this run knows of the link that they share."""
        return min(budget.at_once(most) for budget in self._budgets.values())

    @property
    def s_per_byte(self) -> float:
        """How long the link that the peers share takes for each byte, in the slower direction; 0 if it is not slow."""
        return max(budget.s_per_byte for budget in self._budgets.values())

    def _tell(self, source: str, subject: str) -> Tell:
        return telling(self._listener, f"pmtu.{source}", subject)

    async def search(
        self,
        peer: Peer,
        direction: OneWay,
        *,
        ceiling_bytes: int | None = None,
        tunnel_bytes: int | None = None,
        rtt_s: float | None = None,
    ) -> PathMtu:
        """Find the path MTU to or from a peer, exact to the byte.

        ceiling_bytes: largest IP packet to try; by default the MTU of the interface that leads to the peer, or of the
        tunnel (tunnel_bytes) behind it. In the reverse direction the MTU that the peer reports wins. rtt_s: the round
        trip of other packets, if known. A network that does not answer is a `SearchOutcome`.
        """
        tell = self._tell("strict" if self._search is StrictPathMtuSearch else "fast", f"{peer.target} {direction}")
        nothing = PathMtu(direction=direction, outcome=SearchOutcome.NO_ANSWER, ceiling_bytes=ceiling_bytes or 0)
        try:
            link = udp.open_towards(peer.address, peer.responder_port)
        except OSError:
            return nothing
        host = HostPath()
        with link:
            exchange = Exchange(
                direction,
                address=peer.address,
                ceiling=ceiling_bytes or largest(host.device_mtu(peer.address), tunnel_bytes),
                token=os.urandom(TOKEN_BYTES),
                key=self._key_for(peer.address),
                reassembled=host.reassembled,
                budget=self._budgets[direction],
                rtt_s=rtt_s,
                tell=tell,
            )
            return await drive(self._search(exchange), link, tell) or nothing

    async def both(
        self, peer: Peer, *, tunnel_bytes: int | None = None, rtt_s: float | None = None
    ) -> tuple[PathMtu, PathMtu]:
        """Search to and from a peer at once: each carries only small answers of the other. See `search`."""
        ways = (
            partial(self.search, peer, "forward", tunnel_bytes=tunnel_bytes, rtt_s=rtt_s),
            partial(self.search, peer, "reverse", rtt_s=rtt_s),
        )
        forward, reverse = await asyncio.gather(*(way() for way in ways))
        if forward.silent and reverse.silent and rtt_s is not None and self.s_per_byte:
            # The peer has answered other packets: what it answered here may not have fitted into a slow link's queue.
            forward, reverse = await asyncio.gather(*(way() for way in ways))
        # Both need both ways, so one alone is silent only where other packets fill a short queue.
        for _ in range(TIMES_ALONE):
            if forward.silent and not reverse.silent:
                forward = await ways[0]()
            elif reverse.silent and not forward.silent:
                reverse = await ways[1]()
        return forward, reverse

    async def echo(self, address: str, *, tunnel_bytes: int | None = None) -> PathMtu:
        """Find the largest echo that gets to an address and back, exact to the byte; the host needs nothing of ours.

        Its `direction` is that of the requests: whether a request or its answer was lost is not known. tunnel_bytes: as
        for `search`.
        """
        tell, host = self._tell("echo", address), HostPath()
        ceiling = largest(host.device_mtu(address), tunnel_bytes)
        nothing = PathMtu(direction="forward", outcome=SearchOutcome.NO_ANSWER, ceiling_bytes=ceiling)
        try:
            link, ip_header = open_echo(address)
        except PermissionError:
            return replace(nothing, outcome=SearchOutcome.NOT_PERMITTED)
        except OSError:
            return nothing
        with link:
            search = EchoSearch(
                address=address,
                ceiling=ceiling,
                token=os.urandom(TOKEN_BYTES),
                identifier=int.from_bytes(os.urandom(2)),
                ip_header=ip_header,
                reassembled=host.reassembled,
                tell=tell,
            )
            return await drive(search, link, tell) or nothing

    def path_mtu(self, address: str, *, mark: int = 0) -> int:
        """Path MTU towards `address` in the kernel's cache, which keeps it for ten minutes; bytes, 0 = unknown.

        mark: firewall mark of the packets in question; with one it needs the privilege to set it (`net_admin`).
        """
        return kernel_path_mtu(address, mark)

    async def underlay_carries(
        self, address: str, low: int, high: int, *, timeout_s: float, port: int = FIRST_PORT
    ) -> int:
        """The largest IP packet between two sizes that provably reached a host that runs nothing of ours; 0 = unknown.

        See `preflight.proto.pmtu.underlay`. The packets have DF set and go to traceroute's first port, or to another
        one that is closed. timeout_s: how long to wait in each of the two steps.
        """
        tell = self._tell("underlay", address)
        try:
            link = udp.open_towards(address, port)
        except OSError:
            return 0
        token = os.urandom(TOKEN_BYTES)
        with link:
            sizes = RefusedSizes(address=address, low=low, high=high, token=token, patience_s=timeout_s, tell=tell)
            return await drive(sizes, link, tell) or 0

    async def vanishing(self, address: str, *, small: int, large: int, patience_s: float) -> Vanishing:
        """How far packets of `large` bytes get towards an address that those of `small` bytes reach; IP packets.

        patience_s: how long to wait for an answer of a hop, seconds. A node without a route there, and a network
        without answers, give no hops.
        """
        tell = self._tell("hops", address)
        nothing = Vanishing(small, large)
        try:
            link = udp.open_towards(address, FIRST_PORT)
        except OSError:
            return nothing
        token = os.urandom(TOKEN_BYTES)
        with link:
            search = HopSearch(address=address, small=small, large=large, token=token, patience_s=patience_s, tell=tell)
            return await drive(search, link, tell) or nothing


def largest(device_bytes: int, tunnel_bytes: int | None) -> int:
    """The largest packet to try. The way into a VRF is a device that promises more than the tunnel in the VRF.

    device_bytes: MTU of the interface that leads to the peer; 0 = unknown. tunnel_bytes: of the tunnel behind it.
    """
    return min(device_bytes or LARGEST, tunnel_bytes or LARGEST)
