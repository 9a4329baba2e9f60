"""How a peer sends to this node, as the peer's own kernel tells it: nobody else can know."""

import re
from dataclasses import dataclass

from preflight.model.icmp import Trace

STRICT = 1
"""`rp_filter`: a packet must come in by the interface that leads back to its source (RFC 3704 section 2.2)."""
INTERFACE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}")
"""Names that a peer may tell: a stranger's text that goes into a line to paste."""


@dataclass(frozen=True, slots=True)
class WayBack:
    """The peer's route to this node, and what its reverse-path filter makes of it.

    arrival: the interface that holds the address to which this node sends; None: unknown, as where that address stands
    on a loopback or dummy interface. interface, gateway: of the route to this node; interface None: there is none, or
    its name is not told.
    rp_filter: the mode in force on `arrival` (0 off, 1 strict, 2 loose); None: unknown, or IPv6, which has none.
    refuses: the peer's kernel says that this filter drops what comes from this node by `arrival`.
    dropped: packets that the peer's reverse-path filters dropped while it was asked; None: not counted.
    """

    arrival: str | None = None
    interface: str | None = None
    gateway: str | None = None
    rp_filter: int | None = None
    refuses: bool = False
    dropped: int | None = None

    @property
    def elsewhere(self) -> bool:
        """Whether the peer sends by another interface than the one by which this node's packets come in."""
        return None not in (self.arrival, self.interface) and self.arrival != self.interface

    @property
    def drops(self) -> bool:
        """Whether the filter is seen to drop this node's packets: its kernel says so, and its counter grew."""
        return self.arrival is not None and self.refuses and bool(self.dropped)

    @property
    def exit(self) -> str:
        """Where the peer's packets for this node leave, as `ip route` words it."""
        return f"{self.interface} via {self.gateway}" if self.gateway else str(self.interface)


@dataclass(frozen=True, slots=True)
class ReverseTraceroute:
    """The way from a peer to this node, as the peer's responder traced it to `here`, this node's address.

    forward_hops, reverse_hops: links that a packet crossed in each direction, by the TTL that was left of 255 at the
    other end; None where what arrived had not been sent with 255, or was rewritten under way.
    """

    here: str
    trace: Trace
    way: WayBack
    forward_hops: int | None = None
    reverse_hops: int | None = None
