"""The routes and addresses of this host, asked of rtnetlink by the standard library alone; no privilege is needed."""

import errno
import os
import socket
from contextlib import suppress
from ipaddress import ip_address
from typing import Final

from preflight.model.flow import Flow
from preflight.model.kernel import VRF
from preflight.net.host_state import needs_linux
from preflight.proto.way.address_messages import (
    Device,
    addresses_question,
    device_question,
    read_device,
    read_holder,
)
from preflight.proto.way.route_messages import LOOKUP_TABLE, RouteAnswer, question, read_answer

ANSWER_BYTES: Final = 65536
PATIENCE_S: Final = 1.0


class OwnRoutes:
    """One netlink socket for a few questions. Raises NeedsPlatform outside Linux, and OSError."""

    def __init__(self) -> None:
        needs_linux()
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.settimeout(PATIENCE_S)
        self._number = 0

    def __enter__(self) -> "OwnRoutes":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def holder(self, address: str) -> int | None:
        """The index of the interface that holds an address."""
        wanted = ip_address(address.partition("%")[0]).packed
        self._number += 1
        self._socket.sendto(addresses_question(self._number), (0, 0))
        found: int | None = None
        ended = False
        while not ended:  # read all of it: nothing may be taken for the next answer
            index, ended = read_holder(self._socket.recv(ANSWER_BYTES), self._number, wanted)
            found = found or index
        return found

    def device(self, index: int) -> Device | None:
        """One interface; None if it has gone."""
        self._number += 1
        self._socket.sendto(device_question(self._number, index), (0, 0))
        return read_device(self._socket.recv(ANSWER_BYTES), self._number)

    def towards(self, address: str, source: str) -> RouteAnswer | None:
        """How packets from this host's own address `source` leave for another; None where the kernel refuses them.

        What goes into a VRF is routed again, in its table.
        """
        flow = Flow(source=source, destination=address, uid=os.getuid())
        try:
            answer = self._ask(flow)
            device = self.device(answer.interface) if answer.interface else None
            if device is not None and device.kind == VRF and answer.type == "unicast":
                answer = self._ask(flow, bound_to=answer.interface)
        except TimeoutError:
            raise
        except OSError:
            return None
        return answer

    def refuses(self, source: str, address: str, interface: int) -> bool:
        """Whether a packet from `source` to this host's `address` that comes in by an interface would be dropped.

        That is the reverse-path filter's verdict if the filter is on; the kernel gives it without a packet.
        """
        try:
            self._ask(Flow(source=source, destination=address), incoming=interface)
        except OSError as error:
            # Linux 6.13 and newer report EINVAL for every reason to drop; before, EXDEV meant the filter.
            return error.errno in (errno.EXDEV, errno.EINVAL)
        return False

    def _ask(self, flow: Flow, *, bound_to: int | None = None, incoming: int | None = None) -> RouteAnswer:
        """One answer. Raises OSError with the kernel's error, and TimeoutError if none comes."""
        self._number += 1
        self._socket.sendto(question(flow, self._number, LOOKUP_TABLE, bound_to=bound_to, incoming=incoming), (0, 0))
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
