"""A tap on all devices at once: the packets of a burst in the tunnel, and the tunnel's own on whatever carries them.

One packet socket without link-layer header serves every device of the namespace (packet(7)). What leaves is seen behind
this node's own filters and translations, what comes in before them. Checksums are not judged: with offload, those of
what leaves are not complete yet.
"""

import asyncio
import ctypes
import errno
import os
import socket
import struct
import time
from base64 import b64decode
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self

from preflight.model.overlay import OverlayState
from preflight.model.peer import Peer
from preflight.model.tapped import IcmpError, TapPacket, Tapped, TunnelPacket
from preflight.net.ancillary import SO_TIMESTAMPNS, read_control
from preflight.net.bpf import DROP, RETURN, Instruction, attach_filter
from preflight.net.udp import SO_RCVBUFFORCE
from preflight.net.way.tap_filter import error_filter, tap_filter
from preflight.net.way.udp_ports import udp_ports
from preflight.proto.way import ip_packets, tunnel_packets
from preflight.proto.way.ip_packets import IpPacket
from preflight.proto.way.tunnel_view import fragments_between, tunnel_ports

ETH_P_ALL = 0x0003
MOST_PACKETS: Final = 5000
"""A tap stops here: a burst is ten packets, and a tunnel that carries more than this meanwhile is not silent."""
_MOST_AT_ONCE = 256
_SNAP_BYTES = 10_000
"""Two messages of the largest usual size: so those that offload joins can be distinguished."""
_BUFFER_BYTES = 4 * 1024 * 1024
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_STATISTICS = struct.Struct("@II")
_ADDRESS = struct.Struct("=HHiHBB8s")
_OUTGOING = 4
NO_PRIVILEGE: Final = "packets can be seen with CAP_NET_RAW only (run as root)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a tap keeps.

    tunnel_ports: UDP ports of the tunnel's own packets, its own and those of its endpoints. probe_ports: of the burst.
    interface: the tunnel's device; what passes there is in the tunnel. addresses: of the endpoints, for later
    fragments. product: whose packets they are. public_key: this node's, as bytes, for WireGuard.
    """

    product: str
    interface: str | None
    tunnel_ports: frozenset[int]
    probe_ports: frozenset[int] = frozenset()
    addresses: frozenset[str] = frozenset()
    public_key: bytes | None = None


def tunnel_tap(peer: Peer, tunnel: OverlayState) -> "Tap":
    """A tap on the own packets of the tunnel to a peer, to be opened by `async with`."""
    return Tap(wanted_of(peer, tunnel, tunnel.product, tunnel_ports(tunnel, tunnel.product, udp_ports())))


def wanted_of(peer: Peer, tunnel: OverlayState, carrier: str | None, ports: frozenset[int]) -> Wanted:
    """What a tap keeps to follow the packets to a peer. carrier: whose packets the tunnel's are; ports: of these."""
    return Wanted(
        product=carrier or tunnel.product,
        interface=tunnel.interface,
        tunnel_ports=ports,
        probe_ports=frozenset((peer.responder_port,)),
        addresses=fragments_between(tunnel, peer.address),
        public_key=b64decode(tunnel.public_key) if tunnel.public_key and carrier == "wireguard" else None,
    )


class Tap:
    """`async with Tap(wanted) as tap:` sees packets until its end; `tap.taken()` gives them, as often as you like.

    Without the privilege it sees nothing, and `taken()` says so. The socket belongs to this process: nothing is left of
    it, however the process ends. errors: what was heard before of this tunnel belongs to it.
    """

    def __init__(self, wanted: Wanted, errors: "Errors | None" = None) -> None:
        self._wanted, self._errors = wanted, errors
        self._socket: socket.socket | None = None
        self._packets: list[TapPacket] = []
        self._dropped = 0
        self._began_ns = 0
        self._cut = False
        self._blind: str | None = None

    async def __aenter__(self) -> Self:
        try:
            wanted = self._wanted
            self._socket = _opened(tap_filter(wanted.tunnel_ports | wanted.probe_ports, wanted.addresses))
            self._began_ns = time.time_ns()
        except PermissionError:
            self._blind = NO_PRIVILEGE
        except (OSError, ValueError) as error:
            self._blind = f"no packet socket could be opened: {error}"
        if self._socket is not None:
            asyncio.get_running_loop().add_reader(self._socket, self._drain)
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self.taken()
            self._socket.close()
            self._socket = None

    @property
    def blind(self) -> bool:
        """Whether it sees nothing."""
        return self._blind is not None

    def taken(self) -> Tapped:
        """Everything that was seen by now."""
        if self._socket is not None:
            while self._drain():
                pass
            _, dropped = _STATISTICS.unpack(
                self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size)
            )  # the kernel counts from the last question on
            self._dropped += dropped if not self._cut else 0
        heard, since_ns = self._errors.heard() if self._errors is not None else ((), 0)
        before = (each for each in heard if each.received_ns < self._began_ns)
        return Tapped(
            packets=(*(each for each in before if each.error and _about(each.error, self._wanted)), *self._packets),
            began_ns=self._began_ns,
            errors_since_ns=0 if heard else since_ns,
            dropped=self._dropped,
            cut=self._cut,
            blind=self._blind,
        )

    def _drain(self) -> bool:
        """Read some packets; whether more may be waiting."""
        assert self._socket is not None
        for _ in range(_MOST_AT_ONCE):
            try:
                head, control, _, address = self._socket.recvmsg(_SNAP_BYTES, 64)
            except BlockingIOError:
                return False
            except OSError as error:
                if error.errno == errno.ENETDOWN:  # said once, of one of the devices
                    continue
                raise
            if self._cut:
                continue
            received_ns, _ = read_control(control)
            packet = kept(head, received_ns or time.time_ns(), address[0], address[2] == _OUTGOING, self._wanted)
            if packet is not None:
                self._packets.append(packet)
            if len(self._packets) >= MOST_PACKETS:
                self._cut = True
                attach_filter(self._socket, [(RETURN, 0, 0, DROP)])
        return True


