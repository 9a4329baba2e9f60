"""Results of ICMP: echoes and the hops of a path, as plain data."""

from dataclasses import dataclass
from typing import Literal

PRIVILEGE = "privilege"
"""`EchoStats.error` if this process may open neither a raw nor a ping socket."""


PortWord = Literal["closed", "open", "silent", "unsent"]
"""What came back for a datagram to a UDP port: its host says that nobody listens, an answer of a program, or nothing.
unsent: this node's kernel refused to send it."""


@dataclass(frozen=True, slots=True)
class EchoStats:
    """One burst of echo requests. `rtt_ms` contains the answered ones in the order of sending.

    duplicates: further answers to one request that came during the burst. error: why nothing could be
    sent, or what answered instead of the peer (`PRIVILEGE`, the kernel's words, or `destination unreachable`);
    None if every request left and only silence came back.
    """

    sent: int
    received: int
    rtt_ms: tuple[float, ...] = ()
    error: str | None = None
    duplicates: int = 0

    @property
    def loss_percent(self) -> float:
        """Share of the requests without an answer; 100 if none was sent."""
        return 100.0 * (self.sent - self.received) / self.sent if self.sent else 100.0


@dataclass(frozen=True, slots=True)
class Hop:
    """Who answered a probe with this TTL; `address` None: no answer. `reached`: it was the destination.

    interface: where the answer came in here; None: not known.
    """

    ttl: int
    address: str | None
    rtt_ms: float | None = None
    reached: bool = False
    interface: str | None = None


@dataclass(frozen=True, slots=True)
class Trace:
    """The visible part of the path: up to the destination, a router without a route, or the last answer.

    stopped: whether the last one is a router that said that it passes nothing on, if that was looked for.
    """

    hops: tuple[Hop, ...]
    error: str | None = None
    stopped: bool = False

    @property
    def reached(self) -> bool:
        """Whether the destination itself answered."""
        return any(hop.reached for hop in self.hops)

    @property
    def distance(self) -> int | None:
        """Hops to the destination; None if it or a hop before it did not answer: then a probe may be lost."""
        return len(self.hops) if self.reached and all(hop.address for hop in self.hops) else None
