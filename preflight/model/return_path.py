"""How a peer sends to this node, from the peer's own kernel: no other source knows it."""

import re
from dataclasses import dataclass

from preflight.model.icmp import Trace

STRICT = 1
"""`rp_filter`: a packet must come in by the interface that leads back to its source (RFC 3704 section 2.2)."""
INTERFACE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}")
"""Names that a peer may report: untrusted text that goes into a line to paste."""
LOOPBACK = "lo"


@dataclass(frozen=True, slots=True)
class ReturnPath:
    """The peer's route to this node, and its reverse-path filter's verdict.

    arrival: the interface that holds the address to which this node sends; None: unknown, for example if that address
    is on a loopback or dummy interface. interface, gateway: of the route to this node; interface None: there is none,
    or its name was not reported. table: of that route; None: in the main one, or unknown. rp_filter: the mode
    in force on `arrival` (0 off, 1 strict, 2 loose); None: unknown, or IPv6, which has none. refuses: the peer's kernel
    says that this filter drops packets from this node on `arrival`. dropped: packets that the peer's reverse-path
    filters dropped meanwhile; None: not counted.
    """

    arrival: str | None = None
    interface: str | None = None
    gateway: str | None = None
    rp_filter: int | None = None
    refuses: bool = False
    dropped: int | None = None
    table: int | None = None

    @property
    def elsewhere(self) -> bool:
        """Whether the peer sends on another interface than the one where this node's packets come in."""
        return None not in (self.arrival, self.interface) and self.interface not in (self.arrival, LOOPBACK)

    @property
    def to_itself(self) -> bool:
        """Whether the peer delivers to itself what is for this node."""
        return self.interface == LOOPBACK

    @property
    def drops(self) -> bool:
        """Whether the filter drops this node's packets: the kernel says so, and the counter grew."""
        return self.arrival is not None and self.refuses and bool(self.dropped)

    @property
    def exit(self) -> str:
        """Where the peer's packets for this node leave, in the form of `ip route`."""
        return f"{self.interface} via {self.gateway}" if self.gateway else str(self.interface)


@dataclass(frozen=True, slots=True)
class ReverseTraceroute:
    """The path from a peer to this node; the peer's responder traced it to `here`, this node's address.

    forward_hops, reverse_hops: links that a packet crossed in each direction, from the remaining TTL at the other end;
    None if the packet was not sent with 255, or was rewritten on the path.
    """

    here: str
    trace: Trace
    way: ReturnPath
    forward_hops: int | None = None
    reverse_hops: int | None = None
