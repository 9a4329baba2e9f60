"""A tap sees the tunnel's packets, the burst and errors about both, on every device, and says what it could not see."""

import asyncio
import errno
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from preflight.model.tapped import Tapped
from preflight.net.way import tap as taps
from preflight.net.way.tap import NO_PRIVILEGE, Errors, Tap, Wanted, kept
from tests.net.way.network_namespace import namespaces
from tests.proto.way.test_ip_packets import V4, W4, fragment, udp, v4, v6
from tests.proto.way.test_tunnel_packets import wireguard

PORT, PROBE = 40000, 862
WANTED = Wanted(
    product="wireguard",
    interface="wg0",
    tunnel_ports=frozenset({PORT}),
    probe_ports=frozenset({PROBE}),
    addresses=frozenset({W4}),
)


def _to(port: int, payload: bytes) -> bytes:
    return v4(udp(payload).replace((862).to_bytes(2, "big"), port.to_bytes(2, "big"), 1))


def test_a_packet_of_the_tunnel_is_read() -> None:
    """On any device but the tunnel's own: there, what has its port is inside."""
    head = _to(9, wireguard(1, 148))
    packet = kept(head, 5, "eth0", True, WANTED)
    assert packet is not None
    assert packet.tunnel is not None
    assert (packet.tunnel.kind, packet.outgoing, packet.received_ns) == ("initiation", True, 5)
    assert packet.remote == (W4, 9)
    assert packet.local == (V4, PORT)
    assert kept(head, 5, "wg0", True, WANTED) is None


def test_a_packet_on_its_port_of_another_program_is_left() -> None:
    """Another program may use the port of an endpoint."""
    assert kept(_to(9, b"hello"), 5, "eth0", False, WANTED) is None


def test_the_burst_is_seen_on_every_device() -> None:
    """By its port, so that one that leaks out of the tunnel is seen too."""
    head = v4(udp().replace((40000).to_bytes(2, "big"), (7).to_bytes(2, "big"), 1))
    for device in ("wg0", "eth0"):
        packet = kept(head, 5, device, True, WANTED)
        assert packet is not None
        assert packet.tunnel is None


@pytest.mark.parametrize(("about", "there"), [(udp(), True), (udp().replace(udp()[:4], b"\0\7\0\7"), False)])
def test_errors_about_them(about: bytes, there: bool) -> None:
    """Errors about other ports that came through the kernel's filter are left."""
    head = v4(bytes((3, 3)) + bytes(6) + v4(about), 1)
    assert (kept(head, 5, "eth0", False, WANTED) is not None) is there


def test_later_fragments_of_the_endpoint() -> None:
    """They have no ports; others' are left."""
    packet = kept(v4(bytes(40), offset=185), 5, "eth0", False, WANTED)
    assert packet is not None
    assert packet.fragment
    assert kept(v6(fragment(bytes(40), 185), 44), 5, "eth0", False, WANTED) is None
    assert kept(b"", 5, "eth0", False, WANTED) is None


def _socket_raises(error: OSError, monkeypatch: pytest.MonkeyPatch) -> Tapped:
    def refuse(*words: object) -> None:
        raise error

    async def look() -> Tapped:
        async with Tap(WANTED) as tap:
            return tap.taken()

    monkeypatch.setattr(taps, "_opened", refuse)
    return asyncio.run(look())


def test_without_the_privilege_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A blind tap does not mean silence."""
    seen = _socket_raises(PermissionError(errno.EPERM, "Operation not permitted"), monkeypatch)
    assert seen.blind == NO_PRIVILEGE
    assert not seen.complete


def test_a_kernel_that_refuses_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is, the run goes on without a tap."""
    assert "No buffer space" in str(_socket_raises(OSError(errno.ENOBUFS, "No buffer space"), monkeypatch).blind)


