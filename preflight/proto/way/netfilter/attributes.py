"""Attributes of netlink: what the kernel writes its answers in."""

import struct
from collections.abc import Iterator

_HEAD = struct.Struct("=HH")
_TYPE = 0x3FFF
"""Without the flags for nested and for network byte order."""


def each(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and value of every attribute. Raises ValueError for a length that does not fit."""
    start, end = 0, len(data)
    while start + 4 <= end:
        length, kind = _HEAD.unpack_from(data, start)
        if not 4 <= length <= end - start:
            raise ValueError("an attribute of netlink is cut short")
        yield kind & _TYPE, data[start + 4 : start + length]
        start += (length + 3) & ~3


def table(data: bytes) -> dict[int, bytes]:
    """All attributes by type."""
    return dict(each(data))


def attribute(kind: int, value: bytes, *, nested: bool = False) -> bytes:
    """One attribute as the kernel reads it, filled up to a multiple of 4 bytes."""
    head = struct.pack("=HH", 4 + len(value), kind | (0x8000 if nested else 0))
    return head + value + bytes(-len(value) % 4)


def number(data: bytes | None, default: int = 0) -> int:
    """A whole number in network byte order."""
    return default if data is None else int.from_bytes(data, "big")


def text(data: bytes | None) -> str:
    """A string that ends with a zero byte."""
    return "" if data is None else data.partition(b"\0")[0].decode("utf-8", "replace")
