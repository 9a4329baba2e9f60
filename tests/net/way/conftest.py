"""A network namespace with a tunnel's device, in which a test sends and receives packets behind a real firewall."""

import ctypes
import fcntl
import os
import re
import select
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from ipaddress import ip_address

import pytest

from preflight.model.flow import Flow

_CLONE_NEWNET = 0x40000000
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
DEVICE = "wg0"
OWN = {4: "10.66.0.1", 6: "fd66::1"}
PEER = {4: "10.66.0.2", 6: "fd66::2"}


class Namespace:
    """A namespace with a TUN device: what leaves by it is read, and what is written comes in by it."""

    def __init__(self) -> None:
        self._tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(self._tun, _TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), _IFF_TUN | _IFF_NO_PI))
        self.run("ip", "link", "set", "lo", "up")
        for version, length in ((4, 24), (6, 64)):
            self.run("ip", "address", "add", f"{OWN[version]}/{length}", "dev", DEVICE, *["nodad"] * (version == 6))
        self.run("ip", "link", "set", DEVICE, "up")

    def close(self) -> None:
        """Take the device away."""
        os.close(self._tun)

    def run(self, *argv: str, text: str = "") -> str:
        """Run a program in the namespace."""
        done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (argv, text, done.stderr)
        return done.stdout

    def nft(self, text: str) -> None:
        """Load rules."""
        self.run("nft", "-f", "-", text=text)

    def nft_without_errors(self, text: str) -> None:
        """Load rules, one a line, without those that nft refuses, such as one for two families."""
        lines = text.splitlines()
        while True:
            done = subprocess.run(
                ["nft", "-f", "-"], input="\n".join(lines), capture_output=True, text=True, check=False
            )
            if done.returncode == 0:
                return
            refused = {int(number) - 1 for number in re.findall(r"^/dev/stdin:(\d+):\d+-\d+: Error", done.stderr, re.M)}
            assert refused, done.stderr
            lines = ["" if number in refused else line for number, line in enumerate(lines)]

    def flow(self, version: int = 4, port: int = 40000, mark: int = 0, length_bytes: int = 100) -> Flow:
        """What this node sends to its peer."""
        return Flow(
            source=OWN[version],
            destination=PEER[version],
            source_port=port,
            destination_port=862,
            interface_out=DEVICE,
            mark=mark,
            length_bytes=length_bytes,
        )

    def send(self, flow: Flow, count: int = 5) -> list[bytes]:
        """Send datagrams from a socket, and return the packets that left by the device."""
        assert flow.source_port is not None
        self._left()
        with socket.socket(socket.AF_INET6 if flow.is_ipv6 else socket.AF_INET, socket.SOCK_DGRAM) as sender:
            if flow.mark:
                sender.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, flow.mark)
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sender.bind((flow.source, flow.source_port))
            for _ in range(count):
                try:
                    sender.sendto(bytes(flow.length_bytes - headers(flow)), (flow.destination, flow.destination_port))
                except PermissionError:
                    pass  # a rule refuses it
        return [packet for packet in self._left() if _is_udp(packet)]

    def receive(self, flow: Flow, count: int = 5) -> int:
        """Let packets of a flow come in by the device, and count those that a socket gets."""
        with socket.socket(socket.AF_INET6 if flow.is_ipv6 else socket.AF_INET, socket.SOCK_DGRAM) as receiver:
            receiver.bind((flow.destination, flow.destination_port))
            receiver.setblocking(False)
            for _ in range(count):
                os.write(self._tun, datagram(flow))
            got = 0
            while select.select([receiver], [], [], 0)[0]:
                receiver.recv(65535)
                got += 1
        return got

    def _left(self) -> list[bytes]:
        """What left by the device until now: on a TUN it is there before the sender goes on."""
        packets = []
        while True:
            try:
                packets.append(os.read(self._tun, 65535))
            except BlockingIOError:
                return packets


def headers(flow: Flow) -> int:
    """The bytes in front of a datagram's content."""
    return 48 if flow.is_ipv6 else 28


def datagram(flow: Flow) -> bytes:
    """A whole packet of a flow, with right checksums."""
    source, destination = ip_address(flow.source).packed, ip_address(flow.destination).packed
    size = flow.length_bytes - headers(flow) + 8
    udp = struct.pack("!HHHH", flow.source_port or 0, flow.destination_port or 0, size, 0) + bytes(size - 8)
    sum_of_udp = checksum(source + destination + struct.pack("!HH", 17, size) + udp) or 0xFFFF
    udp = udp[:6] + struct.pack("!H", sum_of_udp) + udp[8:]
    if flow.is_ipv6:
        return struct.pack("!IHBB", 6 << 28, size, 17, 64) + source + destination + udp
    head = struct.pack("!BBHHHBBH", 0x45, 0, flow.length_bytes, 0, 0, 64, 17, 0) + source + destination
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + udp


def checksum(data: bytes) -> int:
    """The Internet's checksum."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _is_udp(packet: bytes) -> bool:
    return packet[6 if packet[0] >> 4 == 6 else 9] == 17


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """A fresh network namespace of this thread; it goes with the test."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    assert libc.unshare(_CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
    try:
        made = Namespace()
        try:
            yield made
        finally:
            made.close()
    finally:
        assert libc.setns(home, _CLONE_NEWNET) == 0
        os.close(home)


@pytest.fixture
def set_sysctl() -> Callable[[str], None]:
    """Set `name=value` in the namespace that this thread is in."""

    def change(setting: str) -> None:
        subprocess.run(["sysctl", "-qw", setting], check=True)

    return change
