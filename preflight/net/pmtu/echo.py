"""Sockets for echoes of a chosen size, as a path-MTU search needs them: DF set, and the error queue on."""

import socket

from preflight.net import udp


def open_echo(address: str) -> socket.socket:
    """A non-blocking socket for ICMP messages, connected to a literal address: raw, else a ping socket.

    Only what that host sends is received; what the interface cannot send is refused, the cached path MTU is ignored.
    Raises PermissionError where neither kind may be opened (CAP_NET_RAW, `net.ipv4.ping_group_range`), else OSError.
    """
    family = udp.family_of(address)
    protocol = socket.IPPROTO_ICMPV6 if family == socket.AF_INET6 else socket.IPPROTO_ICMP
    flags = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    try:
        link = socket.socket(family, socket.SOCK_RAW | flags, protocol)
    except PermissionError:
        link = socket.socket(family, socket.SOCK_DGRAM | flags, protocol)
    try:
        udp.never_fragment(link)
        udp.watch_errors(link)
        link.connect((address, 0))
    except BaseException:
        link.close()
        raise
    return link


def shows_ip_header(link: socket.socket) -> bool:
    """Whether what the socket receives begins with the IP header (raw(7); ICMPv6 and ping sockets leave it out)."""
    return link.family == socket.AF_INET and link.type == socket.SOCK_RAW
