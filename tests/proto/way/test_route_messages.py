"""Netlink messages about routes, octet by octet."""

import errno
import struct
from dataclasses import replace
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflight.model.flow import Flow
from preflight.proto.way.route_messages import LOOKUP_TABLE, RouteAnswer, question, read_answer

FLOW = Flow(source="10.5.0.1", destination="10.9.0.1", source_port=51820, destination_port=862, mark=7, uid=1000)


def attributes(message: bytes) -> dict[int, bytes]:
    """Those behind the header and the fixed part."""
    found, data = {}, message[28:]
    while data:
        length, kind = struct.unpack_from("=HH", data)
        found[kind] = data[4:length]
        data = data[length + -length % 4 :]
    return found


def test_a_question_has_every_selector_of_a_rule() -> None:
    """Protects from an answer about other packets: what is left out selects nothing."""
    message = question(FLOW, 5, LOOKUP_TABLE)
    length, kind, flags, number, _ = struct.unpack_from("=IHHII", message)
    assert (length, kind, flags, number) == (len(message), 26, 1, 5)
    assert message[16:19] == bytes((2, 32, 32))
    found = attributes(message)
    assert (found[1], found[2]) == (bytes((10, 9, 0, 1)), bytes((10, 5, 0, 1)))
    assert (found[16], found[25]) == (struct.pack("=I", 7), struct.pack("=I", 1000))
    assert (found[27], found[28], found[29]) == (b"\x11", struct.pack("!H", 51820), struct.pack("!H", 862))
    ping = attributes(question(replace(FLOW, protocol="icmp", source="", mark=0), 5, 0, bound_to=3))
    assert set(ping) == {1, 4, 25, 27}
    assert attributes(question(FLOW, 5, 0, incoming=3))[3] == struct.pack("=I", 3)
    assert attributes(question(Flow(source="", destination="fd09::1", protocol="icmp"), 5, 0))[27] == b"\x3a"


def answer(*values: tuple[int, bytes], family: int = 2, length: int = 24, kind: int = 1) -> bytes:
    """What the kernel says."""
    body = struct.pack("=BBBBBBBBI", family, length, 0, 0, 254, 0, 0, kind, 0)
    for attribute, value in values:
        body += struct.pack("=HH", 4 + len(value), attribute) + value + bytes(-len(value) % 4)
    return struct.pack("=IHHII", 16 + len(body), 24, 0, 5, 0) + body


def test_an_answer_and_a_refusal() -> None:
    """The table, the device, the gateway of either family, the source and the entry."""
    number = struct.pack("=I", 51820)
    found = read_answer(
        answer((1, bytes((10, 9, 0, 0))), (15, number), (4, struct.pack("=I", 3)), (7, bytes((10, 5, 0, 1)))), 5
    )
    assert found == RouteAnswer(
        type="unicast", interface=3, source="10.5.0.1", table=51820, destination=ip_network("10.9.0.0/24")
    )
    via = read_answer(answer((18, struct.pack("=H", 10) + bytes(15) + b"\x01"), length=0), 5)
    assert isinstance(via, RouteAnswer)
    assert (via.gateway, via.destination, via.table) == ("::1", ip_network("0.0.0.0/0"), 254)
    refused = struct.pack("=IHHIIi", 20, 2, 0, 5, 0, -errno.EACCES)
    assert read_answer(refused, 5) == errno.EACCES
    assert read_answer(refused, 6) is None


@pytest.mark.parametrize("message", [b"", bytes(15)])
def test_a_short_message_is_about_nothing(message: bytes) -> None:
    """The next one is read."""
    assert read_answer(message, 0) is None


@given(st.binary(max_size=60))
def test_attributes_of_any_shape_do_not_hang(rest: bytes) -> None:
    """A length of zero must not be read for ever."""
    head = answer()
    try:
        found = read_answer(head + rest, 5)
    except ValueError:
        return  # an address of no family
    assert isinstance(found, RouteAnswer)
