"""Fixes of what decides where packets go: policy rules, refusing routes, addresses, neighbours and queues."""

from dataclasses import dataclass
from typing import Literal

from preflight.model import parameters
from preflight.model.change import STRICT, Change, Command

HIGHEST = 2**32 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRule(Change):
    """Add or delete one rule of policy routing.

    does: `lookup` with a table, or how it refuses. inverted: it is for what the selectors do not fit. protocol: its
    number in the IP header. A rule is added again, to undo a deletion, with all that it selects by.
    """

    __pydantic_config__ = STRICT

    id: Literal["rule"] = "rule"
    action: Literal["add", "del"]
    family: Literal["-4", "-6"]
    priority: int
    does: Literal["lookup", "blackhole", "unreachable", "prohibit"]
    table: int | None = None
    source: str | None = None
    destination: str | None = None
    mark: int | None = None
    inverted: bool = False
    protocol: int | None = None
    source_port: int | None = None
    destination_port: int | None = None

    def __post_init__(self) -> None:
        if self.action not in ("add", "del") or self.family not in ("-4", "-6"):
            raise ValueError("a rule is added or deleted, for one family")
        if self.does not in ("lookup", "blackhole", "unreachable", "prohibit"):
            raise ValueError(f"{self.does!r} is not what a rule does")
        if (self.does == "lookup") != (self.table is not None):
            raise ValueError("a table goes with a look-up")
        parameters.within(self.priority, 0, HIGHEST)
        if self.table is not None:
            parameters.within(self.table, 1, HIGHEST)
        if self.mark is not None:
            parameters.within(self.mark, 1, HIGHEST)
        for network in (self.source, self.destination):
            if network is not None:
                parameters.network(network)
        for number, most in ((self.protocol, 255), (self.source_port, 65535), (self.destination_port, 65535)):
            if number is not None:
                parameters.within(number, 1, most)

    def _commands(self) -> tuple[Command, ...]:
        addresses = (("from", self.source), ("to", self.destination), ("fwmark", self.mark))
        ports = (("ipproto", self.protocol), ("sport", self.source_port), ("dport", self.destination_port))
        known = (*addresses, *ports)
        selectors = [text for word, value in known if value is not None for text in (word, str(value))]
        does = ("lookup", str(self.table)) if self.does == "lookup" else (self.does,)
        inverted = ("not",) if self.inverted else ()
        words = ("rule", self.action, *inverted, *selectors, "pref", str(self.priority), *does)
        return (("ip", self.family, *words),)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalDelete(Change):
    """Delete a route that refuses."""

    __pydantic_config__ = STRICT

    id: Literal["route.refusal"] = "route.refusal"
    kind: Literal["blackhole", "unreachable", "prohibit"]
    destination: str
    table: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("blackhole", "unreachable", "prohibit"):
            raise ValueError(f"{self.kind!r} does not refuse")
        parameters.network(self.destination)
        if self.table is not None:
            parameters.within(self.table, 1, HIGHEST)

    @property
    def entry(self) -> Command:
        """The words by which `ip route` finds it."""
        return (self.kind, self.destination, *(() if self.table is None else ("table", str(self.table))))

    @property
    def family(self) -> str:
        """The option of ip(8) for its family."""
        return "-6" if ":" in self.destination else "-4"

    def _commands(self) -> tuple[Command, ...]:
        return (("ip", self.family, "route", "del", *self.entry),)


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressDelete(Change):
    """Take one address off an interface."""

    __pydantic_config__ = STRICT

    id: Literal["address.delete"] = "address.delete"
    interface: str
    address: str

    def __post_init__(self) -> None:
        parameters.interface(self.interface)
        parameters.interface_address(self.address)

    def _commands(self) -> tuple[Command, ...]:
        return (("ip", "address", "del", self.address, "dev", self.interface),)


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourDelete(Change):
    """Delete what a person wrote about a neighbour, so that the kernel asks again."""

    __pydantic_config__ = STRICT

    id: Literal["neighbour.delete"] = "neighbour.delete"
    interface: str
    address: str

    def __post_init__(self) -> None:
        parameters.interface(self.interface)
        parameters.address(self.address)

    def _commands(self) -> tuple[Command, ...]:
        return (("ip", "neighbour", "del", self.address, "dev", self.interface),)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardingEntry(Change):
    """Say at which host of the underlay a VXLAN has the machine with a hardware address."""

    __pydantic_config__ = STRICT

    id: Literal["vxlan.entry"] = "vxlan.entry"
    interface: str
    hardware: str
    address: str

    def __post_init__(self) -> None:
        parameters.interface(self.interface)
        parameters.hardware(self.hardware)
        parameters.address(self.address)

    def _commands(self) -> tuple[Command, ...]:
        to = ("dev", self.interface, "dst", self.address)
        return (("bridge", "fdb", "replace", self.hardware, *to, "self", "permanent"),)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueDelete(Change):
    """Give an interface the kernel's own queue again."""

    __pydantic_config__ = STRICT

    id: Literal["queue.delete"] = "queue.delete"
    interface: str

    def __post_init__(self) -> None:
        parameters.interface(self.interface)

    def _commands(self) -> tuple[Command, ...]:
        return (("tc", "qdisc", "del", "dev", self.interface, "root"),)


@dataclass(frozen=True, slots=True, kw_only=True)
class IpsecPolicyDelete(Change):
    """Delete a policy of IPsec that blocks.

    protocol, source_port, destination_port: None for any. priority: what it had, for the way back.
    """

    __pydantic_config__ = STRICT

    id: Literal["ipsec.policy-delete"] = "ipsec.policy-delete"
    direction: Literal["in", "out"]
    source: str
    destination: str
    protocol: int | None = None
    source_port: int | None = None
    destination_port: int | None = None
    priority: int = 0

    def __post_init__(self) -> None:
        parameters.one_of(self.direction, ("in", "out"))
        parameters.network(self.source)
        parameters.network(self.destination)
        for number, most in ((self.protocol, 255), (self.source_port, 65535), (self.destination_port, 65535)):
            if number is not None:
                parameters.within(number, 1, most)
        parameters.within(self.priority, 0, 2**32 - 1)

    @property
    def selector(self) -> Command:
        """The words by which `ip xfrm policy` finds it."""
        limits = (("proto", self.protocol), ("sport", self.source_port), ("dport", self.destination_port))
        more = [text for word, value in limits if value is not None for text in (word, str(value))]
        return ("src", self.source, "dst", self.destination, *more, "dir", self.direction)

    def _commands(self) -> tuple[Command, ...]:
        return (("ip", "xfrm", "policy", "delete", *self.selector),)
