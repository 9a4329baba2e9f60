"""Sockets for echoes of a chosen size, as a path-MTU search needs them: DF set, and the error queue on."""

import socket

from preflight.net import udp
from preflight.net.icmp.echo import open_icmp


def open_echo(address: str) -> tuple[socket.socket, bool]:
    """A non-blocking socket for ICMP messages, connected to a literal address; whether it shows the IP header.

    The socket receives only what that host sends; it refuses what the interface cannot send, and ignores the cached
    path MTU. Raises as `open_icmp` and `connect` do.
    """
    link = open_icmp(udp.family_of(address))
    try:
        udp.never_fragment(link)
        udp.watch_errors(link)
        link.connect((address, 0))
    except BaseException:
        link.close()
        raise
    # ICMPv6 and ping sockets leave the header out (raw(7)).
    return link, link.family == socket.AF_INET and link.type == socket.SOCK_RAW
