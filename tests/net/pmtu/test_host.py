"""What this host says about its own side of a path."""

from preflight.net.pmtu.host import HostPath, kernel_path_mtu, read_small_file
from preflight.proto.pmtu.wire import LARGEST


def test_what_the_host_knows() -> None:
    """Protects the responder's answers about its own host."""
    host = HostPath()
    assert host.device_mtu("127.0.0.1") >= LARGEST
    assert host.path_mtu("127.0.0.1") >= LARGEST
    counted = host.reassembled()
    assert counted is not None
    assert counted >= 0


def test_an_address_without_a_route_is_unknown() -> None:
    """Zero is "unknown", never an error: the search then begins with the largest size."""
    assert kernel_path_mtu("2001:db8::1") in range(LARGEST + 1)
    assert HostPath().device_mtu("255.255.255.255") == 0


def test_a_small_file_is_read_whole() -> None:
    """The kernel's counters come in one piece."""
    assert read_small_file("/proc/thread-self/net/snmp").startswith(b"Ip:")
