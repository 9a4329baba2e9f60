"""Which UDP ports of this node are bound, and by whom: /proc, read only."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from preflight.model.udp_port import UdpPort

PROC: Final = Path("/proc")
_TABLES = ("net/udp", "net/udp6")
_MOST_DESCRIPTORS = 100_000


def udp_ports(proc: Path = PROC, *, named: bool = True) -> tuple[UdpPort, ...]:
    """All bound UDP sockets of this network namespace. named: with the program that has each, as far as root sees it.

    The kernel's own sockets, such as those of its WireGuard, belong to no program.
    """
    rows = [row for table in _TABLES for row in _rows(proc / table)]
    programs = _programs(proc, {inode for _, _, _, inode in rows if inode}) if named else {}
    return tuple(UdpPort(port, address, programs.get(inode), drops) for port, address, drops, inode in rows)


def _rows(table: Path) -> Iterator[tuple[int, str, int, int]]:
    """Port, address, dropped datagrams and inode of each line of a table; none if the kernel has no such table."""
    try:
        lines = table.read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return
    for line in lines:
        fields = line.split()
        address, _, port = fields[1].partition(":")
        yield int(port, 16), _address(address), int(fields[12]), int(fields[9])


def _address(text: str) -> str:
    """The kernel prints each word of an address as this machine stores it."""
    words = (int(text[at : at + 8], 16) for at in range(0, len(text), 8))
    packed = b"".join(word.to_bytes(4, "little") for word in words)
    return socket.inet_ntop(socket.AF_INET6 if len(packed) == 16 else socket.AF_INET, packed)


def _programs(proc: Path, inodes: set[int]) -> dict[int, str]:
    """The names of programs by the inodes of their sockets; of processes that may not be read, nothing."""
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    found: dict[int, str] = {}
    looked = 0
    for process in proc.glob("[0-9]*"):
        try:
            descriptors = list((process / "fd").iterdir())
            name = (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
        except OSError:  # not ours to read, or it has ended
            continue
        for descriptor in descriptors:
            looked += 1
            try:
                inode = wanted.get(str(descriptor.readlink()))
            except OSError:
                continue
            if inode is not None:
                found[inode] = name
        if looked > _MOST_DESCRIPTORS or len(found) == len(wanted):
            break
    return found
