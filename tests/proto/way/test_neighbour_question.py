"""ARP and neighbour discovery as bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflight.proto.way.neighbour_question import (
    ARP,
    BROADCAST,
    IPV6,
    answer,
    packed_hardware,
    question,
    shown_hardware,
)
from preflight.proto.way.outer_packets import checksum

OWN, THEIRS = "02:00:00:00:00:01", "02:00:00:00:00:02"
SOLICITED = "fd05::2"


def test_a_question_by_arp_is_a_broadcast() -> None:
    """RFC 826, octet by octet; without a source where the address is this node's own (RFC 5227)."""
    protocol, to, packet = question("10.5.0.2", "10.5.0.1", OWN)
    assert (protocol, to) == (ARP, BROADCAST)
    assert packet.hex() == "0001080006040001" + "020000000001" + "0a050001" + "000000000000" + "0a050002"
    assert question("10.5.0.2", None, OWN)[2][14:18] == bytes(4)


def test_an_answer_by_arp() -> None:
    """Replies for this address count, and neither requests nor replies for another."""
    reply = bytes.fromhex("0001080006040002" + "020000000002" + "0a050002" + "020000000001" + "0a050001")
    assert answer(reply, packed_hardware(THEIRS), "10.5.0.2") == THEIRS
    assert answer(reply, packed_hardware(THEIRS), "10.5.0.3") is None
    assert answer(reply[:7] + b"\x01" + reply[8:], packed_hardware(THEIRS), "10.5.0.2") is None


def test_a_question_by_neighbour_discovery() -> None:
    """To the solicited-node group (RFC 4291), with a right checksum and a hop limit of 255 (RFC 4861)."""
    protocol, to, packet = question(SOLICITED, "fd05::1", OWN)
    assert (protocol, to.hex(":")) == (IPV6, "33:33:ff:00:00:02")
    assert (packet[6], packet[7], packet[40]) == (58, 255, 135)
    pseudo = packet[8:40] + len(packet[40:]).to_bytes(4, "big") + bytes((0, 0, 0, 58))
    assert checksum(pseudo + packet[40:]) == 0
    assert packet[64:].hex() == "0101020000000001"
    # Who has no address yet may not say its hardware address.
    assert len(question(SOLICITED, None, OWN)[2]) == 64


def advertised(*, limit: int = 255, option: bool = True) -> bytes:
    head = bytes((0x60, 0, 0, 0, 0, 24, 58, limit)) + bytes(32)
    target = bytes.fromhex("fd050000000000000000000000000002")
    return head + bytes((136, 0, 0, 0, 0x60, 0, 0, 0)) + target + (bytes.fromhex("0201020000000002") if option else b"")


def test_an_answer_by_neighbour_discovery() -> None:
    """From this link only, by its option or by who sent it."""
    sender = packed_hardware("02:00:00:00:00:03")
    assert answer(advertised(), sender, SOLICITED) == THEIRS
    assert answer(advertised(option=False), sender, SOLICITED) == "02:00:00:00:00:03"
    assert answer(advertised(limit=64), sender, SOLICITED) is None
    assert answer(advertised(), sender, "fd05::3") is None


@given(st.binary(max_size=100), st.sampled_from(["10.5.0.2", SOLICITED]))
def test_anything_else_is_no_answer(packet: bytes, address: str) -> None:
    """Whatever a link carries, a run goes on."""
    assert answer(packet, bytes(6), address) in (None, *(shown_hardware(packet[at : at + 6]) for at in range(95)))


@pytest.mark.parametrize("text", ["", "02:00", "zz:00:00:00:00:01", "02:00:00:00:00:00:00:01"])
def test_only_ethernet_addresses_can_be_asked_from(text: str) -> None:
    """InfiniBand's are longer, and a tunnel's device has none."""
    with pytest.raises(ValueError, match=r"not an Ethernet address|hexadecimal"):
        packed_hardware(text)