class Errors:
    """ICMP errors that come in, whatever they are about, from `listen` on.

    Routers have few of them for a node: who listens only while a burst is followed may miss those that the packets
    before it have used up. Without the privilege nothing is heard.
    """

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._heard: list[TapPacket] = []
        self._since_ns = 0

    def listen(self) -> None:
        """From now on, if not yet."""
        if self._since_ns:
            return
        self._since_ns = time.time_ns()
        with suppress(OSError):
            self._socket = _opened(error_filter())

    def heard(self) -> tuple[tuple[TapPacket, ...], int]:
        """What has come by now, and since when it is listened to, UNIX nanoseconds: 0 for never."""
        while self._socket is not None and len(self._heard) < MOST_PACKETS:
            try:
                head, control, _, address = self._socket.recvmsg(_SNAP_BYTES, 64)
            except OSError as error:
                if error.errno == errno.ENETDOWN:
                    continue
                break
            packet, received_ns = ip_packets.read(head), read_control(control)[0] or time.time_ns()
            if packet is not None and packet.error is not None and address[2] != _OUTGOING:
                self._heard.append(_tap_packet(packet, received_ns, address[0], False, None))
        return tuple(self._heard), self._since_ns if self._socket is not None else 0

    def close(self) -> None:
        """End it."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def kept(head: bytes, received_ns: int, device: str, outgoing: bool, wanted: Wanted) -> TapPacket | None:
    """A packet as data; None if neither the tunnel nor the burst has to do with it."""
    packet = ip_packets.read(head)
    if packet is None:
        return None
    ports = {packet.source_port, packet.destination_port}
    tunnel = None
    if packet.error is not None:
        if not _about(packet.error, wanted):
            return None
    elif packet.fragment:
        if wanted.addresses.isdisjoint((packet.source, packet.destination)):
            return None
    elif device != wanted.interface and not ports.isdisjoint(wanted.tunnel_ports):
        tunnel = tunnel_packets.read(wanted.product, packet.payload, packet.payload_bytes, wanted.public_key)
        if tunnel is None:
            return None
    elif ports.isdisjoint(wanted.probe_ports):
        return None
    return _tap_packet(packet, received_ns, device, outgoing, tunnel)


def _tap_packet(
    packet: IpPacket, received_ns: int, device: str, outgoing: bool, tunnel: TunnelPacket | None
) -> TapPacket:
    return TapPacket(
        received_ns=received_ns,
        device=device,
        outgoing=outgoing,
        source=packet.source,
        destination=packet.destination,
        source_port=packet.source_port,
        destination_port=packet.destination_port,
        length_bytes=packet.length_bytes,
        ttl=packet.ttl,
        fragment=packet.fragment,
        tunnel=tunnel,
        error=packet.error,
    )


def _about(error: IcmpError, wanted: Wanted) -> bool:
    return not wanted.tunnel_ports.union(wanted.probe_ports).isdisjoint((error.source_port, error.destination_port))


def _opened(program: Sequence[Instruction]) -> socket.socket:
    """The socket sees nothing before its filter is there: it is made for no protocol, and bound behind the filter."""
    tapping = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0)
    try:
        attach_filter(tapping, program)
        tapping.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        try:
            tapping.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, _BUFFER_BYTES)
        except PermissionError:  # only CAP_NET_ADMIN may exceed the limit
            tapping.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        _bind_to_all(tapping)
    except BaseException:
        tapping.close()
        raise
    return tapping


def _bind_to_all(tapping: socket.socket) -> None:
    """Interface 0 means all; Python's own `bind` takes the name of one only."""
    address = _ADDRESS.pack(socket.AF_PACKET, socket.htons(ETH_P_ALL), 0, 0, 0, 0, b"")
    library = ctypes.CDLL(None, use_errno=True)
    if library.bind(tapping.fileno(), address, len(address)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
