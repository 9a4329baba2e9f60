"""A packet as a firewall sees it: its headers, devices, mark and tracking, with what is not known of it."""

import struct
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal

from preflight.model.flow import Flow
from preflight.proto.way.netfilter.bits import Bits
from preflight.proto.way.netfilter.ruleset import Hook

State = Literal["new", "established", "untracked", "invalid"]
"""What connection tracking says of a packet; invalid also where it has not looked yet."""
STATES: Mapping[State, int] = {"invalid": 1, "established": 2, "new": 8, "untracked": 64}
"""As the bits of nftables."""
TRACKING = -200
"""The priority at which connection tracking looks."""
_NUMBERS = {"udp": 17, "tcp": 6}
_ETHERTYPES = {False: 0x0800, True: 0x86DD}
_IPV4, _IPV6, _ICMP, _ICMPV6 = 2, 10, 1, 58
_LONGEST_NAME = 16
_HEADERS = {False: 20, True: 40}
ADDRESS_AT = {False: (12, 16, 4), True: (8, 24, 16)}
"""Where source and destination are in the network header, and how long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """One packet of a flow at a hook. mark: in the order of this machine. arrived: it is for this node, or passes it.

    state: None if it may be untracked. priority: of the chain that looks at it. devices: the numbers of interfaces.
    """

    flow: Flow
    hook: Hook
    mark: Bits
    state: State | None = "new"
    priority: int = 0
    devices: Mapping[str, int]

    @property
    def sent(self) -> bool:
        """Whether a socket of this node sent it."""
        return self.flow.interface_in is None

    @property
    def protocol(self) -> int:
        """The number of its protocol."""
        return _NUMBERS.get(self.flow.protocol, _ICMPV6 if self.flow.is_ipv6 else _ICMP)

    @property
    def is_early(self) -> bool:
        """Whether the chain looks at it before connection tracking does."""
        return self.hook == "ingress" or (self.hook in ("prerouting", "output") and self.priority <= TRACKING)

    @property
    def seen_state(self) -> State | None:
        """What its tracking is where the chain looks at it: before it was looked up, invalid."""
        return "invalid" if self.is_early and self.state not in ("untracked", None) else self.state


def in_host_order(number: int) -> Bits:
    """A number of 4 bytes as this machine keeps it."""
    return Bits.of(number.to_bytes(4, sys.byteorder))


def padded(name: str) -> bytes:
    """The name of a device as the kernel keeps it."""
    return name.encode()[:_LONGEST_NAME].ljust(_LONGEST_NAME, b"\0")


def network_header(packet: Packet) -> Bits:
    """The header of IPv4 without options, or that of IPv6 without extensions."""
    flow = packet.flow
    addresses = _address(flow.source, flow) + _address(flow.destination, flow)
    length = flow.length_bytes
    if flow.is_ipv6:
        begins = Bits(b"\x60\0\0\0", b"\xf0\0\0\0") + Bits.of(struct.pack("!HB", length - 40, packet.protocol))
        return begins + Bits.unknown(1) + addresses
    begins = Bits.of(b"\x45") + Bits.unknown(1) + Bits.of(struct.pack("!H", length)) + Bits.unknown(5)
    return begins + Bits.of(bytes((packet.protocol,))) + Bits.unknown(2) + addresses


def _address(address: str, flow: Flow) -> Bits:
    """An address; unknown where the kernel still has to choose it."""
    return Bits.of(ip_address(address).packed) if address else Bits.unknown(16 if flow.is_ipv6 else 4)


def transport_header(packet: Packet) -> Bits:
    """The ports, and the length of UDP, or type and code of an echo; all behind that is unknown."""
    flow = packet.flow
    if flow.protocol == "icmp":
        return Bits.unknown(0) if flow.icmp_type is None else Bits.of(bytes((flow.icmp_type, 0)))
    ports = _port(flow.source_port) + _port(flow.destination_port)
    if flow.protocol == "tcp":
        return ports
    return ports + Bits.of(struct.pack("!H", flow.length_bytes - _HEADERS[flow.is_ipv6]))


def _port(port: int | None) -> Bits:
    return Bits.unknown(2) if port is None else Bits.of(struct.pack("!H", port))


def payload(packet: Packet, base: int, offset: int, length: int) -> Bits:
    """Bytes of the packet. base: 1 for the network header, 2 for that of the transport; unknown for any other."""
    if base == 1:
        header = network_header(packet)
        return (header + transport_header(packet)).part(offset, length)
    return transport_header(packet).part(offset, length) if base == 2 else Bits.unknown(length)


def meta(packet: Packet, key: int) -> Bits | None:
    """What nftables calls meta; None where it is not known, or not known to be there."""
    read = _META.get(key)
    return None if read is None else read(packet)


def _device_number(packet: Packet, name: str | None) -> Bits | None:
    if name is None:
        return in_host_order(0)
    number = packet.devices.get(name)
    return None if number is None else in_host_order(number)


def _owner(packet: Packet) -> Bits | None:
    return in_host_order(packet.flow.uid) if packet.sent and packet.hook in ("output", "postrouting") else None


def _name_in(packet: Packet) -> Bits | None:
    return Bits.of(padded(packet.flow.interface_in or ""))


def _name_out(packet: Packet) -> Bits | None:
    return Bits.of(padded(device_out(packet) or ""))


def device_out(packet: Packet) -> str | None:
    """The device that it leaves by, where that is known already."""
    early = packet.hook in ("ingress", "prerouting", "input")
    return None if early else packet.flow.interface_out


_META: Mapping[int, Callable[[Packet], Bits | None]] = {
    0: lambda packet: in_host_order(packet.flow.length_bytes),
    1: lambda packet: Bits.of(struct.pack("!H", _ETHERTYPES[packet.flow.is_ipv6])),
    3: lambda packet: packet.mark,
    4: lambda packet: _device_number(packet, packet.flow.interface_in),
    5: lambda packet: _device_number(packet, device_out(packet)),
    6: _name_in,
    7: _name_out,
    10: _owner,
    15: lambda packet: Bits.of(bytes((_IPV6 if packet.flow.is_ipv6 else _IPV4,))),
    16: lambda packet: Bits.of(bytes((packet.protocol,))),
}
"""By the keys of linux/netfilter/nf_tables.h: length, protocol, mark, devices by number and name, uid, family, and the
protocol of layer 4."""


def address_type(packet: Packet, *, of_source: bool) -> int | None:
    """Whether an address is one of this node's (2) or not (1), as routes name it; None where nobody asked."""
    if packet.sent:
        return 2 if of_source else 1
    if packet.flow.interface_out is not None:
        return 1
    return 1 if of_source else 2
