"""The packets that a burst sends, as every observer needs them: addresses, ports, mark and devices."""

from dataclasses import dataclass, replace
from typing import Literal

Protocol = Literal["udp", "tcp", "icmp"]
"""`icmp` is ICMPv6 where the addresses are of IPv6."""
Echo = Literal["request", "reply", "solicit", "advert"]
"""Of ICMP: which of an echo's two packets, or of those by which IPv6 finds a neighbour's hardware address."""
DISCOVERY = ("solicit", "advert")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """One flow of packets, as they are at one place.

    source_port, destination_port: None for ICMP, and where it is not known. length_bytes: of the IP packet. mark, uid:
    of the socket that sends it. interface_in, interface_out: the devices that it comes in by and leaves by, None where
    it does not. echo: which packet of ICMP it is; None where that is not known.
    """

    source: str
    destination: str
    protocol: Protocol = "udp"
    source_port: int | None = None
    destination_port: int | None = None
    length_bytes: int = 100
    mark: int = 0
    uid: int = 0
    interface_in: str | None = None
    interface_out: str | None = None
    echo: Echo | None = None

    @property
    def is_ipv6(self) -> bool:
        """Whether its addresses are of IPv6."""
        return ":" in self.destination

    @property
    def connection(self) -> tuple[str, str, int | None, str, int | None]:
        """What connection tracking knows it by, whatever its packets' size, mark and devices are."""
        return self.protocol, self.source, self.source_port, self.destination, self.destination_port

    def answer(self) -> "Flow":
        """The packets that answer it, as they are on the same machine: they come in by the device that it left by."""
        return replace(
            self,
            source=self.destination,
            destination=self.source,
            source_port=self.destination_port,
            destination_port=self.source_port,
            mark=0,
            interface_in=self.interface_out,
            interface_out=self.interface_in,
            echo=_ANSWERED[self.echo] if self.echo else None,
        )

    @property
    def icmp_type(self) -> int | None:
        """The type in its header (RFC 792, RFC 4443, RFC 4861); None where that is not known."""
        return _ICMP_TYPES[self.is_ipv6].get(self.echo) if self.echo else None

    @property
    def is_discovery(self) -> bool:
        """Whether it asks for a neighbour's hardware address, or answers that."""
        return self.echo in DISCOVERY


_ANSWERED: dict[Echo, Echo] = {"request": "reply", "reply": "request", "solicit": "advert", "advert": "solicit"}
_ICMP_TYPES: dict[bool, dict[Echo, int]] = {
    False: {"request": 8, "reply": 0},
    True: {"request": 128, "reply": 129, "solicit": 135, "advert": 136},
}
