"""The kernel's filter of a tap: UDP on some ports, and ICMP errors about such packets, for IPv4 and IPv6."""

import socket
from collections.abc import Collection, Iterable
from ipaddress import ip_address
from typing import Final

from preflight.net import bpf
from preflight.net.bpf import Instruction

ETH_P_IP, ETH_P_IPV6 = 0x0800, 0x86DD
MOST_PORTS: Final = 32
MOST_ADDRESSES: Final = 32
_FRAGMENT = 44
_V4_ERRORS, _V6_ERRORS = (3, 11), (1, 2, 3, 4)
_NEXT = ""
_Step = tuple[int, str, str, int]
"""Code, the labels to go to if true and if false (empty: the next step), operand."""


class _Program:
    """Instructions with labels in the place of distances."""

    def __init__(self) -> None:
        self._steps: list[_Step] = []
        self._labels: dict[str, int] = {}

    def label(self, name: str) -> None:
        """The next step has this name."""
        self._labels[name] = len(self._steps)

    def load(self, code: int, operand: int) -> None:
        """Load a part of the packet, or the length of its header."""
        self._steps.append((code, _NEXT, _NEXT, operand))

    def equal(self, values: Iterable[int], then: str, otherwise: str) -> None:
        """Go to one label if what was loaded is one of the values, else to the other."""
        known = list(values)
        for value in known[:-1]:
            self._steps.append((bpf.EQUAL, then, _NEXT, value))
        if known:
            self._steps.append((bpf.EQUAL, then, otherwise, known[-1]))
        elif otherwise != _NEXT:
            self.jump(otherwise)

    def jump(self, to: str) -> None:
        """Go to a label, however far away it is."""
        self._steps.append((bpf.JUMP, to, _NEXT, 0))

    def end(self) -> None:
        """What is kept comes back whole. The labels `keep` and `drop` of the steps before lead here."""
        self._return("keep", bpf.WHOLE)
        self._return("drop", bpf.DROP)

    def _return(self, label: str, size: int) -> None:
        here = len(self._steps)
        for at, (code, then, otherwise, operand) in enumerate(self._steps):
            self._steps[at] = (code, _at(then, label, here), _at(otherwise, label, here), operand)
        self._labels[f"{label}{here}"] = here
        self._steps.append((bpf.RETURN, _NEXT, _NEXT, size))

    def any_bit(self, mask: int, then: str) -> None:
        """Go to a label if one of the bits is set."""
        self._steps.append((bpf.ANY_BIT, then, _NEXT, mask))

    def finish(self) -> list[Instruction]:
        """The instructions, once no label is missing."""
        return [self._instruction(at, *step) for at, step in enumerate(self._steps)]

    def _instruction(self, at: int, code: int, then: str, otherwise: str, operand: int) -> Instruction:
        if code == bpf.JUMP:
            return code, 0, 0, self._distance(at, then)
        return code, self._distance(at, then), self._distance(at, otherwise), operand

    def _distance(self, at: int, label: str) -> int:
        return self._labels[label] - at - 1 if label else 0


def _at(name: str, label: str, here: int) -> str:
    return f"{label}{here}" if name == label else name


def tap_filter(ports: Collection[int], addresses: Collection[str]) -> list[Instruction]:
    """UDP from or to these ports, later fragments between these addresses, and ICMP errors about such packets.

    At most `MOST_PORTS` and `MOST_ADDRESSES`: a jump is at most 255 instructions long. Raises ValueError beyond.
    """
    if len(ports) > MOST_PORTS or len(addresses) > MOST_ADDRESSES:
        raise ValueError("too many ports or addresses for one filter")
    program = _Program()
    program.load(bpf.LOAD_HALF, bpf.PROTOCOL_AT)
    program.equal([ETH_P_IP], "v4", _NEXT)
    program.jump("not v4")
    known = [ip_address(address) for address in addresses]
    _v4(program, sorted(ports), [int(each) for each in known if each.version == 4])
    _v6(program, sorted(ports), [int(each) & 0xFFFFFFFF for each in known if each.version == 6])
    return program.finish()


