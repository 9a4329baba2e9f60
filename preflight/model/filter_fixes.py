"""Fixes of firewalls that let exactly some packets pass."""

from dataclasses import dataclass
from typing import Literal

from preflight.model import parameters
from preflight.model.change import STRICT, Change, Command


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pass(Change):
    """Let exactly some packets pass a firewall. What is None is not looked at.

    interface_in, interface_out: the devices that they come in and leave by. protocol: with at most one of the ports;
    ICMPv6 as a whole, without which IPv6 finds no neighbour.
    """

    table: str
    chain: str
    interface_in: str | None = None
    interface_out: str | None = None
    source: str | None = None
    destination: str | None = None
    protocol: Literal["udp", "tcp", "ipv6-icmp"] | None = None
    source_port: int | None = None
    destination_port: int | None = None

    def __post_init__(self) -> None:
        parameters.name(self.table)
        parameters.name(self.chain)
        for device in (self.interface_in, self.interface_out):
            if device is not None:
                parameters.interface(device)
        for address in (self.source, self.destination):
            if address is not None:
                parameters.address(address)
        ports = [port for port in (self.source_port, self.destination_port) if port is not None]
        if self.protocol not in (None, "udp", "tcp", "ipv6-icmp") or (ports and self.protocol not in ("udp", "tcp")):
            raise ValueError("a port goes with udp or tcp")
        for port in ports:
            parameters.within(port, 1, 65535)
        everything = not ports and self.protocol != "ipv6-icmp"
        if everything and self.source is None and self.destination is None:
            raise ValueError("neither an address nor a port says which packets are meant")


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterPass(_Pass):
    """Let exactly some packets pass a chain of nftables: in front of one rule, or behind the last one.

    before: the handle of the rule; None for behind the last one, where the chain's policy drops them.
    """

    __pydantic_config__ = STRICT

    id: Literal["nft.pass"] = "nft.pass"
    family: Literal["ip", "ip6", "inet", "netdev"]
    before: int | None = None

    def __post_init__(self) -> None:
        _Pass.__post_init__(self)
        parameters.word(self.family)
        if self.before is not None:
            parameters.within(self.before, 1, 2**63 - 1)

    def _commands(self) -> tuple[Command, ...]:
        where = ("insert",) if self.before is not None else ("add",)
        place = ("position", str(self.before)) if self.before is not None else ()
        devices = (("iifname", self.interface_in), ("oifname", self.interface_out))
        addresses = (("saddr", self.source), ("daddr", self.destination))
        ports = (("sport", self.source_port), ("dport", self.destination_port))
        words = [word for name, device in devices if device for word in (name, device)]
        for name, address in addresses:
            words += ["ip6" if ":" in address else "ip", name, address] if address else []
        for name, port in ports:
            words += [str(self.protocol), name, str(port)] if port else []
        if self.protocol and not any(port for _, port in ports):
            words += ["meta", "l4proto", self.protocol]
        return (("nft", *where, "rule", self.family, self.table, self.chain, *place, *words, "accept"),)


@dataclass(frozen=True, slots=True, kw_only=True)
class IptablesPass(_Pass):
    """Let exactly some packets pass a chain of iptables-legacy: in front of one rule, or behind the last one.

    before: the number of the rule, from 1; None for behind the last one, where the chain's policy drops them.
    """

    __pydantic_config__ = STRICT

    id: Literal["iptables.pass"] = "iptables.pass"
    family: Literal["ip", "ip6"]
    before: int | None = None

    def __post_init__(self) -> None:
        _Pass.__post_init__(self)
        parameters.word(self.family)
        if self.before is not None:
            parameters.within(self.before, 1, 2**31 - 1)

    @property
    def program(self) -> tuple[str, ...]:
        """The program for the family, with the table."""
        return ("iptables-legacy" if self.family == "ip" else "ip6tables-legacy", "-w", "-t", self.table)

    @property
    def match(self) -> tuple[str, ...]:
        """The words of the rule."""
        options = (
            ("-i", self.interface_in),
            ("-o", self.interface_out),
            ("-s", self.source),
            ("-d", self.destination),
            ("-p", self.protocol),
            ("--sport", self.source_port),
            ("--dport", self.destination_port),
        )
        return (*(word for name, value in options if value is not None for word in (name, str(value))), "-j", "ACCEPT")

    def _commands(self) -> tuple[Command, ...]:
        where = ("-A", self.chain) if self.before is None else ("-I", self.chain, str(self.before))
        return ((*self.program, *where, *self.match),)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowForget(Change):
    """Let connection tracking forget the UDP flows with one host, so that the next packet passes the rules again.

    source, destination: of their first packet, with its port; None: any.
    """

    __pydantic_config__ = STRICT

    id: Literal["flow.forget"] = "flow.forget"
    source: str | None = None
    destination: str | None = None
    source_port: int | None = None
    destination_port: int | None = None

    def __post_init__(self) -> None:
        known = [address for address in (self.source, self.destination) if address is not None]
        if not known:
            raise ValueError("a flow has a source or a destination")
        for address in known:
            parameters.address(address)
        for port in (self.source_port, self.destination_port):
            if port is not None:
                parameters.within(port, 1, 65535)

    def _commands(self) -> tuple[Command, ...]:
        family = ("--family", "ipv6") if ":" in (self.source or self.destination or "") else ()
        known = (
            ("--orig-src", self.source),
            ("--orig-dst", self.destination),
            ("--orig-port-src", self.source_port),
            ("--orig-port-dst", self.destination_port),
        )
        words = [text for word, value in known if value is not None for text in (word, str(value))]
        return (("conntrack", "--delete", *family, "--proto", "udp", *words),)
