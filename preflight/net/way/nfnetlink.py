"""Netlink of the kernel's firewall: dumps and questions, each answered before the next one is asked."""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import Self

from preflight.proto.way.netfilter.nftables import Message

NETFILTER = 12
NFTABLES, CONNTRACK = 10, 1
"""Parts of the kernel that answer."""
_REQUEST, _DUMP = 0x1, 0x300
_ERROR, _DONE = 2, 3
_INTERRUPTED = 0x10
_HEADER = struct.Struct("=IHHII")
_BUFFER = 1 << 18
_ANSWER_S = 1.0


class ChangedError(Exception):
    """What was being read changed meanwhile."""


class Nfnetlink:
    """One socket in the network namespace of the thread that opens it. Raises OSError if the kernel refuses."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETFILTER)
        self._socket.settimeout(_ANSWER_S)
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def dump(self, part: int, kind: int, attributes: bytes = b"", family: int = socket.AF_UNSPEC) -> list[Message]:
        """Everything of a kind. Raises OSError for a refusal, ChangedError if it changed while it was read."""
        return list(self._asked(part, kind, attributes, family, _DUMP))

    def one(self, part: int, kind: int, attributes: bytes, family: int) -> Message | None:
        """The only answer to a question; None if there is no such thing. Raises OSError for any other refusal."""
        try:
            return next(self._asked(part, kind, attributes, family, 0))
        except FileNotFoundError:
            return None

    def _asked(self, part: int, kind: int, attributes: bytes, family: int, flags: int) -> Iterator[Message]:
        self._sequence += 1
        body = struct.pack("!BBH", family, 0, 0) + attributes
        head = _HEADER.pack(_HEADER.size + len(body), part << 8 | kind, _REQUEST | flags, self._sequence, 0)
        self._socket.send(head + body)
        while True:
            data = self._socket.recv(_BUFFER)
            while len(data) >= _HEADER.size:
                length, number, marks, sequence, _ = _HEADER.unpack_from(data)
                if not _HEADER.size <= length <= len(data):
                    raise OSError(errno.EBADMSG, "an answer of the kernel is cut short")
                body, data = data[_HEADER.size : length], data[(length + 3) & ~3 :]
                if sequence != self._sequence:
                    continue
                if marks & _INTERRUPTED:
                    raise ChangedError
                if number in (_ERROR, _DONE):
                    _raise(body)
                    return
                yield Message(number & 0xFF, body[0], body[4:])
                if not flags:
                    return


def _raise(body: bytes) -> None:
    code = -struct.unpack_from("=i", body)[0] if len(body) >= 4 else 0
    if code:
        raise OSError(code, os.strerror(code))
