"""How the kernel sends to addresses: asked once, and again as soon as the kernel reports that anything has changed."""

import socket
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final, Protocol

from preflight.model.kernel import Route

Ask = Callable[[Iterable[str]], Awaitable[Mapping[str, Route]]]

NETLINK_ROUTE: Final = 0
GROUPS: Final = (1, 5, 7, 8, 9, 11, 19, 32)
"""RTNLGRP of rtnetlink(7): links; addresses, routes and rules of IPv4 and of IPv6; next hops. The kernel reports to
them what decides a look-up, except for an ICMP redirect: it leads by another router of the same link."""
_ENOUGH: Final = 65536


class Changes(Protocol):
    """Says whether anything has changed since it was last asked."""

    def changed(self) -> bool:
        """True also where that cannot be known."""

    def close(self) -> None:
        """End it."""


class RouteChanges:
    """The kernel's own reports, for which it takes no privilege; opened when first asked."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None

    def changed(self) -> bool:
        """True the first time, after every change, and always where the kernel cannot be listened to."""
        if self._socket is None:
            self._socket = _listening()
            return True
        found = False
        try:
            while self._socket.recv(_ENOUGH, socket.MSG_DONTWAIT):
                found = True
        except BlockingIOError:
            return found
        except OSError:  # there were more than the socket had room for
            return True
        return True

    def close(self) -> None:
        """Listen no more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __del__(self) -> None:
        # Who asks about a single request may have nothing to close.
        self.close()


def _listening() -> socket.socket | None:
    """A socket that hears the groups. None where there is no such thing."""
    if sys.platform != "linux":
        return None
    listener = None
    try:
        listener = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_ROUTE)
        listener.bind((0, sum(1 << group - 1 for group in GROUPS)))
    except OSError:
        if listener is not None:
            listener.close()
        return None
    return listener


class RouteMemory:
    """The routes to addresses, as true as if each were asked for each time. ask: the question to the kernel."""

    def __init__(self, ask: Ask, changes: Changes) -> None:
        self._ask = ask
        self._changes = changes
        self._known: dict[str, Route] = {}
        self._age = 0

    async def routes_to(self, addresses: Iterable[str]) -> dict[str, Route]:
        """By address, how a packet would leave now."""
        if self._changes.changed():
            self._known.clear()
            self._age += 1
        wanted, age = tuple(addresses), self._age
        found = {address: self._known[address] for address in wanted if address in self._known}
        if missing := [address for address in wanted if address not in found]:
            found.update(await self._ask(missing))
            if age == self._age:  # else something changed while the kernel was asked
                self._known.update(found)
        return found

    def close(self) -> None:
        """Forget everything, and listen no more."""
        self._known.clear()
        self._changes.close()
