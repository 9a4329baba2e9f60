"""Whether the host of a tunnel's endpoint says that no tunnel is there: nothing of the peer can come by it then."""

import asyncio
import socket
from time import monotonic
from types import TracebackType
from typing import Self

from preflight.model.outer_error import OuterError
from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.net.raw_icmp import open_raw_icmp
from preflight.net.udp import family_of
from preflight.proto.way.outer_packets import read_error

PORT_UNREACHABLE = frozenset({(3, 3), (1, 4)})
"""RFC 792, RFC 4443: the only error that a host itself gives for a port that nobody listens on."""
ENOUGH = 2
RECENT_S = 1.5
"""Linux gives one destination an error each second: who has given none for longer may have started its tunnel."""
MESSAGE_BYTES = 1024


class EndpointRefusals:
    """Counts them while it is open; use it by `with`. Without CAP_NET_RAW, and without such a tunnel, it hears none."""

    def __init__(self, tunnel: OverlayState | None, address: str) -> None:
        owner = tunnel.remote_for(address) if tunnel is not None and tunnel.product == "wireguard" else None
        self._owner = owner if owner is not None and owner.endpoint_address and owner.endpoint_port else None
        self._from_port = tunnel.listen_port if tunnel is not None else None
        self._enough = asyncio.Event()
        self._link: socket.socket | None = None
        self._count, self._last = 0, 0.0

    def __enter__(self) -> Self:
        if self._owner is not None and self._owner.endpoint_address is not None:
            try:
                self._link = open_raw_icmp(family_of(self._owner.endpoint_address))
            except OSError:
                return self
            asyncio.get_running_loop().add_reader(self._link, self._read, self._link, self._owner)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._link is not None:
            asyncio.get_running_loop().remove_reader(self._link)
            self._link.close()

    async def wait(self, until: float = 0.0) -> None:
        """Until the host has said so more than once, and goes on. until: no sooner, by the steady clock."""
        await self._enough.wait()
        await asyncio.sleep(until - monotonic())
        if monotonic() - self._last > RECENT_S:
            self._count = 0
            self._enough.clear()
            await self._enough.wait()

    def _read(self, link: socket.socket, owner: OverlayPeer) -> None:
        while True:
            try:
                message, source = link.recvfrom(MESSAGE_BYTES)
            except OSError:  # none left
                return
            error = read_error(message, source[0])
            if error is not None and is_refusal(error, owner, self._from_port):
                self._count, self._last = self._count + 1, monotonic()
            if self._count >= ENOUGH:
                self._enough.set()


def is_refusal(error: OuterError, owner: OverlayPeer, from_port: int | None) -> bool:
    """Whether the endpoint's own host says that nobody has the port to which this node's tunnel sends."""
    here = from_port is None or error.source_port == from_port
    by_itself = error.offender == error.destination == owner.endpoint_address
    to_it = error.destination_port == owner.endpoint_port and (error.kind, error.code) in PORT_UNREACHABLE
    return here and by_itself and to_it and error.protocol == socket.IPPROTO_UDP
