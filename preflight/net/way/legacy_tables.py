"""The tables of iptables-legacy as the kernel gives them out.

Never by the program: it makes the tables that it asks for, and with them connection tracking.
"""

import ctypes
import os
import socket
import struct
from pathlib import Path

from preflight.proto.way.netfilter import legacy
from preflight.proto.way.netfilter.legacy import IPV4, IPV6, Layout
from preflight.proto.way.netfilter.ruleset import Chain

_NET = Path("/proc/thread-self/net")  # of this thread's namespace, where `/proc/net` is the process's
_GET_INFO, _GET_ENTRIES = 64, 65
_NAME_BYTES = 32


def read_legacy() -> tuple[Chain, ...]:
    """All chains of both families. Raises OSError if the kernel refuses, ValueError for what cannot be read."""
    return (
        *_family("ip_tables_names", socket.AF_INET, socket.SOL_IP, IPV4),
        *_family("ip6_tables_names", socket.AF_INET6, socket.IPPROTO_IPV6, IPV6),
    )


def _family(names: str, family: int, level: int, layout: Layout) -> list[Chain]:
    try:
        # Asking for a table that is not there would make it.
        found = (_NET / names).read_text(encoding="ascii").split()
    except FileNotFoundError:
        return []
    chains: list[Chain] = []
    if found:
        with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as asking:
            for name in found:
                chains += _table(asking, level, name, layout)
    return chains


def _table(asking: socket.socket, level: int, name: str, layout: Layout) -> tuple[Chain, ...]:
    head = name.encode("ascii")[: _NAME_BYTES - 1].ljust(_NAME_BYTES, b"\0")
    info = legacy.table_info(_get(asking, level, _GET_INFO, head.ljust(legacy.INFO_BYTES, b"\0")))
    question = struct.pack("=32sI", head, info.bytes).ljust(legacy.ENTRIES_HEADER_BYTES + info.bytes, b"\0")
    entries = _get(asking, level, _GET_ENTRIES, question)[legacy.ENTRIES_HEADER_BYTES :]
    try:
        return legacy.chains_of(info, entries, layout)
    except struct.error as error:
        raise ValueError(f"the table {name} of iptables cannot be read: {error}") from None


def _get(asking: socket.socket, level: int, option: int, question: bytes) -> bytes:
    """getsockopt(2) with a question in its buffer, which Python's own does not take."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer, length = ctypes.create_string_buffer(question, len(question)), ctypes.c_uint(len(question))
    if libc.getsockopt(asking.fileno(), level, option, buffer, ctypes.byref(length)) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return buffer.raw[: length.value]
