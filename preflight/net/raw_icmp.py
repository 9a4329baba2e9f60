"""One raw ICMP socket that receives errors only, and may send packets with their own IP header."""

import socket
from typing import Final

from preflight.net import bpf, udp
from preflight.net.bpf import Instruction, attach_filter

IP_HDRINCL: Final = 3
IPV6_HDRINCL: Final = 36
SO_MARK: Final = 36


def open_raw_icmp(family: socket.AddressFamily, *, mark: int = 0, replies: bool = False) -> socket.socket:
    """A non-blocking socket. mark: of what it sends. replies: it receives echo replies too.

    Raises PermissionError without CAP_NET_RAW, and for a mark without CAP_NET_ADMIN (before Linux 5.17).
    """
    ipv6 = family == socket.AF_INET6
    protocol = socket.IPPROTO_ICMPV6 if ipv6 else socket.IPPROTO_ICMP
    link = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, protocol)
    try:
        attach_filter(link, _filter(ipv6=ipv6, replies=replies))
        if ipv6:
            link.setsockopt(socket.IPPROTO_IPV6, IPV6_HDRINCL, 1)
        else:
            link.setsockopt(socket.IPPROTO_IP, IP_HDRINCL, 1)
        if mark:
            link.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
        udp.enlarge(link)
    except BaseException:
        link.close()
        raise
    return link


def _filter(*, ipv6: bool, replies: bool) -> list[Instruction]:
    """ICMPv6 errors are the types below 128; of ICMP, they are 3, 11 and 12, behind the IP header."""
    reply = (129 if ipv6 else 0) if replies else 3
    if ipv6:
        return [
            (bpf.LOAD_BYTE, 0, 0, 0),
            (bpf.EQUAL, 1, 0, reply),
            (bpf.AT_LEAST, 1, 0, 128),
            (bpf.RETURN, 0, 0, bpf.WHOLE),
            (bpf.RETURN, 0, 0, bpf.DROP),
        ]
    return [
        (bpf.IP_HEADER_LENGTH, 0, 0, 0),
        (bpf.LOAD_BYTE_BEHIND_HEADER, 0, 0, 0),
        (bpf.EQUAL, 3, 0, reply),
        (bpf.EQUAL, 2, 0, 3),
        (bpf.EQUAL, 1, 0, 11),
        (bpf.EQUAL, 0, 1, 12),
        (bpf.RETURN, 0, 0, bpf.WHOLE),
        (bpf.RETURN, 0, 0, bpf.DROP),
    ]
