"""Fixes of the network: interfaces, routes, kernel settings, WireGuard's peers and rules of firewalls."""

import shlex
from dataclasses import dataclass
from typing import ClassVar, Literal

from preflight.model import parameters
from preflight.model.change import STRICT, Change, Command, NamedValue

DEVICE, WAY = "DEVICE", "WAY"
"""In a command: the interface that has an address; the next hop to an address."""


def device_with(address: str) -> str:
    """What a shell makes the name of the interface that has an address."""
    return f"$(ip -o address show to {address} | awk '{{print $2; exit}}')"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkMtu(Change):
    """Give an interface another MTU."""

    __pydantic_config__ = STRICT

    id: Literal["link.mtu"] = "link.mtu"
    interface: str
    mtu_bytes: int

    def __post_init__(self) -> None:
        parameters.interface(self.interface)
        parameters.within(self.mtu_bytes, 576, 65535)

    def _commands(self) -> tuple[Command, ...]:
        return (("ip", "link", "set", "dev", self.interface, "mtu", str(self.mtu_bytes)),)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkMtuByAddress(Change):
    """Give the interface that has an address another MTU: what is known of a peer is its overlay address."""

    __pydantic_config__ = STRICT
    asks: ClassVar[bool] = True

    id: Literal["link.mtu-by-address"] = "link.mtu-by-address"
    address: str
    mtu_bytes: int

    def __post_init__(self) -> None:
        parameters.address(self.address)
        parameters.within(self.mtu_bytes, 576, 65535)

    def _commands(self) -> tuple[Command, ...]:
        return (("ip", "link", "set", "dev", DEVICE, "mtu", str(self.mtu_bytes)),)

    def _lines(self) -> tuple[str, ...]:
        return tuple(shlex.join(command).replace(DEVICE, device_with(self.address)) for command in self._commands())

    def on(self, interface: str) -> LinkMtu:
        """The same change, once the interface is known. Raises ValueError if its name is not valid."""
        return LinkMtu(interface=interface, mtu_bytes=self.mtu_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkUp(Change):
    """Switch an interface on."""

    __pydantic_config__ = STRICT

    id: Literal["link.up"] = "link.up"
    interface: str

    def __post_init__(self) -> None:
        parameters.interface(self.interface)

    def _commands(self) -> tuple[Command, ...]:
        return (("ip", "link", "set", "dev", self.interface, "up"),)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkAddresses(Change):
    """Give an interface the addresses that its configuration has."""

    __pydantic_config__ = STRICT

    id: Literal["link.addresses"] = "link.addresses"
    interface: str
    addresses: tuple[str, ...]

    def __post_init__(self) -> None:
        parameters.interface(self.interface)
        parameters.within(len(self.addresses), 1, 64)
        for address in self.addresses:
            parameters.interface_address(address)

    def _commands(self) -> tuple[Command, ...]:
        return tuple(("ip", "address", "add", address, "dev", self.interface) for address in self.addresses)


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelSettings(Change):
    """Set sysctls, of which only a few are allowed."""

    __pydantic_config__ = STRICT

    id: Literal["sysctl"] = "sysctl"
    settings: tuple[NamedValue, ...]

    def __post_init__(self) -> None:
        parameters.within(len(self.settings), 1, 64)
        for setting in self.settings:
            parameters.sysctl(setting.name, setting.value)

    def _commands(self) -> tuple[Command, ...]:
        return (("sysctl", "-w", *map(str, self.settings)),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route(Change):
    """Add, replace or delete one entry of a routing table.

    locked_mtu_bytes: the largest packet by this route, whatever the kernel learns about the path.
    """

    __pydantic_config__ = STRICT

    id: Literal["route"] = "route"
    action: Literal["add", "replace", "del"]
    destination: str
    gateway: str | None = None
    interface: str | None = None
    source: str | None = None
    table: int | None = None
    locked_mtu_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.action not in ("add", "replace", "del"):
            raise ValueError(f"{self.action!r} is not an action")
        parameters.network(self.destination)
        for address in (self.gateway, self.source):
            if address is not None:
                parameters.address(address)
        if self.interface is not None:
            parameters.interface(self.interface)
        elif self.gateway is None:
            raise ValueError("a route needs a gateway or an interface")
        if self.table is not None:
            parameters.within(self.table, 1, 2**32 - 1)
        if self.locked_mtu_bytes is not None:
            parameters.within(self.locked_mtu_bytes, 576, 65535)

    @property
    def entry(self) -> Command:
        """The words by which `ip route` finds or writes the entry."""
        words = (("via", self.gateway), ("dev", self.interface), ("src", self.source), ("table", self.table))
        known = [text for word, value in words if value is not None for text in (word, str(value))]
        locked = [] if self.locked_mtu_bytes is None else ["mtu", "lock", str(self.locked_mtu_bytes)]
        return (self.destination, *known, *locked)

    def _commands(self) -> tuple[Command, ...]:
        return (("ip", "route", self.action, *self.entry),)


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteAround(Change):
    """A route to a tunnel's endpoint by the way that leads there outside the tunnel."""

    __pydantic_config__ = STRICT
    asks: ClassVar[bool] = True

    id: Literal["route.around"] = "route.around"
    interface: str
    endpoint: str

    def __post_init__(self) -> None:
        parameters.interface(self.interface)
        parameters.address(self.endpoint)

    @property
    def host(self) -> str:
        """The endpoint as a route's destination."""
        return f"{self.endpoint}/{128 if ':' in self.endpoint else 32}"

    @property
    def family(self) -> str:
        """The option of ip(8) for the endpoint's family."""
        return "-6" if ":" in self.endpoint else "-4"

    def _commands(self) -> tuple[Command, ...]:
        return (("ip", self.family, "route", "replace", self.host, WAY),)

    def _lines(self) -> tuple[str, ...]:
        others = f"ip {self.family} route show match {self.endpoint} | grep -vw 'dev {self.interface}'"
        way = f"$({others} | tail -n 1 | cut -d ' ' -f 2-)"
        return tuple(shlex.join(command).replace(WAY, way) for command in self._commands())


@dataclass(frozen=True, slots=True, kw_only=True)
class WireguardPeer(Change):
    """Change a peer that a WireGuard interface has.

    allowed_ips: the whole list, as `wg set` replaces it. taken_from: the key of the peer that may lose addresses by it.
    """

    __pydantic_config__ = STRICT

    id: Literal["wireguard.peer"] = "wireguard.peer"
    interface: str
    key: str
    endpoint: str | None = None
    keepalive_s: int | None = None
    allowed_ips: tuple[str, ...] | None = None
    taken_from: str | None = None

    def __post_init__(self) -> None:
        parameters.interface(self.interface)
        parameters.key(self.key)
        if self.taken_from is not None:
            parameters.key(self.taken_from)
        if self.endpoint is not None:
            parameters.endpoint(self.endpoint)
        if self.keepalive_s is not None:
            parameters.within(self.keepalive_s, 0, 65535)
        if self.allowed_ips is not None:
            parameters.networks(self.allowed_ips)
        if (self.endpoint, self.keepalive_s, self.allowed_ips) == (None, None, None):
            raise ValueError("nothing of the peer is to change")

    def _commands(self) -> tuple[Command, ...]:
        allowed = None if self.allowed_ips is None else ",".join(self.allowed_ips)
        words = (("endpoint", self.endpoint), ("persistent-keepalive", self.keepalive_s), ("allowed-ips", allowed))
        known = [text for word, value in words if value is not None for text in (word, str(value))]
        return (("wg", "set", self.interface, "peer", self.key, *known),)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterDelete(Change):
    """Delete one rule of nftables, by its handle."""

    __pydantic_config__ = STRICT

    id: Literal["nft.delete"] = "nft.delete"
    family: Literal["ip", "ip6", "inet", "arp", "bridge", "netdev"]
    table: str
    chain: str
    handle: int

    def __post_init__(self) -> None:
        parameters.word(self.family)
        parameters.name(self.table)
        parameters.name(self.chain)
        parameters.within(self.handle, 1, 2**63 - 1)

    def _commands(self) -> tuple[Command, ...]:
        return (("nft", "delete", "rule", self.family, self.table, self.chain, "handle", str(self.handle)),)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterAccept(Change):
    """Accept some packets that come in by an interface, in front of all other rules of a chain of nftables."""

    __pydantic_config__ = STRICT

    id: Literal["nft.accept"] = "nft.accept"
    family: Literal["ip", "ip6", "inet"]
    table: str
    chain: str
    interface: str
    source: str | None = None
    protocol: Literal["udp", "tcp"] | None = None
    port: int | None = None

    def __post_init__(self) -> None:
        parameters.word(self.family)
        parameters.name(self.table)
        parameters.name(self.chain)
        parameters.interface(self.interface)
        if self.source is not None:
            parameters.address(self.source)
        if self.protocol not in (None, "udp", "tcp") or (self.protocol is None) != (self.port is None):
            raise ValueError("a port goes with udp or tcp")
        if self.port is not None:
            parameters.within(self.port, 1, 65535)

    def _commands(self) -> tuple[Command, ...]:
        source = ("ip6" if ":" in self.source else "ip", "saddr", self.source) if self.source else ()
        port = (self.protocol, "dport", str(self.port)) if self.protocol else ()
        where = ("nft", "insert", "rule", self.family, self.table, self.chain)
        return ((*where, "iifname", self.interface, *source, *port, "accept"),)
