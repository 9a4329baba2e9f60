"""ICMP errors about a tunnel's own packets, as plain data."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class OuterError:
    """One ICMP or ICMPv6 error with what it quotes.

    offender: who sent it. source, destination, ports: of the packet that it is about. payload_bytes: of that packet
    behind its header of UDP; a trace recognises its probes by it. sequence: of a quoted echo request.
    """

    offender: str
    kind: int
    code: int
    source: str
    destination: str
    protocol: int
    source_port: int | None = None
    destination_port: int | None = None
    payload_bytes: int | None = None
    sequence: int | None = None

    @property
    def is_ipv6(self) -> bool:
        """Whether it is of ICMPv6."""
        return ":" in self.destination

    @property
    def expired(self) -> bool:
        """A router counted the TTL down to zero."""
        return (self.kind, self.code) == ((3, 0) if self.is_ipv6 else (11, 0))

    @property
    def too_big(self) -> bool:
        """The packet is larger than a link on the way; that says nothing of smaller ones."""
        return (self.kind, self.code) == (2, 0) if self.is_ipv6 else (self.kind, self.code) == (3, 4)

    @property
    def unreachable(self) -> bool:
        """Nobody has the address: what a host reports of a neighbour that does not answer."""
        return (self.kind, self.code) == ((1, 3) if self.is_ipv6 else (3, 1))

    @property
    def meaning(self) -> str:
        """In words."""
        known = _MEANINGS_6 if self.is_ipv6 else _MEANINGS_4
        return known.get((self.kind, self.code), f"ICMP type {self.kind} code {self.code}")


_MEANINGS_4 = {
    (3, 0): "network unreachable",
    (3, 1): "host unreachable",
    (3, 2): "protocol unreachable",
    (3, 3): "port unreachable",
    (3, 4): "larger than the next link",
    (3, 9): "network prohibited",
    (3, 10): "host prohibited",
    (3, 13): "administratively prohibited",
    (11, 0): "TTL expired on the way",
}
_MEANINGS_6 = {
    (1, 0): "no route",
    (1, 1): "administratively prohibited",
    (1, 3): "address unreachable",
    (1, 4): "port unreachable",
    (1, 5): "the source fails a policy",
    (1, 6): "reject route",
    (2, 0): "larger than the next link",
    (3, 0): "hop limit expired on the way",
}
