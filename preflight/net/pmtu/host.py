"""What this host knows about its own side of a path: interface MTU, the kernel's path MTU, reassembled datagrams."""

import errno
import socket
from io import FileIO

from preflight.net import udp
from preflight.proto.pmtu.wire import LARGEST, overhead

DISCARD_PORT = 9
SNMP = "/proc/thread-self/net/snmp"
SNMP6 = "/proc/thread-self/net/snmp6"


class HostPath:
    """What this host knows about its own side of a path: the responder's `HostView`. Needs no privilege."""

    def device_mtu(self, address: str) -> int:
        """MTU of the interface that leads to `address`, bytes; 0 = unknown.

        The kernel reports it when it refuses a datagram that no interface can send, so no packet leaves.
        """
        cached = self.path_mtu(address)
        if cached == 0 or cached >= LARGEST:
            return cached
        try:
            with udp.open_towards(address, DISCARD_PORT) as probe:
                if udp.send(probe, bytes(udp.MAX_DATAGRAM - overhead(address))) != errno.EMSGSIZE:
                    return cached
                refusals = [refusal.mtu for refusal in udp.receive_errors(probe) if refusal.local]
        except OSError:
            return cached
        return refusals[0] if refusals else cached

    def path_mtu(self, address: str) -> int:
        """Path MTU towards `address` in the kernel's cache, bytes; 0 = unknown."""
        return kernel_path_mtu(address)

    def reassembled(self) -> int | None:
        """Datagrams that this network namespace has reassembled from fragments, IPv4 and IPv6; None = unknown."""
        try:
            names, values = read_small_file(SNMP).split(b"\n", 2)[:2]
            count = int(values.split()[names.split().index(b"ReasmOKs")])
            try:
                count += int(read_small_file(SNMP6).partition(b"Ip6ReasmOKs")[2].split(None, 1)[0])
            except FileNotFoundError:
                pass  # a kernel without IPv6
        except (OSError, ValueError, IndexError):
            return None
        return count


def read_small_file(path: str) -> bytes:
    """A small file, read for each datagram that arrives: `pathlib` takes twice as long, and its import much longer."""
    with FileIO(path) as file:
        return file.readall()


def kernel_path_mtu(address: str, mark: int = 0) -> int:
    """IP_MTU of a socket connected to the address; no packet leaves."""
    family = udp.family_of(address)
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            if mark:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
            probe.connect((address, DISCARD_PORT))
            if family == socket.AF_INET6:
                return probe.getsockopt(socket.IPPROTO_IPV6, udp.IPV6_MTU)
            return probe.getsockopt(socket.IPPROTO_IP, udp.IP_MTU)
    except OSError:
        return 0
