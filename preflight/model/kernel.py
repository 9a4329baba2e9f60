"""The kernel's view of this node's network, as plain data."""

from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network, ip_address
from typing import Union

IPInterface = Union[IPv4Interface, IPv6Interface]  # noqa: UP007 - Python 3.9 has no `|` here
IPNetwork = Union[IPv4Network, IPv6Network]  # noqa: UP007 - Python 3.9 has no `|` here

MAIN_TABLE = 254
VRF = "vrf"
"""The kind of link that leads into a separate routing domain."""


class NeedsPlatform(Exception):  # noqa: N818 - called after its code, run.needs-platform
    """The question needs Linux; a check turns this into `run.needs-platform`."""


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface of this namespace.

    up: administratively up. carrier: its other side is present (a tun without its daemon has none).
    kind: the driver's name as `ip -d link` shows it (`wireguard`, `tun`, `vxlan`), None for hardware.
    resolves: packets need the hardware address of a neighbour, which a tunnel's do not.
    """

    index: int
    name: str
    mtu: int
    up: bool
    carrier: bool
    kind: str | None = None
    loopback: bool = False
    addresses: tuple[IPInterface, ...] = ()
    resolves: bool = False
    hardware: str | None = None

    def has(self, address: str) -> bool:
        """Whether an address is this interface's."""
        wanted = ip_address(address)
        return any(interface.ip == wanted for interface in self.addresses)

    def holds(self, address: str) -> IPNetwork | None:
        """The most specific connected network of this interface that contains an address."""
        wanted = ip_address(address)
        networks = [
            interface.network
            for interface in self.addresses
            if interface.version == wanted.version and wanted in interface.network
        ]
        return max(networks, key=lambda network: network.prefixlen, default=None)


@dataclass(frozen=True, slots=True)
class Doubt:
    """The rule that sends packets with its mark to a device, where only root may read whether they get that mark."""

    rule: str
    interface: str

    def __str__(self) -> str:
        """Why nobody can know the way without reading the firewall."""
        return (
            f"the rule `{self.rule}` sends packets with its mark into {self.interface}, and only root can read whether "
            "the firewall gives them this mark"
        )


@dataclass(frozen=True, slots=True)
class Route:
    """How the kernel sends a packet to `address` now; `error`: its words if it would not.

    matched: the entry of the routing table that decided. local: the address is this node's own. mark: the one by which
    it was asked. doubt: what may lead elsewhere, where nobody here may read whether it does.
    """

    address: str
    interface: str | None = None
    gateway: str | None = None
    source: str | None = None
    matched: IPNetwork | None = None
    table: int = MAIN_TABLE
    local: bool = False
    error: str | None = None
    mark: int = 0
    doubt: "Doubt | None" = None

    @property
    def devices(self) -> tuple[str | None, ...]:
        """The one that a packet leaves by, and the one to which a mark may lead it, as far as only root can read."""
        return (self.interface,) if self.doubt is None else (self.interface, self.doubt.interface)

    def __str__(self) -> str:
        """In the form of `ip route get`."""
        if self.error:
            return f"{self.address}: {self.error}"
        words = [("via", self.gateway), ("dev", self.interface), ("src", self.source)]
        if self.table != MAIN_TABLE and not self.local:
            words.append(("table", str(self.table)))
        return " ".join([self.address, *(f"{word} {value}" for word, value in words if value)])


@dataclass(frozen=True, slots=True)
class ReversePathFilter:
    """The effective `rp_filter` of each interface (0 off, 1 strict, 2 loose) and the packets that it has dropped."""

    modes: dict[str, int] = field(default_factory=dict)
    dropped: int | None = None

    @property
    def strict(self) -> tuple[str, ...]:
        """The interfaces on which it is strict."""
        return tuple(sorted(name for name, mode in self.modes.items() if mode == 1))


@dataclass(frozen=True, slots=True)
class ClockState:
    """What the kernel knows about its clock; `estimated_error_ms` is the synchronising daemon's own estimate."""

    synchronised: bool
    estimated_error_ms: float