def error_filter() -> list[Instruction]:
    """ICMP errors, whatever they are about."""
    program = _Program()
    program.load(bpf.LOAD_HALF, bpf.PROTOCOL_AT)
    program.equal([ETH_P_IP], "v4", _NEXT)
    program.equal([ETH_P_IPV6], "v6", "drop")
    program.label("v4")
    program.load(bpf.LOAD_BYTE, 9)
    program.equal([socket.IPPROTO_ICMP], _NEXT, "drop")
    program.load(bpf.LOAD_HALF, 6)
    program.any_bit(0x1FFF, "drop")
    program.load(bpf.IP_HEADER_LENGTH, 0)
    program.load(bpf.LOAD_BYTE_BEHIND_HEADER, 0)
    program.equal(_V4_ERRORS, "keep", "drop")
    program.label("v6")
    program.load(bpf.LOAD_BYTE, 6)
    program.equal([socket.IPPROTO_ICMPV6], _NEXT, "drop")
    program.load(bpf.LOAD_BYTE, 40)
    program.equal(_V6_ERRORS, "keep", "drop")
    program.end()
    return program.finish()


def _v4(program: _Program, ports: list[int], addresses: list[int]) -> None:
    program.label("v4")
    program.load(bpf.LOAD_BYTE, 9)
    program.equal([socket.IPPROTO_UDP], "v4-udp", _NEXT)
    program.equal([socket.IPPROTO_ICMP], "v4-icmp", "drop")
    program.label("v4-udp")
    program.load(bpf.LOAD_HALF, 6)
    program.any_bit(0x1FFF, "v4-later")
    program.load(bpf.IP_HEADER_LENGTH, 0)
    _on_ports(program, ports, bpf.LOAD_HALF_BEHIND_HEADER, 0)
    program.label("v4-later")
    _on_addresses(program, addresses, (12, 16))
    program.label("v4-icmp")
    program.load(bpf.LOAD_HALF, 6)
    program.any_bit(0x1FFF, "drop")
    program.load(bpf.IP_HEADER_LENGTH, 0)
    program.load(bpf.LOAD_BYTE_BEHIND_HEADER, 0)
    program.equal(_V4_ERRORS, "v4-quoted", "drop")
    program.label("v4-quoted")
    program.load(bpf.LOAD_BYTE_BEHIND_HEADER, 8 + 9)
    program.equal([socket.IPPROTO_UDP], _NEXT, "drop")
    program.load(bpf.LOAD_BYTE_BEHIND_HEADER, 8)
    program.equal([0x45], _NEXT, "keep")  # with options the ports are elsewhere; hardly any packet has them
    _on_ports(program, ports, bpf.LOAD_HALF_BEHIND_HEADER, 8 + 20)
    program.end()


def _v6(program: _Program, ports: list[int], addresses: list[int]) -> None:
    program.label("not v4")
    program.equal([ETH_P_IPV6], _NEXT, "drop")
    program.load(bpf.LOAD_BYTE, 6)
    program.equal([socket.IPPROTO_UDP], "v6-udp", _NEXT)
    program.equal([_FRAGMENT], "v6-fragment", _NEXT)
    program.equal([socket.IPPROTO_ICMPV6], "v6-icmp", "drop")
    program.label("v6-udp")
    _on_ports(program, ports, bpf.LOAD_HALF, 40)
    program.label("v6-fragment")
    program.load(bpf.LOAD_BYTE, 40)
    program.equal([socket.IPPROTO_UDP], _NEXT, "drop")
    program.load(bpf.LOAD_HALF, 42)
    program.any_bit(0xFFF8, "v6-later")
    _on_ports(program, ports, bpf.LOAD_HALF, 48)
    program.label("v6-later")
    _on_addresses(program, addresses, (20, 36))  # the last four bytes of an address are enough to drop most others
    program.label("v6-icmp")
    program.load(bpf.LOAD_BYTE, 40)
    program.equal(_V6_ERRORS, "v6-quoted", "drop")
    program.label("v6-quoted")
    program.load(bpf.LOAD_BYTE, 54)
    program.equal([_FRAGMENT], "keep", _NEXT)
    program.equal([socket.IPPROTO_UDP], _NEXT, "drop")
    _on_ports(program, ports, bpf.LOAD_HALF, 88)
    program.end()


def _on_ports(program: _Program, ports: list[int], load: int, at: int) -> None:
    program.load(load, at)
    program.equal(ports, "keep", _NEXT)
    program.load(load, at + 2)
    program.equal(ports, "keep", "drop")


def _on_addresses(program: _Program, addresses: list[int], places: tuple[int, int]) -> None:
    for at in places:
        program.load(bpf.LOAD_WORD, at)
        program.equal(addresses, "keep", _NEXT if at == places[0] else "drop")
