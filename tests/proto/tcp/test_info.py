"""The kernel's struct tcp_info: each field from its own place, whatever the kernel leaves out at the end."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflight.proto.tcp.info import SIZE, decode

PLACES = {
    "snd_mss": 16,
    "rcv_mss": 20,
    "unacked": 24,
    "sacked": 28,
    "lost": 32,
    "pmtu": 60,
    "rtt_us": 68,
    "advmss": 84,
    "retransmitted": 100,
    "out_of_order": 224,
}


@pytest.mark.parametrize(("name", "place"), PLACES.items())
def test_each_count_has_its_place(name: str, place: int) -> None:
    """Protects the table: four bytes at the offset of linux/tcp.h, and no other field moves."""
    data = bytearray(SIZE)
    struct.pack_into("=I", data, place, 77_777)
    found = decode(bytes(data))
    assert {field: getattr(found, field) for field in PLACES} == {field: 77_777 * (field == name) for field in PLACES}


def test_totals_and_options() -> None:
    """Protects the eight-byte totals, the byte of the timeouts in a row, and the bit of the timestamps option."""
    data = bytearray(SIZE)
    data[2] = 3
    struct.pack_into("=QQ", data, 120, 2**40, 2**41)
    data[5] = 1
    found = decode(bytes(data))
    assert (found.acked, found.received, found.timeouts, found.timestamps) == (2**40, 2**41, 3, True)
    data[5] = 2
    assert not decode(bytes(data)).timestamps


@given(st.binary(max_size=300))
def test_any_length_is_read(data: bytes) -> None:
    """Protects older and newer kernels: what is missing reads as 0, what is more is left alone."""
    assert decode(data).acked == decode(data + bytes(300)).acked
