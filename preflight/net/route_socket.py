"""One netlink socket for questions about routes, by the standard library alone; no privilege is needed."""

import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from preflight.model.flow import Flow
from preflight.proto.way.route_messages import RouteAnswer, question, read_answer

if TYPE_CHECKING:
    from typing import Self

ANSWER_BYTES: Final = 65536
PATIENCE_S: Final = 1.0


class RouteSocket:
    """Asks one question after another. Raises OSError where the kernel has none."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.settimeout(PATIENCE_S)
        self._number = 0

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _ask(self, flow: Flow, flags: int, *, bound_to: int | None = None, incoming: int | None = None) -> RouteAnswer:
        """How the kernel routes a flow. Raises OSError with the kernel's error, and TimeoutError if no answer comes.

        bound_to, incoming: indexes of the socket's device, and of one to come in by.
        """
        self._number += 1
        self._socket.sendto(question(flow, self._number, flags, bound_to=bound_to, incoming=incoming), (0, 0))
        while True:
            found = read_answer(self._socket.recv(ANSWER_BYTES), self._number)
            if isinstance(found, RouteAnswer):
                return found
            if found is not None:
                raise OSError(found, os.strerror(found))


def name_of(index: int | None) -> str | None:
    """An interface's name; None if it has gone since the kernel answered."""
    if index:
        with suppress(OSError):
            return socket.if_indextoname(index)
    return None
