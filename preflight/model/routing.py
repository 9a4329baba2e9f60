"""What the kernel says of routes, rules, neighbours and arrivals, as plain data."""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal

from preflight.model.flow import Flow
from preflight.model.kernel import MAIN_TABLE
from preflight.model.overlay import IPNetwork

LOCAL_TABLE, DEFAULT_TABLE = 255, 253
MAIN_RULE = 32766
"""The priority of the rule that leads to the main table, on a machine where nobody has changed it."""

RouteType = Literal["unicast", "local", "broadcast", "blackhole", "unreachable", "prohibit", "throw", "none", "other"]
"""What an entry is; `none`: no entry leads to an address."""
REFUSING: tuple[RouteType, ...] = ("blackhole", "unreachable", "prohibit")
RuleAction = Literal["table", "goto", "nop", "blackhole", "unreachable", "prohibit"]
NeighbourState = Literal["incomplete", "reachable", "stale", "delay", "probe", "failed", "noarp", "permanent", "none"]
Range = tuple[int, int]

PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58}


def protocol_number(flow: Flow) -> int:
    """The number of a flow's protocol in its IP header."""
    return PROTOCOLS["icmpv6" if flow.protocol == "icmp" and flow.is_ipv6 else flow.protocol]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule of policy routing; what is None, and a mark without a mask, selects nothing.

    table: for the action `table`. goto: the priority that a `goto` leads to. suppress: the action `table` passes on
    what it finds with a prefix of at most this length (wg-quick: 0). l3mdev: the table is the VRF's.
    """

    version: int
    priority: int
    action: RuleAction = "table"
    table: int = 0
    source: IPNetwork | None = None
    destination: IPNetwork | None = None
    mark: int = 0
    mask: int = 0
    incoming: str | None = None
    outgoing: str | None = None
    uids: Range | None = None
    protocol: int | None = None
    source_ports: Range | None = None
    destination_ports: Range | None = None
    traffic_class: int = 0
    inverted: bool = False
    goto: int | None = None
    suppress: int | None = None
    l3mdev: bool = False

    @property
    def selectors(self) -> tuple[str, ...]:
        """What it selects, in the words of ip-rule(8)."""
        mark = f"{self.mark:#x}" if self.mask == 2**32 - 1 else f"{self.mark:#x}/{self.mask:#x}"
        ports = (("sport", self.source_ports), ("dport", self.destination_ports))
        known = (
            ("from", self.source),
            ("to", self.destination),
            ("tos", f"{self.traffic_class:#x}" if self.traffic_class else None),
            ("fwmark", mark if self.mask else None),
            ("iif", self.incoming),
            ("oif", self.outgoing),
            ("uidrange", "-".join(map(str, self.uids)) if self.uids else None),
            ("ipproto", self.protocol),
            *((word, "-".join(map(str, sorted({*each})))) for word, each in ports if each),
        )
        words = tuple(text for word, value in known if value is not None for text in (word, str(value)))
        return ("not", *words) if self.inverted else words

    def __str__(self) -> str:
        """In the form of `ip rule`."""
        does = {"table": f"lookup {table_name(self.table)}", "goto": f"goto {self.goto}"}.get(self.action, self.action)
        return " ".join((f"{self.priority}:", *(self.selectors or ("from all",)), does))


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of a routing table.

    source: the address that it chooses for packets. from_network: the sources that it is for (IPv6 only). dead: the
    kernel does not use it. hops: of an entry with several, each with device and gateway.
    """

    version: int
    table: int
    destination: IPNetwork
    type: RouteType = "unicast"
    interface: str | None = None
    gateway: str | None = None
    source: str | None = None
    metric: int = 0
    from_network: IPNetwork | None = None
    dead: bool = False
    hops: tuple[tuple[str | None, str | None], ...] = ()

    def __str__(self) -> str:
        """In the form of `ip route`."""
        kind = () if self.type == "unicast" else (self.type,)
        known = (("via", self.gateway), ("dev", self.interface), ("src", self.source))
        words = (text for word, value in known if value is not None for text in (word, value))
        table = () if self.table == MAIN_TABLE else ("table", table_name(self.table))
        return " ".join((*kind, shown_network(self.destination), *words, *table))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """What the kernel would do now with the packets of a flow that this node sends.

    type: what decided; `none` also where only a `throw` was found. error: the kernel's words, where it refuses. source:
    the address that packets would leave with. matched: the entry that decided; None where the kernel refuses.
    """

    flow: Flow
    type: RouteType = "unicast"
    interface: str | None = None
    gateway: str | None = None
    source: str | None = None
    table: int = MAIN_TABLE
    matched: IPNetwork | None = None
    error: str = ""

    @property
    def refused(self) -> bool:
        """Whether nothing leaves."""
        return self.type in (*REFUSING, "none", "other")

    @property
    def next_hop(self) -> str:
        """The neighbour that packets are handed to."""
        return self.gateway or self.flow.destination

    def __str__(self) -> str:
        """In the form of `ip route get`."""
        if self.refused:
            return self.error or self.type
        known = (("via", self.gateway), ("dev", self.interface), ("src", self.source))
        words = (text for word, value in known if value is not None for text in (word, value))
        table = () if self.table in (MAIN_TABLE, LOCAL_TABLE) else ("table", table_name(self.table))
        return " ".join((*words, *table))


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """Whether the kernel lets a packet in that comes to this node, by `flow.interface_in`.

    refused: it does not; the reverse-path filter is what says so, if it is on.
    """

    flow: Flow
    refused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """One entry of a neighbour table. probes: questions without an answer. router: it says that it is one (IPv6)."""

    interface: str
    address: str
    state: NeighbourState
    hardware: str | None = None
    probes: int = 0
    router: bool = False

    @property
    def fixed(self) -> bool:
        """Whether a person wrote it, so that the kernel never asks."""
        return self.state == "permanent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Who answered the question which hardware has an address on a link; empty: nobody within the time.

    hardware: the addresses of all that answered, in the order of their answers, without this node's.
    """

    interface: str
    address: str
    hardware: tuple[str, ...] = ()


def table_name(number: int) -> str:
    """A table as ip(8) calls it."""
    return {LOCAL_TABLE: "local", MAIN_TABLE: "main", DEFAULT_TABLE: "default"}.get(number, str(number))


def shown_network(network: IPNetwork) -> str:
    """A destination as `ip route` shows it."""
    if network.prefixlen == 0:
        return "default"
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def same_address(one: str | None, other: str | None) -> bool:
    """Whether two texts are the same address."""
    return one is not None and other is not None and ip_address(one) == ip_address(other)