def _sent(port: int, *payloads: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for payload in payloads:
            sender.sendto(payload, ("127.0.0.1", port))


def _closed_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        return int(other.getsockname()[1])


async def _until(tap: Tap, count: int) -> Tapped:
    deadline = time.monotonic() + 10
    while len(tap.taken().packets) < count:
        assert time.monotonic() < deadline, tap.taken()
        await asyncio.sleep(0.001)
    return tap.taken()


@pytest.mark.lab
def test_on_all_devices_of_this_machine() -> None:
    """Loopback shows each packet twice, out and in, and the kernel's refusal of the closed port too."""
    port = _closed_port()
    wanted = Wanted(product="wireguard", interface=None, tunnel_ports=frozenset({port}))

    async def look() -> Tapped:
        async with Tap(wanted) as tap:
            _sent(port, wireguard(1, 148), b"not a tunnel's")
            _sent(_closed_port(), wireguard(1, 148))
            return await _until(tap, 6)

    seen = asyncio.run(look())
    assert seen.complete
    assert [packet.tunnel.kind for packet in seen.packets if packet.tunnel] == ["initiation"] * 2
    assert [packet.outgoing for packet in seen.packets if packet.tunnel] == [True, False]
    errors = [packet.error for packet in seen.packets if packet.error]
    assert {error.reason for error in errors} == {"port"}
    assert {error.destination_port for error in errors} == {port}
    assert all(seen.began_ns <= packet.received_ns <= time.time_ns() for packet in seen.packets)
    assert {packet.device for packet in seen.packets} == {"lo"}


@pytest.mark.lab
def test_it_stops_at_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the memory from a tunnel that is not silent at all, and says that it stopped."""
    monkeypatch.setattr(taps, "MOST_PACKETS", 10)
    port = _closed_port()
    wanted = Wanted(product="wireguard", interface=None, tunnel_ports=frozenset({port}))

    async def look() -> Tapped:
        async with Tap(wanted) as tap:
            _sent(port, *[wireguard(4, 96)] * 50)
            seen = await _until(tap, 10)
            _sent(port, *[wireguard(4, 96)] * 50)
            assert len(tap.taken().packets) == len(seen.packets)
            return tap.taken()

    seen = asyncio.run(look())
    assert seen.cut
    assert not seen.complete
    assert len(seen.packets) == 10


@pytest.mark.lab
def test_packets_that_the_kernel_dropped_unread_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that comes late must not take its own loss for silence."""
    monkeypatch.setattr(taps, "_BUFFER_BYTES", 4096)
    port = _closed_port()
    wanted = Wanted(product="wireguard", interface=None, tunnel_ports=frozenset({port}))

    async def look() -> Tapped:
        async with Tap(wanted) as tap:
            _sent(port, *[wireguard(4, 1424)] * 200)
            return tap.taken()

    seen = asyncio.run(look())
    assert seen.dropped > 0
    assert not seen.complete


HOLDS_A_TAP = """
import asyncio, sys
from preflight.net.way.tap import Tap, Wanted
async def hold():
    async with Tap(Wanted(product="wireguard", interface=None, tunnel_ports=frozenset({9}))) as tap:
        print(tap.taken().blind, flush=True)
        await asyncio.sleep(60)
asyncio.run(hold())
"""


@pytest.mark.lab
def test_nothing_is_left_of_a_killed_process() -> None:
    """The packet socket and its filter go with the process."""
    child = subprocess.Popen([sys.executable, "-c", HOLDS_A_TAP], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline() == "None\n"
        inodes = {
            link.removeprefix("socket:[").removesuffix("]")
            for each in Path(f"/proc/{child.pid}/fd").iterdir()
            if (link := str(each.readlink())).startswith("socket:")
        }
        assert inodes & _packet_sockets()
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert not inodes & _packet_sockets()


def _packet_sockets() -> set[str]:
    return {line.split()[-1] for line in Path("/proc/net/packet").read_text().splitlines()[1:]}


async def _refused(errors: Errors, port: int) -> None:
    """Send until the kernel says that the port is closed: it has a number of errors a second for the whole machine."""
    deadline = time.monotonic() + 10
    while not any(packet.error and packet.error.destination_port == port for packet in errors.heard()[0]):
        assert time.monotonic() < deadline
        _sent(port, wireguard(1, 148))
        await asyncio.sleep(0.001)


@pytest.mark.lab
def test_errors_of_before_belong_to_it() -> None:
    """Routers have few errors for a node, and packets before the burst may have used them up. Those about other ports
    are left, but nobody can say then that there was one for this tunnel.
    """
    port, other = _closed_port(), _closed_port()
    wanted = Wanted(product="wireguard", interface=None, tunnel_ports=frozenset({port}))

    async def look(*closed: int) -> tuple[Tapped, int]:
        errors, began_ns = Errors(), time.time_ns()
        try:
            errors.listen()
            for each in closed:
                await _refused(errors, each)
            async with Tap(wanted, errors) as tap:
                return tap.taken(), began_ns
        finally:
            errors.close()

    # Other tests of this machine refuse packets too.
    with namespaces():
        nothing, began_ns = asyncio.run(look())
        seen, _ = asyncio.run(look(other, port))
        strangers, _ = asyncio.run(look(other))
    assert began_ns <= nothing.errors_since_ns < nothing.began_ns
    assert nothing.packets == ()
    errors = [packet.error for packet in seen.packets if packet.error]
    assert {(error.reason, error.destination_port) for error in errors} == {("port", port)}
    assert all(not packet.outgoing and packet.received_ns < seen.began_ns for packet in seen.packets)
    assert (strangers.packets, strangers.errors_since_ns, seen.errors_since_ns) == ((), 0, 0)


def test_errors_need_the_privilege(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it nobody says that none has come."""

    def refuse(*words: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(taps, "_opened", refuse)
    errors = Errors()
    errors.listen()
    assert errors.heard() == ((), 0)
