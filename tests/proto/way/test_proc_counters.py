"""The kernel's files of counters: found by name, and nothing from a line of an unknown shape."""

import pytest

from preflight.model.counters import Device, UdpSocket
from preflight.proto.way.proc_counters import parse_devices, parse_lines, parse_pairs, parse_sockets

DEV = """Inter-|   Receive  |  Transmit
 face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed
    lo: 100 2 0 0 0 0 0 0 100 2 0 0 0 0 0 0
  eth0:1500 10 1 3 0 0 0 0 900 9 4 5 0 0 0 0
"""
UDP = """   sl  local_address rem_address   st tx_queue rx_queue tr tm retrnsmt uid timeout inode ref pointer drops
  211: 0100007F:CA6C 00000000:0000 07 00000000:00000900 00:00000000 00000000 1000 0 17 2 0000000000000000 42
"""
ANY = "0" * 32
UDP6 = f"""  sl  local_address remote_address st tx_queue rx_queue tr tm retrnsmt uid timeout inode ref pointer drops
   3: {ANY}:CA6C {ANY}:0000 07 00000000:00000000 00:00000000 00000000 0 0 18 2 0000000000000000 7
"""


def test_pairs_and_lines_are_found_by_name() -> None:
    """The columns differ from kernel to kernel, and the same name is in several protocols."""
    pairs = "Ip: Forwarding InReceives\nIp: 2 70\nUdp: NoPorts InErrors\nUdp: 5 -1\n"
    assert parse_pairs(pairs) == {"Ip.Forwarding": 2, "Ip.InReceives": 70, "Udp.NoPorts": 5, "Udp.InErrors": -1}
    assert parse_lines("Ip6InReceives   \t9\nIcmp6OutType134 3\nUdp6NoPorts 1\n") == {
        "Ip6.InReceives": 9,
        "Icmp6.OutType134": 3,
        "Udp6.NoPorts": 1,
    }


def test_devices_and_sockets() -> None:
    """Sent and received are not confused, and a socket's drops are its last column."""
    assert parse_devices(DEV) == {"lo": Device(2, 0, 2, 0, 0), "eth0": Device(10, 3, 9, 4, 5)}
    assert parse_sockets(UDP) == [UdpSocket(51820, 0x900, 42, 1000)]
    assert parse_sockets(UDP6) == [UdpSocket(51820, 0, 7, 0)]


@pytest.mark.parametrize("text", ["", "x", "x\ny\nz\nq 1 2", "Ip: a\nUdp: 1\n", "h\nh\neth0: 1 2 three\n", "\n\n\n"])
def test_an_unknown_shape_gives_nothing(text: str) -> None:
    """Another kernel must not crash a run."""
    assert (parse_pairs(text), parse_devices(text), parse_sockets(text)) == ({}, {}, [])
    assert all(isinstance(value, int) for value in parse_lines(text).values())
