"""Two short questions to rtnetlink(7): which interface holds an address, and of what kind an interface is. Pure.

The responder in one file has the standard library alone, so this is here and not a library's.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from preflight.proto.way.netfilter.attributes import table, text

GETLINK: Final = 18
GETADDR: Final = 22
_NEWLINK, _NEWADDR = 16, 20
_ERROR, _DONE = 2, 3
_REQUEST, _DUMP = 0x1, 0x300
_LOOPBACK = 0x8
_HEADER = struct.Struct("=IHHII")
_ADDRESS = struct.Struct("=BBBBI")
_LINK = struct.Struct("=BxHiII")
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_IFLA_LINKINFO, _IFLA_INFO_KIND = 18, 1


@dataclass(frozen=True, slots=True)
class Device:
    """An interface. kind: the driver's name as `ip -d link` shows it, empty for hardware."""

    loopback: bool
    kind: str


def addresses_question(number: int) -> bytes:
    """Ask for all addresses of this namespace."""
    return _HEADER.pack(_HEADER.size + _ADDRESS.size, GETADDR, _REQUEST | _DUMP, number, 0) + bytes(_ADDRESS.size)


def device_question(number: int, index: int) -> bytes:
    """Ask for one interface."""
    return _HEADER.pack(_HEADER.size + _LINK.size, GETLINK, _REQUEST, number, 0) + _LINK.pack(0, 0, index, 0, 0)


def read_holder(data: bytes, number: int, address: bytes) -> tuple[int | None, bool]:
    """The index of the interface that holds a packed address, if this part of the answer names it; and whether it ends.

    On a point-to-point link IFA_ADDRESS is the other side; the own one is IFA_LOCAL, which IPv6 has only there.
    """
    for kind, body in _messages(data, number):
        if kind in (_DONE, _ERROR):
            return None, True
        if kind == _NEWADDR:
            found = table(body[_ADDRESS.size :])
            if (found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS)) == address:
                return int(_ADDRESS.unpack_from(body)[4]), False
    return None, False


def read_device(data: bytes, number: int) -> Device | None:
    """The interface that was asked for; None if there is none."""
    for kind, body in _messages(data, number):
        if kind == _NEWLINK:
            flags = _LINK.unpack_from(body)[3]
            about = table(table(body[_LINK.size :]).get(_IFLA_LINKINFO, b""))
            return Device(bool(flags & _LOOPBACK), text(about.get(_IFLA_INFO_KIND)))
    return None


def _messages(data: bytes, number: int) -> Iterator[tuple[int, bytes]]:
    """Type and body of each message that answers the question of this number."""
    while len(data) >= _HEADER.size:
        length, kind, _, about, _ = _HEADER.unpack_from(data)
        if length < _HEADER.size:
            return
        if about == number:
            yield kind, data[_HEADER.size : length]
        data = data[(length + 3) & ~3 :]
