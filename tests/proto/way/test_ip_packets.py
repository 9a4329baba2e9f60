"""Headers are read as they are on the wire, and nothing that a stranger sends can break the reader."""

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflight.model.tapped import IcmpError
from preflight.proto.way import ip_packets

V4, W4, V6, W6 = "192.0.2.1", "198.51.100.2", "2001:db8::1", "2001:db8::2"
PAYLOAD = b"payload"


def udp(payload: bytes = PAYLOAD, *, length: int = 0) -> bytes:
    """A UDP datagram from port 40000 to port 862."""
    return struct.pack("!HHHH", 40000, 862, length or 8 + len(payload), 0) + payload


def v4(behind: bytes, protocol: int = 17, *, offset: int = 0, options: bytes = b"", total: int | None = None) -> bytes:
    """An IPv4 packet with a TTL of 57."""
    words = 5 + len(options) // 4
    length = words * 4 + len(behind) if total is None else total
    ends = ip_address(V4).packed + ip_address(W4).packed
    return struct.pack("!BBHHHBBH", 0x40 | words, 0, length, 1, offset, 57, protocol, 0) + ends + options + behind


def v6(behind: bytes, protocol: int = 17) -> bytes:
    """An IPv6 packet with a hop limit of 57."""
    ends = ip_address(V6).packed + ip_address(W6).packed
    return struct.pack("!IHBB", 6 << 28, len(behind), protocol, 57) + ends + behind


def fragment(behind: bytes, offset: int, protocol: int = 17) -> bytes:
    """IPv6's fragment header in front of what follows."""
    return struct.pack("!BBHI", protocol, 0, offset << 3, 9) + behind


HOP_BY_HOP = bytes((17, 0, 1, 4, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("head", "source"),
    [
        (v4(udp()), V4),
        (v4(udp(), options=b"\x01" * 8), V4),
        (v6(udp()), V6),
        (v6(HOP_BY_HOP + udp(), 0), V6),
        (v6(fragment(udp(), 0), 44), V6),
    ],
)
def test_a_datagram(head: bytes, source: str) -> None:
    """Options and extension headers are skipped."""
    packet = ip_packets.read(head)
    assert packet is not None
    assert (packet.source, packet.source_port, packet.destination_port) == (source, 40000, 862)
    assert (packet.payload, packet.payload_bytes, packet.ttl) == (PAYLOAD, len(PAYLOAD), 57)
    assert packet.length_bytes == len(head)
    assert not packet.fragment


@pytest.mark.parametrize("head", [v4(udp(), offset=185), v6(fragment(udp(), 185), 44)])
def test_a_later_fragment_has_no_ports(head: bytes) -> None:
    """Its first bytes are data of the datagram."""
    packet = ip_packets.read(head)
    assert packet is not None
    assert packet.fragment
    assert packet.source_port is None


def test_a_first_fragment_has_the_length_of_the_datagram() -> None:
    """By the UDP header, so that its class is that of the whole."""
    packet = ip_packets.read(v4(udp(length=3000), offset=0x2000))
    assert packet is not None
    assert packet.payload_bytes == 2992


def test_a_length_of_zero_is_that_of_the_capture() -> None:
    """Segmentation offload leaves it out for what is larger than a header can say."""
    packet = ip_packets.read(v4(udp(), total=0), 70_000)
    assert packet is not None
    assert packet.length_bytes == 70_000


@pytest.mark.parametrize(
    ("kind", "code", "reason"),
    [(3, 1, "host"), (3, 3, "port"), (3, 13, "prohibited"), (3, 0, "network"), (3, 4, "too big"), (11, 0, "expired")],
)
def test_an_error_and_what_it_is_about(kind: int, code: int, reason: str) -> None:
    """The quoted packet's addresses and ports, as far as eight bytes of it go."""
    packet = ip_packets.read(v4(bytes((kind, code)) + bytes(6) + v4(udp())[:28], 1))
    assert packet is not None
    assert packet.error == IcmpError(
        reason=reason,  # type: ignore[arg-type]
        source=V4, destination=W4, source_port=40000, destination_port=862,
    )  # fmt: skip


@pytest.mark.parametrize(("kind", "code", "reason"), [(1, 4, "port"), (1, 1, "prohibited"), (1, 3, "host")])
def test_an_error_of_ipv6(kind: int, code: int, reason: str) -> None:
    """The same in the numbers of ICMPv6."""
    packet = ip_packets.read(v6(bytes((kind, code)) + bytes(6) + v6(udp()), 58))
    assert packet is not None
    assert packet.error is not None
    assert (packet.error.reason, packet.error.destination_port) == (reason, 862)


def test_what_is_no_error() -> None:
    """Echoes, unknown codes, and errors about errors."""
    echo = ip_packets.read(v4(bytes((8, 0)) + bytes(6) + v4(udp()), 1))
    nested = ip_packets.read(v4(bytes((3, 3)) + bytes(6) + v4(bytes((3, 3)) + bytes(6) + v4(udp()), 1), 1))
    for packet in (echo, nested):
        assert packet is not None
        assert packet.error is None


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=120).map(lambda rest: b"\x45" + rest)))
def test_no_packet_breaks_the_reader(head: bytes) -> None:
    """A stranger's bytes are a packet or nothing."""
    packet = ip_packets.read(head)
    assert packet is None or packet.source


def test_errors_in_errors_do_not_go_deep() -> None:
    """Ten thousand bytes of nested errors are read without a deep recursion."""
    head = b""
    for _ in range(300):
        head = v4(bytes((3, 3)) + bytes(6) + head, 1)
    assert ip_packets.read(head) is not None
