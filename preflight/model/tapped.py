"""What a tap saw: packets of a burst and of the tunnel that carries it, on all devices of this node, as plain data."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["initiation", "response", "cookie", "data", "keepalive", "control", "refusal", "neighbours"]
"""initiation, response: of a handshake. cookie: WireGuard's answer of a peer under load. keepalive: data without a
packet in it. control: of OpenVPN's or Nebula's control channel. refusal: Nebula's `recv_error`, OpenVPN's reset.
neighbours: a question or answer about hardware addresses in VXLAN."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelPacket:
    """A tunnel's own datagram, as it can be read without keys.

    messages: how many are in it, where the kernel joined several. inner_bytes: the least and the most that the packet
    inside may have. sender, receiver: WireGuard's indexes of the two ends; Nebula's remote index is the receiver's.
    greets: whether a WireGuard handshake was made for this node's public key; None where that is not known.
    vni, inner_source, inner_destination: of VXLAN; inner_hardware: the Ethernet address that the frame inside is for.
    """

    product: str
    kind: Kind
    messages: int = 1
    inner_bytes: tuple[int, int] | None = None
    sender: int | None = None
    receiver: int | None = None
    greets: bool | None = None
    vni: int | None = None
    inner_source: str | None = None
    inner_destination: str | None = None
    inner_hardware: str | None = None

    @property
    def is_handshake(self) -> bool:
        """Whether it builds a session, and carries nothing else."""
        return self.kind in ("initiation", "response", "cookie")

    def carries(self, length_bytes: int) -> bool:
        """Whether a packet of this length may be inside."""
        return self.inner_bytes is not None and self.inner_bytes[0] <= length_bytes <= self.inner_bytes[1]


Refused = Literal["port", "host", "network", "prohibited", "protocol", "source", "expired", "too big"]
"""What an ICMP or ICMPv6 error says is the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoAnswer:
    """What came back for an ICMP echo: type and code of the message, and its sender."""

    kind: int
    code: int
    source: str

    @property
    def replies(self) -> bool:
        """Whether it is the reply, by IPv4 or IPv6, and no error."""
        return self.kind == (129 if ":" in self.source else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class IcmpError:
    """An ICMP error, and the addresses and ports of the packet that it is about, as they are in it."""

    reason: Refused
    source: str
    destination: str
    source_port: int | None = None
    destination_port: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TapPacket:
    """One packet on one device. outgoing: this node sent it there; else it came in.

    length_bytes: of the IP packet. fragment: a later fragment, which has no ports. tunnel: what a tunnel's own datagram
    is. error: what an ICMP error says.
    """

    received_ns: int
    device: str
    outgoing: bool
    source: str
    destination: str
    source_port: int | None = None
    destination_port: int | None = None
    length_bytes: int = 0
    ttl: int = 0
    fragment: bool = False
    tunnel: TunnelPacket | None = None
    error: IcmpError | None = None

    @property
    def remote(self) -> tuple[str, int | None]:
        """The other end: where it goes, or where it comes from."""
        return (self.destination, self.destination_port) if self.outgoing else (self.source, self.source_port)

    @property
    def local(self) -> tuple[str, int | None]:
        """This end."""
        return (self.source, self.source_port) if self.outgoing else (self.destination, self.destination_port)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tapped:
    """Everything that a tap saw since began_ns (UNIX nanoseconds).

    dropped: packets that the kernel dropped unread. cut: it stopped at its limit. blind: why nobody could look; None if
    it looked. errors_since_ns: since when, before that, no ICMP error has come, whatever about; 0 if nobody listened.
    """

    packets: tuple[TapPacket, ...] = ()
    began_ns: int = 0
    errors_since_ns: int = 0
    dropped: int = 0
    cut: bool = False
    blind: str | None = None

    @property
    def complete(self) -> bool:
        """Whether what it did not see was not there."""
        return self.blind is None and not self.dropped and not self.cut
