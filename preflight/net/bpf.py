"""Classic BPF on a socket: the kernel drops what is not for us before it fills the buffer (socket(7))."""

import ctypes
import socket
import struct
from collections.abc import Sequence
from typing import Final

SO_ATTACH_FILTER: Final = 26

LOAD_BYTE: Final = 0x30
LOAD_WORD: Final = 0x20
LOAD_HALF: Final = 0x28
LOAD_BYTE_BEHIND_HEADER: Final = 0x50
LOAD_HALF_BEHIND_HEADER: Final = 0x48
IP_HEADER_LENGTH: Final = 0xB1
"""Sets the index register to the length of the IPv4 header, for the loads `BEHIND_HEADER`."""
ANY_BIT: Final = 0x45
JUMP: Final = 0x05
"""Skips as many instructions as the operand says."""
EQUAL: Final = 0x15
AT_LEAST: Final = 0x35
RETURN: Final = 0x06
PROTOCOL_AT: Final = 0xFFFFF000
"""Where a load finds the packet's Ethernet type, also without a link-layer header (SKF_AD_PROTOCOL)."""
DROP: Final = 0
WHOLE: Final = 0x40000

Instruction = tuple[int, int, int, int]
"""Code, instructions to skip if true, if false, operand."""

_INSTRUCTION = struct.Struct("=HBBI")  # struct sock_filter
_PROGRAM = struct.Struct("@HP")  # struct sock_fprog: count, pointer


def attach_filter(sock: socket.socket, program: Sequence[Instruction]) -> None:
    """Make the socket receive only what the program returns `WHOLE` for. Raises OSError for a malformed program."""
    code = ctypes.create_string_buffer(b"".join(_INSTRUCTION.pack(*instruction) for instruction in program))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, _PROGRAM.pack(len(program), ctypes.addressof(code)))
