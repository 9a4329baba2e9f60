"""Control data: read as the kernel writes it, and written as the kernel reads it."""

import errno
import socket
import struct

import pytest

from preflight.net import ancillary, udp
from preflight.proto.core import ORIGIN_ICMP, ORIGIN_LOCAL, Refusal
from tests.net.test_udp import eventually


@pytest.mark.parametrize(("address", "wildcard"), [("127.0.0.5", "0.0.0.0"), ("::1", "::")])
def test_an_answer_leaves_from_the_address_that_was_asked(address: str, wildcard: str) -> None:
    """A wildcard socket answers from the address its request came to, else no firewall would let the answer in."""
    with udp.open_udp(wildcard) as server, udp.open_udp(address.replace("5", "1")) as client:
        udp.receive_local_address(server)
        port = server.getsockname()[1]
        udp.send(client, b"ask", (address, port))

        def ask() -> list[tuple[int, int, bytes]] | None:
            try:
                _, control, _, _ = server.recvmsg(100, ancillary.CONTROL_BYTES)
            except BlockingIOError:
                return None
            return list(control)

        control = eventually(ask)
        assert udp.send(server, b"answer", client.getsockname(), ancillary.local_control(control)) == 0
        assert eventually(lambda: udp.receive(client)).source[:2] == (address, port)


def queued(*, offender: bytes = b"", info: int = 0, origin: int = ORIGIN_ICMP) -> bytes:
    """A struct sock_extended_err, and the address that follows it (linux/errqueue.h)."""
    return struct.pack("=IBBBBII", errno.EMSGSIZE, origin, 3, 4, 0, info, 0) + offender


def test_an_error_with_its_sender_and_interface() -> None:
    """The sender of the error, its MTU, what it quotes, and by which interface it came in."""
    router = struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton("192.0.2.1"))
    loopback = struct.pack("=I4s4s", socket.if_nametoindex("lo"), bytes(4), bytes(4))
    control = [
        (socket.IPPROTO_IP, ancillary.IP_PKTINFO, loopback),
        (socket.IPPROTO_IP, ancillary.IP_RECVERR, queued(offender=router, info=1380)),
    ]
    (refusal,) = ancillary.read_refusals(control, b"quoted", ("10.66.0.2", 862))
    assert (refusal.offender, refusal.mtu, refusal.quoted, refusal.interface) == ("192.0.2.1", 1380, b"quoted", "lo")
    assert (refusal.destination, refusal.reason) == (("10.66.0.2", 862), "Message too long")
    assert (refusal.too_big, refusal.local) == (True, False)


def test_an_error_of_this_host_has_no_sender() -> None:
    """The kernel gives no address with its own refusals; a cut entry does not give one either."""
    control = [(socket.IPPROTO_IPV6, ancillary.IPV6_RECVERR, queued(origin=ORIGIN_LOCAL, info=1420))]
    (refusal,) = ancillary.read_refusals(control, b"", None)
    assert refusal == Refusal(errno.EMSGSIZE, ORIGIN_LOCAL, 3, 4, mtu=1420, reason="Message too long")
    cut = [(socket.IPPROTO_IP, ancillary.IP_RECVERR, b"short"), (socket.IPPROTO_IP, ancillary.IP_PKTINFO, bytes(12))]
    assert ancillary.read_refusals(cut, b"", None) == []


def test_time_and_ttl_of_both_families() -> None:
    """Receive times are nanoseconds of the UNIX epoch; what the kernel did not send is unknown."""
    stamp = (socket.SOL_SOCKET, ancillary.SO_TIMESTAMPNS, struct.pack("@ll", 1_795_479_667, 5))
    for ttl in (
        (socket.IPPROTO_IP, socket.IP_TTL, struct.pack("@i", 63)),
        (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT, struct.pack("@i", 63)),
    ):
        assert ancillary.read_control([stamp, ttl]) == (1_795_479_667_000_000_005, 63)
    assert ancillary.read_control([]) == (0, None)
