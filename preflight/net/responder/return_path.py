"""What this host knows about its way back to a peer: its route, and what its reverse-path filter drops."""

import asyncio
from dataclasses import replace

from preflight.model.kernel import MAIN_TABLE, NeedsPlatform
from preflight.model.return_path import INTERFACE_NAME, ReturnPath
from preflight.net.host_state import reverse_path_filter
from preflight.net.responder.own_routes import OwnRoutes
from preflight.net.route_socket import name_of
from preflight.proto.way.address_messages import Device

ELSEWHERE = ("dummy", "vrf")
"""Kinds of interfaces that hold addresses but receive nothing."""
LOOK_AGAIN_S = 0.05


class ReturnPathView:
    """Looks from `local`, this host's own address, towards a peer. It counts drops from now on."""

    def __init__(self, local: str, peer: str) -> None:
        self._local = local
        self._peer = peer
        self._dropped_before = _dropped()

    def look(self) -> ReturnPath:
        """The route and the filter's verdict. What cannot be known stays None; nothing that the kernel does raises."""
        try:
            with OwnRoutes() as routes:
                holder = routes.holder(self._local)
                arrival = _plain(name_of(holder)) if holder and receives(routes.device(holder)) else None
                route = routes.towards(self._peer, self._local)
                mode = reverse_path_filter().modes.get(arrival or "") if ":" not in self._peer else None
                refuses = bool(arrival and mode and holder) and routes.refuses(self._peer, self._local, holder or 0)
        except (NeedsPlatform, OSError, ValueError):
            return ReturnPath()
        leaves = _plain(name_of(route.interface)) if route else None
        table = route.table if route and route.table != MAIN_TABLE else None
        gateway = route.gateway if route else None
        return ReturnPath(arrival, leaves, gateway, mode, refuses, self._grown(), table)

    async def look_for_drops(self, patience_s: float) -> ReturnPath:
        """`look`; if the filter refuses the peer's packets, wait until it has dropped one, at most `patience_s`."""
        way = self.look()
        if not way.refuses:
            return way
        for _ in range(round(patience_s / LOOK_AGAIN_S)):
            if self._grown():
                break
            await asyncio.sleep(LOOK_AGAIN_S)  # the kernel sends no notice when a counter changes
        return replace(way, dropped=self._grown())

    def _grown(self) -> int | None:
        dropped = _dropped()
        if dropped is None or self._dropped_before is None:
            return None
        return dropped - self._dropped_before


def _dropped() -> int | None:
    try:
        return reverse_path_filter().dropped
    except (NeedsPlatform, OSError):
        return None


def receives(device: Device | None) -> bool:
    """Whether packets for an address that a device holds come in by it."""
    return device is not None and not device.loopback and device.kind not in ELSEWHERE


def _plain(name: str | None) -> str | None:
    """The name if a peer will believe it; names with unusual characters are left out."""
    return name if name and INTERFACE_NAME.fullmatch(name) else None
