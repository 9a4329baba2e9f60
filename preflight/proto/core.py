"""What a sans-IO core and its driver say to each other: datagrams out, datagrams and errors in, one timer, a result.

`preflight.net.drive` runs any `Core` on a socket; a test runs one by function call. All times that are called `now` are
seconds of one steady clock.
"""

import errno
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, TypeVar, Union

Address = Union[tuple[str, int], tuple[str, int, int, int]]  # noqa: UP007 - Python 3.9 has no `|` here
"""What `socket` calls an address of AF_INET or AF_INET6."""

ORIGIN_LOCAL: Final = 1
ORIGIN_ICMP: Final = 2
ORIGIN_ICMP6: Final = 3
"""Who reports an error, as linux/errqueue.h numbers it."""


class Datagram(NamedTuple):
    """A payload to send. to: None on a connected socket. ttl: TTL or hop limit; None = the socket's own."""

    data: bytes
    to: Address | None = None
    ttl: int | None = None


class Received(NamedTuple):
    """A payload that came in. received_ns: when the kernel got it, UNIX nanoseconds; ttl: None = unknown."""

    data: bytes
    source: Address = ("", 0)
    received_ns: int = 0
    ttl: int | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a datagram of ours did not get through: one entry of the socket's error queue.

    code: the errno, `reason` the same in the kernel's words. mtu: bytes, of a "packet too big". quoted: our own payload
    as far as the error quotes it. destination: where that was sent. offender: who reports the error; None = unknown.
    interface: the one that the ICMP error came in by; empty = unknown.
    """

    code: int
    origin: int
    icmp_type: int = 0
    icmp_code: int = 0
    mtu: int = 0
    quoted: bytes = b""
    destination: Address | None = None
    offender: str | None = None
    interface: str = ""
    reason: str = ""

    @property
    def local(self) -> bool:
        """This host itself refused to send."""
        return self.origin == ORIGIN_LOCAL

    @property
    def icmp(self) -> bool:
        """Another host, or a router, sent an ICMP error."""
        return self.origin in (ORIGIN_ICMP, ORIGIN_ICMP6)

    @property
    def port_unreachable(self) -> bool:
        """The destination host says that nobody listens (RFC 792 type 3 code 3, RFC 4443 type 1 code 4)."""
        kind = (self.origin, self.icmp_type, self.icmp_code)
        return kind in {(ORIGIN_ICMP, 3, 3), (ORIGIN_ICMP6, 1, 4)}

    @property
    def time_exceeded(self) -> bool:
        """A router counted the TTL down to zero (RFC 792 type 11, RFC 4443 type 3)."""
        return (self.origin, self.icmp_type) in {(ORIGIN_ICMP, 11), (ORIGIN_ICMP6, 3)}

    @property
    def too_big(self) -> bool:
        """The datagram exceeds an MTU: this host's if `local`, else one on the way (RFC 1191, RFC 8201)."""
        return self.code == errno.EMSGSIZE


Result = TypeVar("Result", covariant=True)


class Core(Protocol[Result]):
    """A protocol without I/O.

    In each turn a driver hands in what has come (`refused`, then `receive`), calls `handle_timer`, sends what
    `datagrams_to_send` gives, and waits until `get_timer` or until the socket has something to read. A core that
    subclasses this protocol inherits hooks that do nothing.
    """

    @property
    def result(self) -> Result | None:
        """What was found; None until the core is over, and where nothing was found."""

    def datagrams_to_send(self, now: float) -> Iterable[Datagram]:
        """What is due. The driver reports the fate of each (`sent`, `unsent`) before it takes the next."""

    def get_timer(self) -> float | None:
        """When to take the next turn if nothing comes in before; `inf` = only then. None: the core is over."""

    def handle_timer(self, now: float) -> None:
        """Give up what has taken too long."""

    def receive(self, received: Received, now: float) -> None:
        """Take a datagram; a core ignores what does not belong to it."""
        return

    def refused(self, refusal: Refusal, now: float) -> None:
        """Take an entry of the error queue; anyone may have sent an ICMP error, so it is a hint, never a proof."""
        return

    def sent(self, datagram: Datagram, now: float) -> None:
        """The datagram has left; `now` is just before it did, because round trips are counted from it."""
        return

    def unsent(self, datagram: Datagram, error: OSError, now: float) -> None:
        """This host's kernel did not send the datagram (EPERM: a firewall on output; EMSGSIZE; EAGAIN)."""
        return
