"""What ICMP told: echoes and the hops of a path, as plain data."""

from dataclasses import dataclass

PRIVILEGE = "privilege"
"""`EchoStats.error` where this process may open neither a raw nor a ping socket."""


@dataclass(frozen=True, slots=True)
class EchoStats:
    """One burst of echo requests. `rtt_ms` holds the answered ones in the order in which they were sent.

    duplicates: answers beyond the first to one request, as far as they came while the burst lasted.
    error: why nothing could be sent, or what answered in the peer's place (`PRIVILEGE`, the kernel's words, or
    `destination unreachable`); None where every request left and silence is all that there is to tell.
    """

    sent: int
    received: int
    rtt_ms: tuple[float, ...] = ()
    error: str | None = None
    duplicates: int = 0

    @property
    def loss_percent(self) -> float:
        """Share of the requests without an answer; 100 where none was sent."""
        return 100.0 * (self.sent - self.received) / self.sent if self.sent else 100.0


@dataclass(frozen=True, slots=True)
class Hop:
    """Who answered a probe of this TTL; `address` None: nobody did. `reached`: it was the destination.

    interface: by which the answer came in here; None where that is not known.
    """

    ttl: int
    address: str | None
    rtt_ms: float | None = None
    reached: bool = False
    interface: str | None = None


@dataclass(frozen=True, slots=True)
class Trace:
    """The path as far as it could be seen: up to the destination, a router that knew no way on, or the last answer."""

    hops: tuple[Hop, ...]
    error: str | None = None

    @property
    def reached(self) -> bool:
        """Whether the destination itself answered."""
        return any(hop.reached for hop in self.hops)

    @property
    def distance(self) -> int | None:
        """Hops to the destination; None where it did not answer, or one before it did not: then a probe may be lost."""
        return len(self.hops) if self.reached and all(hop.address for hop in self.hops) else None
