"""The answers of one host that come in by one device, in front of every rule that could stop them."""

import socket
from ipaddress import ip_address
from typing import Final, Self

from preflight.net.bpf import DROP, EQUAL, LOAD_BYTE, LOAD_WORD, RETURN, WHOLE, Instruction, attach_filter
from preflight.proto.way.ip_packets import ends

ETH_P_ALL: Final = 0x0003
_NUMBERS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP}
_HEAD_BYTES = 128
_MOST = 64


class Answers:
    """`with Answers(device, address, port, "tcp") as heard:` sees what comes; `heard.taken()` gives it.

    Without the privilege it sees nothing, and `blind` says so. The socket belongs to this process.
    """

    def __init__(self, device: str, address: str, port: int, protocol: str) -> None:
        self._device, self._address, self._port, self._protocol = device, address, port, protocol
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        try:
            self._socket = _opened(self._device, self._address, self._protocol)
        except OSError:
            self._socket = None
        return self

    def __exit__(self, *error: object) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    @property
    def blind(self) -> bool:
        """Whether nobody looks."""
        return self._socket is None

    def taken(self) -> list[int]:
        """The ports of this node to which something came from the host's port since the last call."""
        found: list[int] = []
        while self._socket is not None and len(found) < _MOST:
            try:
                packet = ends(self._socket.recv(_HEAD_BYTES))
            except OSError:  # there is no more, or the device has just gone down
                break
            if packet is not None and packet[:2] == (self._address, self._port):
                found.append(packet[2])
        return found


def _opened(device: str, address: str, protocol: str) -> socket.socket:
    """A packet socket on a device, with its filter from the start. Raises OSError."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0)
    try:
        attach_filter(sock, _program(address, _NUMBERS[protocol]))
        sock.bind((device, ETH_P_ALL))
    except OSError:
        sock.close()
        raise
    return sock


def _program(address: str, number: int) -> list[Instruction]:
    """Packets of a protocol from an address; of IPv6 the last four bytes of it are enough to leave out most others."""
    known = ip_address(address)
    protocol_at, source_at = (9, 12) if known.version == 4 else (6, 20)
    return [
        (LOAD_BYTE, 0, 0, protocol_at),
        (EQUAL, 0, 3, number),
        (LOAD_WORD, 0, 0, source_at),
        (EQUAL, 0, 1, int(known) & 0xFFFFFFFF),
        (RETURN, 0, 0, WHOLE),
        (RETURN, 0, 0, DROP),
    ]
