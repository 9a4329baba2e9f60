"""Netlink of the kernel's firewall: dumps and questions, each answered before the next one is asked."""

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from typing import Self

from preflight.proto.way.netfilter.nftables import Message

NETFILTER = 12
NFTABLES, CONNTRACK = 10, 1
"""Parts of the kernel that answer."""
_REQUEST, _DUMP = 0x1, 0x300
_ACKNOWLEDGE, _CREATE, _APPEND = 0x4, 0x400, 0x800
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_ERROR, _DONE = 2, 3
_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_REPORTS_BYTES = 1 << 20
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

    def make(self, part: int, batch: Iterable[tuple[int, bytes]], family: int) -> None:
        """Make some things, all or none. Raises OSError if the kernel refuses."""
        bounds = struct.pack("!BBH", socket.AF_UNSPEC, 0, part)
        first = self._sequence + 1
        request = self._message(_BATCH_BEGIN, _REQUEST, bounds)
        for kind, attributes in batch:
            body = struct.pack("!BBH", family, 0, 0) + attributes
            request += self._message(part << 8 | kind, _REQUEST | _CREATE | _APPEND | _ACKNOWLEDGE, body)
        last = self._sequence
        self._socket.send(request + self._message(_BATCH_END, _REQUEST, bounds))
        while True:
            data = self._socket.recv(_BUFFER)
            while len(data) >= _HEADER.size:
                length, number, _, sequence, _ = _HEADER.unpack_from(data)
                if number == _ERROR and sequence >= first:
                    _raise(data[_HEADER.size : length])
                data = data[(length + 3) & ~3 :]
                if sequence == last:
                    return

    def follow(self, group: int) -> None:
        """Get the kernel's reports to a group from now on; this socket asks nothing any more."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _REPORTS_BYTES)
        # An unbound socket has the number 0, as the kernel does, and the kernel sends nothing to itself.
        self._socket.bind((0, 0))
        self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
        self._socket.setblocking(False)

    def reports(self) -> tuple[list[Message], bool]:
        """The reports until now, and whether all of them are there: the kernel drops what nobody reads in time."""
        found: list[Message] = []
        complete = True
        while True:
            try:
                data = self._socket.recv(_BUFFER)
            except BlockingIOError:
                return found, complete
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                complete = False
                continue
            while len(data) >= _HEADER.size:
                length, number, _, _, _ = _HEADER.unpack_from(data)
                body, data = data[_HEADER.size : length], data[max(_HEADER.size, (length + 3) & ~3) :]
                found.append(Message(number & 0xFF, body[0], body[4:]))

    def one(self, part: int, kind: int, attributes: bytes, family: int) -> Message | None:
        """The only answer to a question; None if there is no such thing. Raises OSError for any other refusal."""
        try:
            return next(self._asked(part, kind, attributes, family, 0))
        except FileNotFoundError:
            return None

    def _asked(self, part: int, kind: int, attributes: bytes, family: int, flags: int) -> Iterator[Message]:
        body = struct.pack("!BBH", family, 0, 0) + attributes
        self._socket.send(self._message(part << 8 | kind, _REQUEST | flags, body))
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

    def _message(self, kind: int, flags: int, body: bytes) -> bytes:
        self._sequence += 1
        head = _HEADER.pack(_HEADER.size + len(body), kind, flags, self._sequence, 0)
        return head + body + bytes(-len(body) % 4)


def _raise(body: bytes) -> None:
    code = -struct.unpack_from("=i", body)[0] if len(body) >= 4 else 0
    if code:
        raise OSError(code, os.strerror(code))
