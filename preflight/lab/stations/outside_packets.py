"""Packets of the lab's own between the uplinks of two nodes, outside the tunnel: who refuses, and what passes."""

import secrets
import select
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING

from preflight.lab.names import ROUTER, LabError
from preflight.lab.network import inside, router_link
from preflight.lab.stations import outside
from preflight.lab.stations.fault import NotThereError
from preflight.lab.stations.outside import endpoint, family_of, ip, remote_end
from preflight.lab.stations.outside_proofs import SIZE, WAIT_S, Tap, burst, comes_in, opened
from preflight.lab.topology import gateway_address

if TYPE_CHECKING:
    from preflight.lab.network import Network
    from preflight.lab.stations.proofs import Proof

_LENGTH = 148
"""Bytes of WireGuard's first message."""
_IP_RECVERR, _IPV6_RECVERR = 11, 25
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _PROBE = 10, 23, 3
_IP_MTU, _IPV6_MTU = 14, 24
_WORLD = "44.128.0.80"
"""An address of the world outside, which the lab does not have."""
_ANSWER_S = 2.0
_TRIES = 5
_INITIATION_AT = 8
"""Bytes of the header of UDP."""


@contextmanager
def _towards_the_remote_end(network: "Network", node: str) -> Iterator[socket.socket]:
    """A UDP socket from a fresh port to the endpoint of a node's tunnel, with the tunnel's mark."""
    address, port, mark = endpoint(network, node)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with inside(network.names.namespace(network.plan.outer(node))), socket.socket(family, socket.SOCK_DGRAM) as sender:
        if mark:
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, int(mark, 16))
        if family == socket.AF_INET6:
            sender.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
            sender.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PROBE)
        else:
            sender.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
            sender.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PROBE)
        sender.connect((address, port))
        yield sender


def passes_outside(head: bytes) -> "Proof":
    """A datagram from a fresh port of a that begins so comes in at the uplink of its remote end."""

    def prove(network: "Network") -> None:
        end = remote_end(network.plan)
        token = secrets.token_bytes(16)
        with opened(network, comes_in(network, end)) as tap:
            with _towards_the_remote_end(network, "a") as sender:
                sender.send((head + token).ljust(_LENGTH, b"\0"))
            if not _comes(tap, token, WAIT_S + network.slack_s):
                raise NotThereError("a datagram from another port of a does not come in at its remote end")

    return prove


def _comes(tap: socket.socket, token: bytes, most_s: float) -> bool:
    deadline = time.monotonic() + most_s
    while select.select([tap], [], [], max(0.0, deadline - time.monotonic()))[0]:
        if token in tap.recv(65535):
            return True
    return False


def refused_by(offender: str = "") -> "Proof":
    """A datagram from a to its remote end's port brings an ICMP error. offender: from whom; else from the router."""

    def prove(network: "Network") -> None:
        wanted = offender or gateway_address("a", family_of(network.plan))
        with _towards_the_remote_end(network, "a") as sender:
            found = _offender(_first_error(sender, WAIT_S + network.slack_s))
        if found != wanted:
            raise NotThereError(f"{found} refuses a's packets, and not {wanted}")

    return prove


def _first_error(sender: socket.socket, most_s: float) -> bytes:
    """The first ICMP error that comes back. Raises NotThereError if there is none."""
    for _ in range(_TRIES):
        try:
            sender.send(bytes(_LENGTH))
        except OSError:
            pass  # it is the error of the datagram before
        # A host sends a few errors at once, and then one a second.
        if select.select([sender], [], [], most_s)[0]:
            _, (error, *_), _, _ = sender.recvmsg(1024, 1024, socket.MSG_ERRQUEUE)
            return bytes(error[2])
    raise NotThereError("nobody refuses a's packets")


def _offender(data: bytes) -> str:
    """Who sent an ICMP error: the address behind the `sock_extended_err` of 16 bytes."""
    (family,) = struct.unpack_from("H", data, 16)
    start, length = (20, 4) if family == socket.AF_INET else (24, 16)
    return str(ip_address(data[start : start + length]))


def narrower_than_the_uplink() -> "Proof":
    """The kernel of a learns by ICMP that the path to the remote end carries less; it forgets that again."""

    def prove(network: "Network") -> None:
        v6 = family_of(network.plan) == 6
        level, option = (socket.IPPROTO_IPV6, _IPV6_MTU) if v6 else (socket.IPPROTO_IP, _IP_MTU)
        with _towards_the_remote_end(network, "a") as sender:
            before = sender.getsockopt(level, option)
            sender.send(bytes(before - outside.HEADERS))
            select.select([sender], [], [], WAIT_S + network.slack_s)
            after = sender.getsockopt(level, option)
        ip(network, network.plan.outer("a"), "-6" if v6 else "-4", "route", "flush", "cache")
        if after >= before:
            raise NotThereError(f"nobody says that a packet of {before} bytes is too big")

    return prove


def is_called() -> "Proof":
    """b begins a handshake, and that comes in at a's uplink."""

    def prove(network: "Network") -> None:
        with opened(network, comes_in(network, "a")) as tap:
            outside.forget(network, "b", outside.endpoint_text(network, "b"))
            deadline = time.monotonic() + WAIT_S + network.slack_s
            while select.select([tap], [], [], max(0.0, deadline - time.monotonic()))[0]:
                packet = tap.recv(65535)
                if packet[-_LENGTH:][:4] == b"\1\0\0\0" and len(packet) >= _LENGTH + _INITIATION_AT:
                    return
        raise NotThereError("b does not call a")

    return prove


def is_redirected() -> "Proof":
    """A web page of the world, asked for by a, is a redirect: somebody on the way answers."""

    def prove(network: "Network") -> None:
        with inside(network.names.namespace(network.plan.outer("a"))):
            asking = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        with asking:
            asking.settimeout(_ANSWER_S)
            try:
                asking.connect((_WORLD, 80))
                asking.sendall(b"GET / HTTP/1.0\r\n\r\n")
                status = asking.recv(64).split(b" ")[1:2]
            except OSError as error:
                raise NotThereError(f"nobody answers for the world: {error}") from None
        if status != [b"301"]:
            raise NotThereError(f"the world answers {status}")

    return prove


def source_port(network: "Network") -> int:
    """The UDP port from which a's tunnel sends, as the router sees it. Raises LabError if it sends nothing."""
    with opened(network, Tap(ROUTER, router_link("a"), "in")) as tap:
        burst(network, "a", "b")
        while select.select([tap], [], [], 0)[0]:
            packet = tap.recv(65535)
            header = 40 if packet[0] >> 4 == 6 else (packet[0] & 15) * 4
            if len(packet) >= SIZE:
                return int.from_bytes(packet[header : header + 2])
    raise LabError("a's tunnel sends nothing to the router")
