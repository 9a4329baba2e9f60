"""The echo codec: our own requests and their answers are known, and nothing else is."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflight.proto.icmp.echo import EchoCodec, EchoError, Version, quoted_sequence

TOKEN = b"toke"
IDENTIFIER = 0xBEEF
VERSIONS: tuple[Version, ...] = (4, 6)
REQUEST = {4: 8, 6: 128}
REPLY = {4: 0, 6: 129}


def codec(version: Version, token: bytes = TOKEN, identifier: int = IDENTIFIER) -> EchoCodec:
    """A codec as these tests use it."""
    return EchoCodec(version, identifier, token)


def answer_to(request: bytes, version: int) -> bytes:
    """What a host makes of a request: its type alone changes (RFC 792: the data must be returned)."""
    return bytes([REPLY[version]]) + request[1:]


def ip_header(version: int) -> bytes:
    """The header that an error quotes, towards 10.66.0.2 or fd66::2."""
    if version == 4:
        return bytes([0x45]) + bytes(8) + bytes([1]) + bytes(2) + bytes([10, 66, 0, 1, 10, 66, 0, 2])
    return bytes([0x60]) + bytes(5) + bytes([58, 64]) + bytes(16) + bytes.fromhex("fd66") + bytes(13) + bytes([2])


@given(number=st.integers(0, 2**32 - 1), token=st.binary(min_size=4, max_size=4), identifier=st.integers(0, 0xFFFF))
def test_the_checksum_is_right_for_every_number(number: int, token: bytes, identifier: int) -> None:
    """It is made from a sum kept ready; a wrong one is dropped in silence, which would look like loss (RFC 1071)."""
    request = codec(4, token, identifier).request(number)
    total = sum(struct.unpack(f"!{len(request) // 2}H", request))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert total == 0xFFFF
    assert len(request) == 64


@pytest.mark.parametrize("version", VERSIONS)
@given(number=st.integers(0, 2**32 - 1))
def test_an_answer_gives_the_number_back(version: Version, number: int) -> None:
    """Whatever the identifier has become on the way: ping sockets and address translators replace it."""
    request = codec(version).request(number)
    reply = answer_to(request, version)
    assert codec(version).reply(reply) == number
    assert codec(version).reply(reply[:4] + b"\x00\x01" + reply[6:]) == number
    assert codec(version).reply(request) is None, "a raw socket on loopback sees its own requests"
    assert codec(version, token=b"else").reply(reply) is None
    assert codec(version).reply(reply[:6] + bytes([reply[6] ^ 1]) + reply[7:]) is None


@pytest.mark.parametrize("version", VERSIONS)
def test_an_error_names_the_request(version: Version) -> None:
    """Quoted are the headers and eight bytes at least (RFC 792): sequence number and destination are in them."""
    request = codec(version).request(0x12345)
    kind = (3, 1) if version == 4 else (1, 3)
    message = bytes(kind) + bytes(6) + ip_header(version) + request[:8]
    destination = ip_header(version)[16:20] if version == 4 else ip_header(version)[24:40]
    words = "host unreachable" if version == 4 else "address unreachable"
    assert codec(version).error(message) == EchoError(0x2345, destination, words)
    assert codec(version, identifier=1).error(message) is None
    assert codec(version).error(answer_to(request, version)) is None
    assert codec(version).error(request) is None


@pytest.mark.parametrize("version", VERSIONS)
@given(noise=st.binary(max_size=120))
def test_noise_is_none_of_ours(version: Version, noise: bytes) -> None:
    """Any host may send ICMP to a raw socket: nothing raises, nothing counts."""
    assert codec(version).reply(noise) is None
    error = codec(version).error(noise)
    assert error is None or len(error.destination) in (4, 16)
    assert quoted_sequence(noise) is None or len(noise) >= 8
