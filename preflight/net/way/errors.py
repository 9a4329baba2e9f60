"""ICMP errors about a tunnel's own packets while a burst runs: the daemon's socket keeps them to itself."""

import socket
from types import TracebackType
from typing import Self

from preflight.model.event import Listener, telling
from preflight.model.flow import Flow
from preflight.model.outer_error import OuterError
from preflight.model.routing import protocol_number, same_address
from preflight.net.udp import family_of, waiting
from preflight.net.way.raw_icmp import open_raw_icmp
from preflight.proto.way.outer_packets import read_error


class OuterErrors:
    """`with OuterErrors(flow) as errors:` around a burst, then `errors.taken()`.

    flow: the tunnel's own packets. A run needs no loop for it: the kernel keeps what comes in. Raises PermissionError
    without CAP_NET_RAW when it is entered.
    """

    def __init__(self, flow: Flow, listener: Listener | None = None) -> None:
        self._flow = flow
        self._tell = telling(listener, "way.errors", flow.destination)
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        self._socket = open_raw_icmp(family_of(self._flow.destination))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._socket is not None:
            self._socket.close()

    def taken(self) -> tuple[OuterError, ...]:
        """The errors about the flow so far, each once, in the order of their arrival."""
        if self._socket is None:
            return ()
        received = (read_error(each.data, each.source[0]) for each in waiting(self._socket))
        return tuple(error for error in received if error is not None and self._is_about_it(error))

    def _is_about_it(self, error: OuterError) -> bool:
        ports = (error.source_port, error.destination_port)
        wanted = (self._flow.source_port, self._flow.destination_port)
        same = all(one in (None, other) for one, other in zip(wanted, ports, strict=True))
        return (
            same
            and error.protocol == protocol_number(self._flow)
            and same_address(error.destination, self._flow.destination)
        )
