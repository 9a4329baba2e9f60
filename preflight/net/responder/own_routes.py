"""The routes and addresses of this host, asked of rtnetlink by the standard library alone; no privilege is needed."""

import errno
import os
from ipaddress import ip_address

from preflight.model.flow import Flow
from preflight.model.kernel import VRF
from preflight.net.host_state import needs_linux
from preflight.net.route_socket import ANSWER_BYTES, RouteSocket
from preflight.proto.way.address_messages import (
    Device,
    addresses_question,
    device_question,
    read_device,
    read_holder,
)
from preflight.proto.way.route_messages import LOOKUP_TABLE, RouteAnswer


class OwnRoutes(RouteSocket):
    """One netlink socket for a few questions. Raises NeedsPlatform outside Linux, and OSError."""

    def __init__(self) -> None:
        needs_linux()
        super().__init__()

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
            answer = self._ask(flow, LOOKUP_TABLE)
            device = self.device(answer.interface) if answer.interface else None
            if device is not None and device.kind == VRF and answer.type == "unicast":
                answer = self._ask(flow, LOOKUP_TABLE, bound_to=answer.interface)
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
            self._ask(Flow(source=source, destination=address), LOOKUP_TABLE, incoming=interface)
        except OSError as error:
            # Linux 6.13 and newer report EINVAL for every reason to drop; before, EXDEV meant the filter.
            return error.errno in (errno.EXDEV, errno.EINVAL)
        return False
