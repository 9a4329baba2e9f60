"""Policies of the kernel's IPsec (XFRM), as plain data."""

from dataclasses import dataclass
from typing import Literal

from preflight.model.overlay import IPNetwork


@dataclass(frozen=True, slots=True, kw_only=True)
class IpsecPolicy:
    """One policy. blocks: it drops what matches; else secured: it lets pass only what IPsec protects, or will.

    source_port, destination_port, protocol: 0 for any. priority: the smaller counts first. interface: index of the
    device that it is limited to, 0 for any. special: it is limited to marks or to a virtual interface.
    """

    direction: Literal["in", "out", "fwd"]
    source: IPNetwork
    destination: IPNetwork
    blocks: bool
    secured: bool = False
    protocol: int = 0
    source_port: int = 0
    destination_port: int = 0
    priority: int = 0
    interface: int = 0
    special: bool = False

    def __str__(self) -> str:
        """As `ip xfrm policy` takes it."""
        ports = (("sport", self.source_port), ("dport", self.destination_port))
        proto = f" proto {self.protocol}" if self.protocol else ""
        limits = "".join(f" {word} {port}" for word, port in ports if port)
        return f"src {self.source} dst {self.destination}{proto}{limits} dir {self.direction}"
