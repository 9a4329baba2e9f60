"""Packets of the laboratory's own, to prove a fault without the product: what arrives, and what passes a device.

Each sends a few small datagrams with a token that nothing else carries, and waits for a bounded time.
"""

import secrets
import select
import socket
import struct
import time
from collections.abc import Callable

from preflight.lab.network import Network, inside

PORT = 8620
"""Where probes go: no program of a lab listens there."""
WAIT_S = 0.3
_ETH_P_ALL = 3
_COUNT = 3


def address_of(network: Network, node: str) -> str:
    """The first overlay address of a member."""
    return network.plan.address(node, network.plan.families[0])


def arrivals(network: Network, source: str, target: str, *, port: int = PORT, size: int = 64, to: str = "") -> int:
    """How many of three datagrams from one member reach a socket of another. to: instead of its overlay address."""
    address = to or address_of(network, target)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with inside(network.names.namespace(target)):
        receiver = socket.socket(family, socket.SOCK_DGRAM)
    with receiver:
        receiver.bind(("", port))
        return _count(network, receiver, lambda token: send(network, source, address, token, port=port, size=size))


def passing(network: Network, source: str, target: str, *, at: str, device: str, to: str = "", size: int = 64) -> int:
    """How many of three datagrams from one member to another pass a device of the node `at`, in either direction."""
    address = to or address_of(network, target)
    with inside(network.names.namespace(at)):
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL))
        tap.bind((device, _ETH_P_ALL))
    with tap:
        return _count(network, tap, lambda token: send(network, source, address, token, size=size))


def echoed(network: Network, source: str, target: str) -> bool:
    """Whether one member answers an ICMP echo request of another."""
    address = address_of(network, target)
    family, protocol, kinds = _ECHO["6" if ":" in address else "4"]
    token = secrets.token_bytes(16)
    request = struct.pack("!BBHHH", kinds[0], 0, 0, 0, 0) + token
    if family == socket.AF_INET:  # for IPv6 the kernel does it
        request = request[:2] + _checksum(request) + request[4:]
    with inside(network.names.namespace(source)), socket.socket(family, socket.SOCK_RAW, protocol) as client:
        client.connect((address, 0))
        client.send(request)
        deadline = time.monotonic() + WAIT_S + network.slack_s
        while select.select([client], [], [], max(0.0, deadline - time.monotonic()))[0]:
            data = client.recv(2000)
            head = data[20:] if family == socket.AF_INET else data
            if head[0] == kinds[1] and token in head:
                return True
    return False


_ECHO = {
    "4": (socket.AF_INET, socket.IPPROTO_ICMP, (8, 0)),
    "6": (socket.AF_INET6, socket.IPPROTO_ICMPV6, (128, 129)),
}
"""Sockets for echo requests, and the types of request and answer."""


def _checksum(message: bytes) -> bytes:
    """The checksum of the Internet protocols (RFC 1071) for a message of even length."""
    total = sum(struct.unpack(f"!{len(message) // 2}H", message))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return int(~total & 0xFFFF).to_bytes(2)


def send(network: Network, source: str, address: str, token: bytes, *, port: int = PORT, size: int = 64) -> None:
    """Send three datagrams that carry a token; a refusal by the kernel is as good as a loss."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with inside(network.names.namespace(source)), socket.socket(family, socket.SOCK_DGRAM) as sender:
        for _ in range(_COUNT):
            try:
                sender.sendto(token.ljust(size, b"\0"), (address, port))
            except OSError:
                continue


def _count(network: Network, receiver: socket.socket, sending: Callable[[bytes], None]) -> int:
    token = secrets.token_bytes(16)
    sending(token)
    deadline, seen = time.monotonic() + WAIT_S + network.slack_s, 0
    while seen < _COUNT and select.select([receiver], [], [], max(0.0, deadline - time.monotonic()))[0]:
        data, source = receiver.recvfrom(65535)
        # An unknown hardware address is flooded: every device shows such a frame, and only one host takes it.
        seen += token in data and not (receiver.family == socket.AF_PACKET and source[2] == socket.PACKET_OTHERHOST)
    return seen
