"""UDP sockets that see more: times, TTL, the error queue, and packets that are really sent."""

import errno
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TypeVar

import pytest

from preflight.net import ancillary, udp
from tests.net.way.network_namespace import namespaces

LOOPBACK = ["127.0.0.1", "::1"]
T = TypeVar("T")


def eventually(look: Callable[[], T | None]) -> T:
    """What `look` gives as soon as it gives something; loopback delivers within microseconds of a busy machine's."""
    deadline = time.monotonic() + 10
    while not (seen := look()):
        assert time.monotonic() < deadline, "nothing came"
        time.sleep(0.001)
    return seen


def stamped_on_arrival(here: socket.socket, there: socket.socket) -> bool:
    """Whether a datagram left waiting is stamped when it came: Linux turns stamping on from a work queue, after the
    first socket of the machine asked for it, and stamps a datagram when it is read until then: net_enable_timestamp."""
    udp.send(there, b"warm up")
    time.sleep(0.05)
    read = time.time_ns()
    return eventually(lambda: udp.receive(here)).received_ns < read


@pytest.mark.parametrize("address", LOOPBACK)
def test_kernel_time_and_ttl(address: str) -> None:
    """A datagram that is read late has the time at which it came, and the TTL that was left of it."""
    with udp.open_udp(address) as here, udp.open_towards(address, here.getsockname()[1]) as there:
        eventually(lambda: stamped_on_arrival(here, there))
        before = time.time_ns()
        assert udp.send(there, b"one", None, ancillary.ttl_control(there.family, 33)) == 0
        after = time.time_ns()
        time.sleep(0.2)
        udp.set_ttl(there, 255)
        udp.send(there, b"two")
        first = eventually(lambda: udp.receive(here))
        assert (first.data, first.ttl, first.source[:2]) == (b"one", 33, there.getsockname()[:2])
        assert before <= first.received_ns
        assert first.received_ns - after < time.time_ns() - first.received_ns
        second = eventually(lambda: udp.receive(here))
        assert (second.data, second.ttl) == (b"two", 255)
        assert udp.receive(here) is None


@pytest.mark.parametrize("address", LOOPBACK)
def test_a_closed_port_says_so(address: str) -> None:
    """The host's "port unreachable" is reported with who sent it and which datagram it was about."""
    with udp.open_udp(address) as listening:
        port = listening.getsockname()[1]
    with udp.open_towards(address, port) as link:
        udp.send(link, b"token-and-number")
        (error,) = eventually(lambda: udp.receive_errors(link))
        assert error.port_unreachable
        assert (error.offender, error.code, error.quoted) == (address, errno.ECONNREFUSED, b"token-and-number")
        assert error.destination is not None
        assert error.destination[:2] == (address, port)
        assert udp.receive_errors(link) == []


def test_a_pending_error_does_not_eat_the_next_datagram() -> None:
    """The kernel hands an ICMP error to the next send and drops that datagram: it is sent again."""
    with udp.open_udp("127.0.0.1") as gone:
        port = gone.getsockname()[1]
    with udp.open_towards("127.0.0.1", port) as link:
        udp.send(link, b"into the void")
        with udp.open_udp("127.0.0.1", port) as here:
            assert udp.send(link, b"arrives") == 0
            assert eventually(lambda: udp.receive(here)).data == b"arrives"
        assert udp.receive(link) is None


def test_too_big_is_an_errno_and_nothing_is_fragmented() -> None:
    """With DF on, what the interface cannot send is refused with EMSGSIZE."""
    with udp.open_udp("127.0.0.1") as link:
        assert udp.error_name(udp.send(link, bytes(65_530), ("127.0.0.1", 9))) == "EMSGSIZE"


def test_source_address_without_a_packet() -> None:
    """The route's source address, for literal addresses of both families."""
    assert udp.source_address("127.0.0.9", 862) == "127.0.0.1"
    assert udp.source_address("::1", 862) == "::1"


def test_a_socket_that_cannot_be_had_leaves_nothing_open() -> None:
    """A port in use is an OSError, and the descriptor is closed (ResourceWarning would fail this test)."""
    with udp.open_udp("127.0.0.1") as first, pytest.raises(OSError, match="in use"):
        udp.open_udp("127.0.0.1", first.getsockname()[1])


def test_families() -> None:
    """The family is the literal's."""
    assert udp.family_of("10.66.0.2") == socket.AF_INET
    assert udp.family_of("fd66::2") == socket.AF_INET6
    with pytest.raises(ValueError, match="does not appear"):
        udp.family_of("b.example")


def test_a_flood_is_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that sends faster than this process reads blocks nothing: some are read, the rest is there next time."""
    monkeypatch.setattr(udp, "MOST_AT_ONCE", 10)
    with udp.open_udp("127.0.0.1") as here, udp.open_towards("127.0.0.1", here.getsockname()[1]) as there:
        for number in range(25):
            assert udp.send(there, bytes([number])) == 0
        read = [[datagram.data[0] for datagram in udp.waiting(here)] for _ in range(4)]
    assert read == [list(range(10)), list(range(10, 20)), list(range(20, 25)), []]


def test_what_the_queue_has_no_room_for_is_counted() -> None:
    """By the kernel, for each socket."""
    with udp.open_udp("127.0.0.1") as here, udp.open_towards("127.0.0.1", here.getsockname()[1]) as there:
        assert udp.overflowed(here) == 0
        before = udp.found_full()
        here.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
        for _ in range(100):
            udp.send(there, bytes(1000))
        arrived = sum(1 for _ in udp.waiting(here))
        assert arrived + udp.overflowed(here) == 100
        assert udp.found_full() - before >= udp.overflowed(here) > 0


@pytest.mark.lab
def test_what_a_policy_keeps_from_a_socket_found_no_full_queue() -> None:
    """Protects a responder from the report that it is overloaded, where IPsec drops what is for it."""
    with namespaces() as (_, there), udp.open_udp("10.5.0.1") as here:
        subprocess.run(
            ["ip", "xfrm", "policy", "add", "dst", "10.5.0.1/32", "dir", "in", "action", "block"], check=True
        )
        port, before = here.getsockname()[1], udp.found_full()
        code = f"import socket as s; u = s.socket(2, 2); [u.sendto(b'x', ('10.5.0.1', {port})) for _ in range(5)]"
        subprocess.run(["ip", "netns", "exec", there, sys.executable, "-c", code], check=True)
        deadline = time.monotonic() + 5
        while udp.overflowed(here) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert list(udp.waiting(here)) == []
        assert (udp.overflowed(here), udp.found_full() - before) == (5, 0)
