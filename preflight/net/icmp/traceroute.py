"""Traceroute from one UDP socket, without privilege: a thin shell around `preflight.proto.icmp.traceroute`."""

import errno
import os
import socket
import sys

from preflight.model.event import Tell, silent
from preflight.model.icmp import Trace
from preflight.model.kernel import NeedsPlatform
from preflight.net import udp
from preflight.net.drive import drive
from preflight.proto.icmp.traceroute import Traceroute


async def trace(
    address: str, *, max_hops: int = 12, timeout_s: float = 1.0, source: str | None = None, tell: Tell = silent
) -> Trace:
    """The hops to a literal address.

    timeout_s: for the answers to one wave. source: this node's address to send from: routes may depend on it. Never
    raises for what the network or the kernel does; raises NeedsPlatform if there is no error queue.
    """
    if sys.platform != "linux":
        raise NeedsPlatform("a traceroute by the error queue needs Linux")
    with socket.socket(udp.family_of(address), socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as link:
        udp.watch_errors(link)
        udp.receive_local_address(link)
        if source is not None:
            try:
                link.bind((source, 0))
            except OSError as error:
                return Trace((), os.strerror(error.errno or errno.EIO))
        core = Traceroute(address, max_hops=max_hops, timeout_s=timeout_s, tell=tell)
        return await drive(core, link, tell) or Trace(())
