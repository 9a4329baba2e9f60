"""The registers of nftables: 16 times 4 bytes. Some of their bits may not be known."""

from collections.abc import Mapping

from preflight.proto.way.netfilter.attributes import number
from preflight.proto.way.netfilter.bits import Bits

_WIDE, _NARROW, _BYTES = 16, 4, 64
_FIRST_NARROW = 8


def place(register: int) -> int:
    """Where a register begins: 1 to 4 have 16 bytes each, those from 8 on are their quarters."""
    return (register - 1) * _WIDE if register < _FIRST_NARROW else (register - _FIRST_NARROW) * _NARROW


class Registers:
    """Registers of one rule that runs; whatever no step has written is unknown."""

    def __init__(self) -> None:
        self._value, self._known = bytearray(_BYTES), bytearray(_BYTES)

    def read(self, register: bytes | None, length: int) -> Bits:
        """Bytes from the start of a register on."""
        start = place(number(register, 1))
        return Bits(bytes(self._value[start : start + length]), bytes(self._known[start : start + length]))

    def write(self, register: bytes | None, bits: Bits) -> None:
        """Write from the start of a register on; a value that ends within 4 bytes is filled with zeros."""
        start, filled = place(number(register, 1)), -len(bits) % _NARROW
        end = start + len(bits) + filled
        self._value[start:end] = bits.value + bytes(filled)
        self._known[start:end] = bits.known + b"\xff" * filled

    def write_unknown(self, register: bytes | None, length: int = _WIDE) -> None:
        """Forget what a register held."""
        start = place(number(register, 1))
        self.write(register, Bits.unknown(min(length, _BYTES - start)))


def length_of(found: Mapping[int, bytes], attribute: int, default: int = 4) -> int:
    """The length that an attribute gives."""
    return number(found.get(attribute), default)
