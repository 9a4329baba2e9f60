"""Packets of this run's probes on the tunnel interface, headers only: what `--capture` keeps of failing checks."""

import asyncio
import errno
import socket
import struct
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from preflight.net.ancillary import SO_TIMESTAMPNS, read_control

ETH_P_ALL = 0x0003
MOST_PACKETS = 20_000
"""Older packets are dropped: a run of minutes on a large mesh must not fill the memory."""
SNAP_BYTES = 120
_TRACEROUTE = range(33434, 33634)
_DISCARD = 9
_PORTS = struct.Struct("!HH")


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet's headers. received_ns: UNIX nanoseconds; length: of the whole packet; peer: the other end."""

    received_ns: int
    length: int
    head: bytes
    peer: str


class Recorder:
    """Records from `start` to `stop`. Raises PermissionError without CAP_NET_RAW, OSError without the interface.

    peers: addresses of the other ends. ports: UDP and TCP ports of responders and the control plane; ICMP and
    the ports of a traceroute count too. It keeps nothing else that passes the interface.
    """

    def __init__(self, interface: str, peers: Iterable[str], ports: Iterable[int]) -> None:
        self._peers = {ip_address(peer).packed: peer for peer in peers}
        self._ports = {*ports, *_TRACEROUTE, _DISCARD}
        self.packets: deque[Packet] = deque(maxlen=MOST_PACKETS)
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            self._socket.bind((interface, ETH_P_ALL))
        except BaseException:
            self._socket.close()
            raise

    def start(self) -> None:
        """Record from now on, in the running event loop."""
        asyncio.get_running_loop().add_reader(self._socket, self._drain)

    def stop(self) -> None:
        """Take what has arrived by now, and no more."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._drain()
        self._socket.close()

    def _drain(self) -> None:
        while True:
            try:
                head, control, _, _ = self._socket.recvmsg(SNAP_BYTES, 64)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ENETDOWN:  # the interface went away: nothing more will come
                    return
                raise
            received_ns, _ = read_control(control)
            packet = _kept(head, received_ns, self._peers, self._ports)
            if packet is not None:
                self.packets.append(packet)


def _kept(head: bytes, received_ns: int, peers: dict[bytes, str], ports: set[int]) -> Packet | None:
    """The packet with its payload cut off; None if it is not ours."""
    if not head:
        return None
    if head[0] >> 4 == 4:
        begins, protocol, ends, length = (head[0] & 15) * 4, head[9], (head[12:16], head[16:20]), _length(head, 2)
        later_fragment = bool(_length(head, 6) & 0x1FFF)
    else:
        begins, protocol, ends, length = 40, head[6], (head[8:24], head[24:40]), _length(head, 4) + 40
        later_fragment = False
    peer = next((peers[end] for end in ends if end in peers), None)
    if peer is None:
        return None
    if later_fragment or protocol not in HEADERS:
        return None
    if protocol in _WITH_PORTS and not _on_ports(head, begins, ports):
        return None
    return Packet(received_ns, length, head[: begins + HEADERS[protocol]], peer)


def _on_ports(head: bytes, begins: int, ports: set[int]) -> bool:
    return len(head) >= begins + _PORTS.size and not ports.isdisjoint(_PORTS.unpack_from(head, begins))


def _length(head: bytes, at: int) -> int:
    return int.from_bytes(head[at : at + 2], "big")


_WITH_PORTS = (socket.IPPROTO_UDP, socket.IPPROTO_TCP)
HEADERS = {socket.IPPROTO_ICMP: 8, socket.IPPROTO_UDP: 8, socket.IPPROTO_TCP: 20, socket.IPPROTO_ICMPV6: 8}
"""How much is kept behind the IP header, by protocol: no payload, which could contain tokens."""
