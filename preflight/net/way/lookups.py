"""Route look-ups with everything that a rule may select by: mark, user, protocol, ports, source and device.

Two short questions on one netlink socket for each flow, which needs no privilege.
"""

import errno
import os
import socket

from preflight.model.flow import Flow
from preflight.model.routing import Arrival, Lookup
from preflight.net.route_socket import RouteSocket, name_of
from preflight.proto.way.route_messages import FIB_MATCH, LOOKUP_TABLE, REFUSALS


class Lookups(RouteSocket):
    """One netlink socket for many questions. Raises OSError where the kernel has none.

    vrfs: the names of VRFs' devices. What such a device sends is routed in its own table, so it is asked about again.
    """

    def __init__(self, vrfs: frozenset[str] = frozenset()) -> None:
        super().__init__()
        self._vrfs = vrfs

    def leaving(self, flow: Flow, bound_to: str | None = None) -> Lookup:
        """What happens to packets of a flow that this node sends. bound_to: the device that the socket is bound to."""
        try:
            device = socket.if_nametoindex(bound_to) if bound_to else None
            decided = self._ask(flow, LOOKUP_TABLE, bound_to=device)
            entry = self._ask(flow, LOOKUP_TABLE | FIB_MATCH, bound_to=device)
        except OSError as error:
            number = error.errno or errno.EIO
            return Lookup(flow=flow, type=REFUSALS.get(number, "other"), error=os.strerror(number))
        interface = name_of(decided.interface)
        if interface in self._vrfs and decided.type == "unicast" and bound_to is None:
            return self.leaving(flow, interface)
        return Lookup(
            flow=flow,
            type=decided.type,
            interface=interface,
            gateway=decided.gateway,
            source=decided.source,
            table=entry.table,
            matched=entry.destination,
        )

    def arriving(self, flow: Flow) -> Arrival | None:
        """Whether the kernel lets a flow in by `flow.interface_in`; None where it cannot be asked.

        IPv6 has no reverse-path filter, and Linux 6.13 and newer report EINVAL for each reason to drop; before, EXDEV
        was the filter's.
        """
        try:
            device = socket.if_nametoindex(flow.interface_in or "")
        except OSError:
            return None
        try:
            self._ask(flow, 0, incoming=device)
        except OSError as error:
            return Arrival(flow=flow, refused=error.errno in (errno.EXDEV, errno.EINVAL))
        return Arrival(flow=flow, refused=False)
