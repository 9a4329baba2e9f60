"""The kernel's tables of UDP sockets, and whose they are."""

import socket
from pathlib import Path

from preflight.net.way.udp_ports import udp_ports

HEAD = (
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops"
)
LINE = " 123: {address}:CA6C 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 {inode} 2 0 7"


def test_own_sockets_are_found_with_this_program() -> None:
    """Both families, on the machine as it is."""
    program = Path("/proc/self/comm").read_text().strip()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as four,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as six,
    ):
        four.bind(("127.0.0.1", 0))
        six.bind(("::1", 0))
        found = {(each.port, each.address): each for each in udp_ports()}
        assert found[four.getsockname()[1], "127.0.0.1"].program == program
        assert found[six.getsockname()[1], "::1"].program == program
        assert {each.program for each in udp_ports(named=False)} == {None}


def test_the_kernel_s_tables(tmp_path: Path) -> None:
    """A socket without an inode is the kernel's; one whose process has ended has no program; drops are counted."""
    (tmp_path / "net").mkdir()
    lines = [HEAD, LINE.format(address="0100007F", inode=0), LINE.format(address="00000000", inode=77)]
    (tmp_path / "net" / "udp").write_text("\n".join(lines) + "\n")
    descriptors = tmp_path / "12" / "fd"
    descriptors.mkdir(parents=True)
    (tmp_path / "13").mkdir()
    (tmp_path / "12" / "comm").write_text("wireguard-go\n")
    (descriptors / "5").symlink_to("socket:[77]")
    (descriptors / "6").symlink_to("/dev/null")
    kernel, daemon = udp_ports(tmp_path)
    assert (kernel.port, kernel.address, kernel.program, kernel.drops) == (51820, "127.0.0.1", None, 7)
    assert (daemon.address, daemon.program) == ("0.0.0.0", "wireguard-go")


def test_a_kernel_without_udp(tmp_path: Path) -> None:
    """Without a table there is no socket."""
    assert udp_ports(tmp_path) == ()
