"""Values of which only some bits are known, and what follows from comparing them: yes, no, or maybe."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Self


class Tri(IntEnum):
    """Whether something holds: no, maybe, or yes."""

    NO = 0
    MAYBE = 1
    YES = 2

    def __invert__(self) -> "Tri":
        """Whether it does not hold."""
        return Tri(2 - self)

    def __and__(self, other: int) -> "Tri":
        """Whether both hold."""
        return Tri(min(int(self), other))

    def __or__(self, other: int) -> "Tri":
        """Whether one of them holds."""
        return Tri(max(int(self), other))


def certainly(holds: bool) -> Tri:
    """What is known for sure."""
    return Tri.YES if holds else Tri.NO


def any_of(those: Iterable[Tri]) -> Tri:
    """Whether one of them holds."""
    return max(those, default=Tri.NO)


@dataclass(frozen=True, slots=True)
class Bits:
    """A value in the order of the wire. known: a 1 for every bit that is known; the other bits of `value` are 0."""

    value: bytes
    known: bytes

    @classmethod
    def of(cls, value: bytes) -> Self:
        """A value that is known."""
        return cls(value, b"\xff" * len(value))

    @classmethod
    def unknown(cls, length: int) -> Self:
        """A value of which nothing is known."""
        return cls(bytes(length), bytes(length))

    def __len__(self) -> int:
        return len(self.value)

    def __add__(self, other: "Bits") -> "Bits":
        return Bits(self.value + other.value, self.known + other.known)

    @property
    def is_known(self) -> bool:
        """Whether every bit of it is."""
        return all(byte == 0xFF for byte in self.known)

    def part(self, start: int, length: int) -> "Bits":
        """Some of its bytes; those behind its last one are unknown."""
        cut = Bits(self.value[start : start + length], self.known[start : start + length])
        return cut + Bits.unknown(length - len(cut))

    def masked(self, mask: bytes, flipped: bytes) -> "Bits":
        """`(value & mask) ^ flipped`: what the mask clears is known."""
        known = bytes(have | (~each & 0xFF) for have, each in zip(self.known, mask, strict=True))
        joined = zip(self.value, mask, flipped, known, strict=True)
        return Bits(bytes(((have & each) ^ flip) & sure for have, each, flip, sure in joined), known)

    def swapped(self, size: int) -> "Bits":
        """With the bytes of every group of `size` in the other order."""
        return Bits(_swapped(self.value, size), _swapped(self.known, size))

    def equals(self, wanted: bytes) -> Tri:
        """Whether it is this value, in all of that one's bytes."""
        pairs = zip(self.value, self.known, wanted, strict=False)
        if any(have != (want & sure) for have, sure, want in pairs):
            return Tri.NO
        return certainly(all(byte == 0xFF for byte in self.known[: len(wanted)])) or Tri.MAYBE

    def at_least(self, wanted: bytes) -> Tri:
        """Whether it is not below this value, as numbers in the order of the wire."""
        if self._lowest(len(wanted)) >= wanted:
            return Tri.YES
        return Tri.MAYBE if self._highest(len(wanted)) >= wanted else Tri.NO

    def at_most(self, wanted: bytes) -> Tri:
        """Whether it is not above this value."""
        if self._highest(len(wanted)) <= wanted:
            return Tri.YES
        return Tri.MAYBE if self._lowest(len(wanted)) <= wanted else Tri.NO

    def _lowest(self, length: int) -> bytes:
        return self.value[:length]

    def _highest(self, length: int) -> bytes:
        pairs = zip(self.value, self.known, strict=True)
        return bytes(have | (~sure & 0xFF) for have, sure in pairs)[:length]


def _swapped(data: bytes, size: int) -> bytes:
    return b"".join(data[start : start + size][::-1] for start in range(0, len(data), size))
