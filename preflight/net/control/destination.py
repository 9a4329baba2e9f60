"""Route before secret: where the requests of a client go, and whether a secret may go there in clear."""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from preflight.model.control import ControlError
from preflight.model.dns import Lookup
from preflight.model.facts import DeathFacts
from preflight.model.kernel import NeedsPlatform, Route
from preflight.model.overlay import OverlayState
from preflight.proto.control.http import Proxy
from preflight.proto.control.placement import astray
from preflight.proto.control.url import ControlUrl

SLOW_LOOKUP_MS = 1000.0
AGAIN_S = 2.0
"""How old the overlay's state may be on which something is refused."""

LookUp = Callable[[str, float], Awaitable[Lookup]]
ReadOverlay = Callable[[], Awaitable[OverlayState | None]]
RoutesTo = Callable[[Iterable[str], int], Awaitable[Mapping[str, Route]]]


class SecretWay:
    """Asks the kernel where it would send something secret: only loopback and the overlay keep it from others.

    overlay: reads its state. routes_to: how connections to a port of some addresses would leave. known: the overlay as
    it was read before. now: a monotonic clock, in seconds.
    """

    def __init__(
        self,
        overlay: ReadOverlay,
        routes_to: RoutesTo,
        known: OverlayState | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read_overlay = overlay
        self._routes_to = routes_to
        self._overlay = known
        self._now = now
        self._read_at = float("-inf")

    async def astray(self, addresses: Sequence[str], port: int) -> dict[str, str]:
        """Where connections to a port there would leave this node in clear, by address; nothing for the others.

        The kernel is asked each time. The overlay is read again before anything is refused, for it may be up by now;
        not more often than every few seconds.
        """
        try:
            routes = await self._routes_to(addresses, port)
        except NeedsPlatform:
            return await loopback_only(addresses, port)
        found = self._judged(addresses, routes)
        if found and self._now() - self._read_at > AGAIN_S:
            self._overlay, self._read_at = await self._read_overlay(), self._now()
            found = self._judged(addresses, routes)
        return found

    def _judged(self, addresses: Sequence[str], routes: Mapping[str, Route]) -> dict[str, str]:
        overlay = self._overlay and replace(self._overlay, routes={**self._overlay.routes, **routes})
        said = {address: astray(address, routes.get(address), overlay) for address in addresses}
        return {address: why for address, why in said.items() if why is not None}


async def loopback_only(addresses: Sequence[str], port: int) -> dict[str, str]:
    """What a client says that cannot ask the kernel."""
    said = {address: astray(address, None, None) for address in addresses}
    return {address: why for address, why in said.items() if why is not None}


class Destination:
    """Where the requests of one client go: to the URL, or to one address of its name, which is then `pinned`."""

    def __init__(self, look_up: LookUp, way: SecretWay | None = None) -> None:
        self._look_up = look_up
        self._astray = way.astray if way is not None else loopback_only
        self._addresses: tuple[str, ...] = ()
        self.pinned: ControlUrl | None = None

    def forget(self) -> None:
        """Look the name up again before the next request."""
        self._addresses = ()
        self.pinned = None

    async def find(self, url: ControlUrl, proxy: Proxy | None, timeout_s: float) -> None:
        """Resolve the name before httpx does: a failure is then known as DNS's, and no thread is left behind.

        The only address is handed to httpx: its own look-up could fail, or give another one than was judged. So is the
        first of many where the look-up took seconds: it would take as long again for each connection.
        """
        if self._addresses or url.address is not None or proxy is not None:
            return
        lookup = await self._resolved(url.host, timeout_s)
        self._addresses = lookup.addresses
        if len(lookup.addresses) == 1 or (lookup.rtt_ms or 0.0) > SLOW_LOOKUP_MS:
            self.pinned = url.at(lookup.addresses[0])

    async def confide(self, url: ControlUrl, proxy: Proxy | None, timeout_s: float) -> None:
        """Make sure that a secret reaches nobody else on its way. Raises ControlError("exposed").

        TLS keeps it, and httpx sends nothing before it has judged the certificate. In clear it goes to a proxy where
        there is one. Of a name's addresses only one that is safe is used from now on.
        """
        if url.scheme == "https":
            return
        await self.find(url, proxy, timeout_s)
        addresses = await self._first_hop(url, proxy, timeout_s)
        astray = await self._astray(addresses, url.port if proxy is None else proxy.port)
        if not astray:
            return
        safe = [address for address in addresses if address not in astray]
        if safe and proxy is None:
            self.pinned = url.at(safe[0])
            return
        address, why = next(iter(astray.items()))
        to = url.host if proxy is None else f"the proxy {proxy.place}"
        leads = "" if address in to else f" ({address})"
        message = f"no bearer or token was sent in clear text to {to}{leads}: {why}"
        raise ControlError("exposed", None, message, decided=DeathFacts(answered_address=address))

    async def _first_hop(self, url: ControlUrl, proxy: Proxy | None, timeout_s: float) -> Sequence[str]:
        if proxy is None:
            return (self.pinned.host,) if self.pinned else (url.host,) if url.address else self._addresses
        if proxy.has_address:
            return (proxy.host,)
        return (await self._resolved(proxy.host, timeout_s)).addresses

    async def _resolved(self, name: str, timeout_s: float) -> Lookup:
        lookup = await self._look_up(name, timeout_s)
        if lookup.outcome != "answer":
            raise ControlError("dns", None, f"{name} does not resolve: {lookup.detail or lookup.outcome}")
        return lookup
