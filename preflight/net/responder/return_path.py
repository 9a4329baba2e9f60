"""What this host knows about its way back to a peer: its route, and what its reverse-path filter drops."""

import asyncio
import sys
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address

from preflight.model.kernel import Link, NeedsPlatform
from preflight.model.return_path import INTERFACE_NAME, ReturnPath
from preflight.net.kernel import Kernel

ELSEWHERE = ("dummy", "vrf")
"""Kinds of interfaces that hold addresses but receive nothing."""
LOOK_AGAIN_S = 0.05


def preload() -> None:
    """Import what `ReturnPathView.look` needs now: later the responder would answer nobody for half a second."""
    if sys.platform == "linux":
        import preflight.netlink  # noqa: F401


class ReturnPathView:
    """Looks from `local`, this host's own address, towards a peer. It counts drops from now on."""

    def __init__(self, local: str, peer: str) -> None:
        self._local = local
        self._peer = peer
        self._kernel = Kernel()
        self._dropped_before = self._dropped()

    async def look(self) -> ReturnPath:
        """The route and the filter's verdict. What cannot be known stays None; nothing that the kernel does raises."""
        from preflight.netlink import NetlinkError

        try:
            arrival = _holder(await self._kernel.links(), self._local)
            route = await self._kernel.route_to(self._peer, source=self._local)
            filters = self._kernel.reverse_path_filter()
            mode = filters.modes.get(arrival or "") if ":" not in self._peer else None
            refuses = bool(arrival and mode) and await self._kernel.refuses(self._peer, self._local, arrival or "")
        except (NeedsPlatform, NetlinkError, OSError):
            return ReturnPath()
        return ReturnPath(arrival, _plain(route.interface), route.gateway, mode, refuses, self._grown())

    async def look_for_drops(self, patience_s: float) -> ReturnPath:
        """`look`; if the filter refuses the peer's packets, wait until it has dropped one, at most `patience_s`."""
        way = await self.look()
        if not way.refuses:
            return way
        for _ in range(round(patience_s / LOOK_AGAIN_S)):
            if self._grown():
                break
            await asyncio.sleep(LOOK_AGAIN_S)  # the kernel sends no notice when a counter changes
        return replace(way, dropped=self._grown())

    def _grown(self) -> int | None:
        dropped = self._dropped()
        if dropped is None or self._dropped_before is None:
            return None
        return dropped - self._dropped_before

    def _dropped(self) -> int | None:
        try:
            return self._kernel.reverse_path_filter().dropped
        except (NeedsPlatform, OSError):
            return None


def _holder(links: Iterable[Link], address: str) -> str | None:
    """The interface that has the address."""
    wanted = ip_address(address.partition("%")[0])
    for link in links:
        if any(interface.ip == wanted for interface in link.addresses):
            return None if link.loopback or link.kind in ELSEWHERE else _plain(link.name)
    return None


def _plain(name: str | None) -> str | None:
    """The name if a peer will believe it; names with unusual characters are left out."""
    return name if name and INTERFACE_NAME.fullmatch(name) else None
