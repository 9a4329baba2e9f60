"""This node's own eyes: UDP datagrams that arrive on an interface, seen before its firewall judges them."""

import ctypes
import socket
import struct
from ipaddress import ip_address

from preflight.net.udp import family_of

SO_ATTACH_FILTER = 26
ETH_P_IP = 0x0800
ETH_P_IPV6 = 0x86DD

_INSTRUCTION = struct.Struct("=HBBI")  # struct sock_filter: code, jump if true, jump if false, operand
_PROGRAM = struct.Struct("@HP")  # struct sock_fprog: count, pointer
_LOAD_BYTE, _LOAD_HALF, _LOAD_HALF_BEHIND_HEADER = 0x30, 0x28, 0x48
_IP_HEADER_LENGTH, _ANY_BIT, _EQUAL, _RETURN = 0xB1, 0x45, 0x15, 0x06
_DROP, _WHOLE = 0, 0x40000


class PacketWatch:
    """Counts datagrams from `source` to UDP port `port` that come in on `interface`, from now on.

    A packet socket without link-layer header, as tunnels have none; bound to one protocol it sees what arrives only,
    not what leaves. Raises PermissionError without CAP_NET_RAW, OSError where there is no such interface.
    """

    def __init__(self, interface: str, source: str, port: int) -> None:
        self._source = ip_address(source).packed
        is_ipv6 = family_of(source) == socket.AF_INET6
        self._source_at = 8 if is_ipv6 else 12
        self._seen = 0
        # Protocol 0: nothing comes in before filter and interface are set.
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0)
        try:
            _attach(self._socket, _ipv6_filter(port) if is_ipv6 else _ipv4_filter(port))
            self._socket.bind((interface, ETH_P_IPV6 if is_ipv6 else ETH_P_IP))
        except BaseException:
            self._socket.close()
            raise

    def seen(self) -> int:
        """How many have come in so far."""
        while True:
            try:
                packet = self._socket.recv(64)
            except OSError:  # none left, or the interface has gone down
                return self._seen
            self._seen += packet[self._source_at :].startswith(self._source)

    def close(self) -> None:
        """Stop watching."""
        self._socket.close()


Instruction = tuple[int, int, int, int]


def _ipv4_filter(port: int) -> list[Instruction]:
    """Unfragmented, or first fragment of, UDP to `port`."""
    return [
        (_LOAD_BYTE, 0, 0, 9),
        (_EQUAL, 0, 6, socket.IPPROTO_UDP),
        (_LOAD_HALF, 0, 0, 6),
        (_ANY_BIT, 4, 0, 0x1FFF),
        (_IP_HEADER_LENGTH, 0, 0, 0),
        (_LOAD_HALF_BEHIND_HEADER, 0, 0, 2),
        (_EQUAL, 0, 1, port),
        (_RETURN, 0, 0, _WHOLE),
        (_RETURN, 0, 0, _DROP),
    ]


def _ipv6_filter(port: int) -> list[Instruction]:
    """UDP to `port` without extension headers."""
    return [
        (_LOAD_BYTE, 0, 0, 6),
        (_EQUAL, 0, 3, socket.IPPROTO_UDP),
        (_LOAD_HALF, 0, 0, 42),
        (_EQUAL, 0, 1, port),
        (_RETURN, 0, 0, _WHOLE),
        (_RETURN, 0, 0, _DROP),
    ]


def _attach(packets: socket.socket, program: list[Instruction]) -> None:
    """Let the kernel sort out everything else: a busy interface must not fill the buffer."""
    code = ctypes.create_string_buffer(b"".join(_INSTRUCTION.pack(*instruction) for instruction in program))
    packets.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, _PROGRAM.pack(len(program), ctypes.addressof(code)))
