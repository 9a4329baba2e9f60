"""Raw packets of a trace, and ICMP errors as raw sockets give them."""

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflight.model.flow import Flow
from preflight.model.outer_error import OuterError
from preflight.proto.way.outer_packets import checksum, on_the_link, probe, read_error, read_reply

FLOW = Flow(source="192.0.2.2", destination="203.0.113.7", source_port=51820, destination_port=4500)
SIX = replace(FLOW, source="2001:db8::2", destination="2001:db8:7::7")
ECHO = replace(FLOW, protocol="icmp", source_port=None, destination_port=None)
ECHO_SIX = replace(SIX, protocol="icmp", source_port=None, destination_port=None)
ROUTER = {False: "198.51.100.1", True: "2001:db8:1::1"}


def error_about(packet: bytes, kind: int, code: int) -> bytes:
    """What a raw socket gives: with an IP header in front for IPv4 only."""
    ipv6 = packet[0] >> 4 == 6
    icmp = struct.pack("!BBHI", kind, code, 0, 0) + packet
    return icmp if ipv6 else bytes((0x45, *bytes(19))) + icmp


@pytest.mark.parametrize("flow", [FLOW, SIX])
@pytest.mark.parametrize("length", [1, 7, 10])
def test_a_probe_comes_back_in_an_error_with_its_ports_and_its_length(flow: Flow, length: int) -> None:
    """Protects a trace: the ports stay the flow's own, and the length says which probe it was."""
    packet = probe(flow, 3, length=length)
    kind, code = (3, 0) if flow.is_ipv6 else (11, 0)
    found = read_error(error_about(packet, kind, code), ROUTER[flow.is_ipv6])
    assert found == OuterError(
        offender=ROUTER[flow.is_ipv6],
        kind=kind,
        code=code,
        source=flow.source,
        destination=flow.destination,
        protocol=17,
        source_port=51820,
        destination_port=4500,
        payload_bytes=length,
    )
    assert found.expired


@pytest.mark.parametrize("flow", [ECHO, ECHO_SIX])
def test_an_echo_is_known_by_its_identifier_and_its_sequence(flow: Flow) -> None:
    """In an error as in a reply; those of another program are not ours."""
    packet = probe(flow, 3, length=5, identifier=77)
    sender = ROUTER[flow.is_ipv6]
    found = read_error(error_about(packet, 3 if flow.is_ipv6 else 11, 0), sender)
    assert found is not None
    assert (found.source_port, found.sequence) == (77, 5)
    reply = struct.pack("!BBHHH", 129 if flow.is_ipv6 else 0, 0, 0, 77, 5)
    reply = reply if flow.is_ipv6 else bytes((0x45, *bytes(19))) + reply
    assert (read_reply(reply, sender, 77), read_reply(reply, sender, 78)) == (5, None)
    assert read_error(reply, sender) is None


@pytest.mark.parametrize("flow", [FLOW, SIX, ECHO_SIX])
def test_the_checksum_is_right(flow: Flow) -> None:
    """A router or a NAT may drop what has a wrong one: then the trace would show another way than the flow's."""
    packet = probe(flow, 3, length=5)
    if flow.is_ipv6:
        source, destination, data, protocol = packet[8:24], packet[24:40], packet[40:], packet[6]
        pseudo = source + destination + struct.pack("!IxxxB", len(data), protocol)
    else:
        source, destination, data, protocol = packet[12:16], packet[16:20], packet[20:], packet[9]
        pseudo = source + destination + struct.pack("!BBH", 0, protocol, len(data))
    assert checksum(pseudo + data) == 0


def test_on_a_link_nobody_else_fills_in_the_header() -> None:
    """A router drops a packet whose length or checksum is wrong."""
    packet = on_the_link(probe(FLOW, 1, length=5))
    assert (checksum(packet[:20]), int.from_bytes(packet[2:4], "big")) == (0, len(packet))
    assert packet[20:] == probe(FLOW, 1, length=5)[20:]
    assert on_the_link(probe(SIX, 1, length=5)) == probe(SIX, 1, length=5)


@given(st.binary(max_size=120), st.sampled_from(list(ROUTER.values())))
def test_anything_else_is_no_error(message: bytes, sender: str) -> None:
    """What comes in is anyone's: nothing of it may crash a run, and what is read has both addresses."""
    found = read_error(message, sender)
    assert found is None or (found.source and found.destination)
    assert read_reply(message, sender, 7) in (None, *range(65536))


def test_an_error_about_an_answer_or_a_later_fragment_is_none() -> None:
    """Only what this node sent counts, and only the first fragment has ports."""
    reply = bytearray(probe(ECHO, 3, length=5))
    reply[20] = 0
    assert read_error(error_about(bytes(reply), 11, 0), ROUTER[False]) is None
    later = bytearray(probe(FLOW, 3, length=5))
    later[6:8] = b"\x00\x10"
    assert read_error(error_about(bytes(later), 11, 0), ROUTER[False]) is None
    assert read_error(error_about(probe(FLOW, 3, length=5), 5, 0), ROUTER[False]) is None


@pytest.mark.parametrize(
    ("kind", "code", "six", "words"),
    [
        (3, 3, False, "port unreachable"),
        (3, 13, False, "administratively prohibited"),
        (3, 42, False, "ICMP type 3 code 42"),
        (1, 4, True, "port unreachable"),
        (1, 1, True, "administratively prohibited"),
    ],
)
def test_an_error_in_words(kind: int, code: int, six: bool, words: str) -> None:
    """The numbers of the two families differ."""
    found = read_error(error_about(probe(SIX if six else FLOW, 3, length=5), kind, code), ROUTER[six])
    assert found is not None
    assert (found.meaning, found.expired, found.too_big, found.unreachable) == (words, False, False, False)


def test_what_says_nothing_of_smaller_packets_and_what_means_a_silent_neighbour() -> None:
    """Two kinds of errors that are judged in another way."""
    four, six = (OuterError(offender="", kind=3, code=4, source="", destination=each, protocol=17) for each in ".:")
    assert (four.too_big, replace(six, kind=2, code=0).too_big) == (True, True)
    assert (replace(four, code=1).unreachable, replace(six, kind=1, code=3).unreachable) == (True, True)
