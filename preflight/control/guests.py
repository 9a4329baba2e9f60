"""A pure table of connections, limited for each client and in total. A stranger is a connection on which no bearer has
been accepted yet.

If there is no room, the stranger with the oldest activity is cut, so that neither a flood nor
many idle connections keep a node or a health check out. An authenticated connection is never cut for a
newcomer.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

RESERVED_DESCRIPTORS = 64
"""For the listeners, SQLite's files, the event loop, and closing connections."""
FEWEST, MOST = 16, 16_384
DEFAULT_PER_CLIENT = 512
FULL_SAID_EVERY_S = 60.0


class Cut(StrEnum):
    """Why the server ended or refused a connection."""

    HEADERS = "headers late"
    BODY = "body late"
    IDLE = "idle"
    READER = "answer not taken"
    CLIENT_FULL = "client has too many"
    FULL = "full"
    REPLACED = "made room"


@dataclass(frozen=True, slots=True)
class Caps:
    """The maximum of connections, in total and for one client."""

    in_all: int = MOST
    per_client: int = DEFAULT_PER_CLIENT

    def of(self, client: str) -> int:
        """The limit of one client. A proxy on this machine represents many, but leaves room for others."""
        if client == "::1" or client.startswith("127."):
            return max(1, self.in_all - self.in_all // 8)
        return min(self.per_client, self.in_all)


def caps(descriptors: int, in_all: int | None = None, per_client: int | None = None) -> Caps:
    """The requested limits, capped by `descriptors`, the process's limit of open files."""
    affordable = max(FEWEST, descriptors - RESERVED_DESCRIPTORS)
    return Caps(min(in_all or MOST, affordable), per_client or DEFAULT_PER_CLIENT)


@lru_cache(maxsize=4096)
def client_of(host: str) -> str:
    """The client of an address: the address itself or, for IPv6, its /64, in which one machine can have any number.

    Text that is not an address (a proxy may pass on anything) counts as one client.
    """
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if isinstance(address, IPv6Address) and not address.is_loopback:
        return f"{IPv6Address(int(address) >> 64 << 64)}/64"
    return str(address)


@dataclass(eq=False, slots=True)
class Guest:
    """One connection. `busy`: the server is working on its request."""

    client: str
    leave: Callable[[], None] = field(default=lambda: None)
    """Ends the connection at once; set by its owner."""
    busy: bool = False


class Guests:
    """All connections, in the order in which strangers are cut."""

    def __init__(
        self,
        limits: Caps,
        cut: Callable[[Cut], None] = lambda because: None,
        full: Callable[[Cut], None] = lambda because: None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`cut` is called for every ended or refused connection, `full` at most once a minute for a refusal."""
        self.caps = limits
        self.cut = cut
        self._full = full
        self._now_s = now_s
        self._said_s = float("-inf")
        self._all: set[Guest] = set()
        self._count: Counter[str] = Counter()
        self._strangers: dict[Guest, None] = {}
        self._strangers_of: dict[str, dict[Guest, None]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def admit(self, host: str) -> Guest | None:
        """A place for a new connection, if necessary taken from a stranger; None: there is none."""
        client = client_of(host)
        if self._count[client] >= self.caps.of(client) and not self._replace(self._strangers_of.get(client, ())):
            self._refuse(Cut.CLIENT_FULL)
            return None
        if len(self._all) >= self.caps.in_all and not self._replace(self._strangers):
            self._refuse(Cut.FULL)
            return None
        guest = Guest(client)
        self._all.add(guest)
        self._count[client] += 1
        self._queue(guest)
        return guest

    def answered(self, guest: Guest, *, known: bool) -> None:
        """A request was answered: a stranger moves to the back of the queue or, with a good bearer, leaves it."""
        if guest in self._strangers:
            self._unqueue(guest)
            if not known:
                self._queue(guest)

    def gone(self, guest: Guest) -> None:
        """Its connection has ended; idempotent."""
        if guest not in self._all:
            return
        self._all.remove(guest)
        self._unqueue(guest)
        self._count[guest.client] -= 1
        if not self._count[guest.client]:
            del self._count[guest.client]

    def _replace(self, strangers: Iterable[Guest]) -> bool:
        """Cut a stranger; whether there was one."""
        for guest in strangers:
            if not guest.busy:
                self.gone(guest)
                self.cut(Cut.REPLACED)
                guest.leave()
                return True
        return False

    def _refuse(self, because: Cut) -> None:
        self.cut(because)
        now_s = self._now_s()
        if now_s - self._said_s >= FULL_SAID_EVERY_S:
            self._said_s = now_s
            self._full(because)

    def _queue(self, guest: Guest) -> None:
        self._strangers[guest] = None
        self._strangers_of.setdefault(guest.client, {})[guest] = None

    def _unqueue(self, guest: Guest) -> None:
        self._strangers.pop(guest, None)
        of_client = self._strangers_of.get(guest.client)
        if of_client is not None:
            of_client.pop(guest, None)
            if not of_client:
                del self._strangers_of[guest.client]
