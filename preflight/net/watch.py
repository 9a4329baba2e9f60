"""Counts UDP datagrams that arrive on an interface, before this node's firewall judges them."""

import socket
from ipaddress import ip_address

from preflight.net import bpf
from preflight.net.bpf import Instruction, attach_filter
from preflight.net.udp import family_of

ETH_P_IP = 0x0800
ETH_P_IPV6 = 0x86DD


class PacketWatch:
    """Counts datagrams from `source` to UDP port `port` that come in on `interface`, from now on.

    It opens a packet socket without link-layer header, because tunnels have none. Bound to one protocol, the socket
    sees only what arrives, not what leaves. Raises PermissionError without CAP_NET_RAW, OSError without the interface.
    """

    def __init__(self, interface: str, source: str, port: int) -> None:
        self._source = ip_address(source).packed
        is_ipv6 = family_of(source) == socket.AF_INET6
        self._source_at = 8 if is_ipv6 else 12
        self._seen = 0
        # Protocol 0: nothing comes in before filter and interface are set.
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0)
        try:
            # A busy interface must not fill the buffer.
            attach_filter(self._socket, _ipv6_filter(port) if is_ipv6 else _ipv4_filter(port))
            self._socket.bind((interface, ETH_P_IPV6 if is_ipv6 else ETH_P_IP))
        except BaseException:
            self._socket.close()
            raise

    def seen(self) -> int:
        """How many have come in until now."""
        while True:
            try:
                packet = self._socket.recv(64)
            except OSError:  # none left, or the interface has gone down
                return self._seen
            self._seen += packet[self._source_at :].startswith(self._source)

    def close(self) -> None:
        """Stop watching."""
        self._socket.close()


def _ipv4_filter(port: int) -> list[Instruction]:
    """UDP to `port`, unfragmented or its first fragment."""
    return [
        (bpf.LOAD_BYTE, 0, 0, 9),
        (bpf.EQUAL, 0, 6, socket.IPPROTO_UDP),
        (bpf.LOAD_HALF, 0, 0, 6),
        (bpf.ANY_BIT, 4, 0, 0x1FFF),
        (bpf.IP_HEADER_LENGTH, 0, 0, 0),
        (bpf.LOAD_HALF_BEHIND_HEADER, 0, 0, 2),
        (bpf.EQUAL, 0, 1, port),
        (bpf.RETURN, 0, 0, bpf.WHOLE),
        (bpf.RETURN, 0, 0, bpf.DROP),
    ]


def _ipv6_filter(port: int) -> list[Instruction]:
    """UDP to `port` without extension headers."""
    return [
        (bpf.LOAD_BYTE, 0, 0, 6),
        (bpf.EQUAL, 0, 3, socket.IPPROTO_UDP),
        (bpf.LOAD_HALF, 0, 0, 42),
        (bpf.EQUAL, 0, 1, port),
        (bpf.RETURN, 0, 0, bpf.WHOLE),
        (bpf.RETURN, 0, 0, bpf.DROP),
    ]
