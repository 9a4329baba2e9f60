"""The old ClientHello, and what is read from an answer, whole and in pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflight.proto.tcp.tls_hello import HelloAnswer, answer_to, client_hello

RANDOM = bytes(range(32))
SERVER_HELLO = bytes([22, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2, *range(32), 0, 0xC0, 0x13, 0])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (SERVER_HELLO, HelloAnswer("TLS 1.1")),
        (SERVER_HELLO[:9] + b"\x03\x01" + SERVER_HELLO[11:], HelloAnswer("TLS 1.0")),
        (bytes([21, 3, 2, 0, 2, 2, 70]), HelloAnswer(None, "protocol_version")),
        (bytes([21, 3, 2, 0, 2, 2, 99]), HelloAnswer(None, "alert 99")),
        (bytes([21, 3, 2, 0, 2, 1, 112]) + SERVER_HELLO, HelloAnswer("TLS 1.1")),
        (b"HTTP/1.1 400 Bad Request\r\n", HelloAnswer(None, "no TLS")),
    ],
)
def test_answers(data: bytes, expected: HelloAnswer) -> None:
    """Each kind of answer is read, whatever the pieces in which it comes, and never differently by half of it."""
    assert answer_to(data) == expected
    assert {answer_to(data[:end]) for end in range(len(data))} <= {None, expected}


@given(st.binary(max_size=80))
def test_any_bytes_are_an_answer_or_none(data: bytes) -> None:
    """What a stranger sends must not break the check."""
    answer_to(data)
    answer_to(b"\x16\x03\x02" + data)


def test_the_hello_offers_no_more_than_tls_1_1() -> None:
    """Its lengths are right to the last byte, and neither a newer version nor an extension for one is in it."""
    hello = client_hello("control.example", RANDOM)
    assert hello[:3] == b"\x16\x03\x01"
    assert int.from_bytes(hello[3:5]) == len(hello) - 5
    assert int.from_bytes(hello[6:9]) == len(hello) - 9
    assert hello[9:11] == b"\x03\x02"
    assert hello[11:43] == RANDOM
    assert b"control.example" in hello
    assert b"\x00\x2b" not in hello.replace(RANDOM, b""), "supported_versions would offer TLS 1.3"


def test_an_address_is_no_server_name() -> None:
    """RFC 6066 section 3: servers may break off at a name that is an address."""
    assert b"10.66.0.3" not in client_hello("10.66.0.3", RANDOM)
