"""A tunnel's datagrams by their first bytes and lengths, as each product sends them."""

import hashlib
import struct
from base64 import b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflight.proto.way.tunnel_packets import PRODUCTS, read
from tests.proto.way.seeing import KEY_B, OWN_KEY
from tests.proto.way.test_ip_packets import V4, W4, udp, v4

OWN, OTHER = b64decode(OWN_KEY), b64decode(KEY_B)


def wireguard(kind: int, length: int, one: int = 7, two: int = 9) -> bytes:
    """A message of WireGuard with two indexes."""
    return struct.pack("<III", kind, one, two).ljust(length, b"\xaa")


def signed(message: bytes, key: bytes) -> bytes:
    """A handshake message with its first MAC, by section 5.4.4 of the paper."""
    mac_key = hashlib.blake2s(b"mac1----" + key).digest()
    mac = hashlib.blake2s(message[:-32], digest_size=16, key=mac_key).digest()
    return message[:-32] + mac + message[-16:]


@pytest.mark.parametrize(
    ("kind", "length", "said"),
    [
        (1, 148, "initiation"), (2, 92, "response"), (3, 64, "cookie"), (4, 32, "keepalive"), (4, 48, "data"),
        (1, 147, None), (2, 148, None), (3, 32, None), (4, 31, None), (5, 148, None), (0, 32, None),
    ],
)  # fmt: skip
def test_wireguard_by_type_and_length(kind: int, length: int, said: str | None) -> None:
    """148, 92, 64 and from 32 on: each length belongs to its type."""
    found = read("wireguard", wireguard(kind, length), length)
    assert (found.kind if found else None) == said


def test_indexes_of_wireguard() -> None:
    """A question has its sender's, an answer both, data the receiver's."""
    question, answer = read("wireguard", wireguard(1, 148), 148), read("wireguard", wireguard(2, 92), 92)
    data, cookie = read("wireguard", wireguard(4, 80), 80), read("wireguard", wireguard(3, 64), 64)
    assert question is not None
    assert answer is not None
    assert data is not None
    assert cookie is not None
    assert (question.sender, question.receiver) == (7, None)
    assert (answer.sender, answer.receiver) == (7, 9)
    assert (data.receiver, cookie.receiver) == (7, 7)


@pytest.mark.parametrize(
    ("length", "inner"), [(48, (1, 16)), (64, (17, 32)), (128, (81, 96)), (32 + 1420, (1409, 1420))]
)
def test_the_size_of_what_is_inside(length: int, inner: tuple[int, int]) -> None:
    """Padded to 16 bytes, or to the tunnel's MTU."""
    found = read("wireguard", wireguard(4, length), length)
    assert found is not None
    assert found.inner_bytes == inner
    assert found.carries(inner[0])
    assert found.carries(inner[1])
    assert not found.carries(inner[1] + 1)


@pytest.mark.parametrize("count", [2, 5])
@pytest.mark.parametrize("last", [128, 64])
def test_messages_that_offload_joined(count: int, last: int) -> None:
    """Counters in a row of one session, the last message perhaps shorter."""
    parts = [struct.pack("<IIQ", 4, 7, 100 + number).ljust(128, b"\xaa") for number in range(count)]
    payload = b"".join(parts)[: 128 * (count - 1) + last]
    found = read("wireguard", payload, len(payload))
    assert found is not None
    assert found.messages == count
    assert found.inner_bytes == (81, 96)


@pytest.mark.parametrize(("kind", "length"), [(1, 148), (2, 92)])
def test_for_whom_a_handshake_is_made(kind: int, length: int) -> None:
    """The first MAC shows the public key that the sender has for the receiver, without any secret."""
    message = signed(wireguard(kind, length), OWN)
    for key, greets in ((OWN, True), (OTHER, False), (None, None)):
        found = read("wireguard", message, length, key)
        assert found is not None
        assert found.greets is greets


def test_vxlan_and_what_is_inside() -> None:
    """Its network and the addresses are readable."""
    ethernet = b"\2\0\0\0\0\x99" + bytes(6) + b"\x08\x00"
    frame = b"\x08\0\0\0" + (42).to_bytes(3, "big") + b"\0" + ethernet + v4(udp())
    found = read("vxlan", frame, len(frame))
    assert found is not None
    assert (found.kind, found.vni, found.inner_source, found.inner_destination) == ("data", 42, V4, W4)
    assert found.inner_hardware == "02:00:00:00:00:99"
    assert found.carries(len(v4(udp())))
    tagged = frame[:20] + b"\x81\0\0\5\x08\0" + v4(udp())
    assert read("vxlan", tagged, len(tagged)) == found
    question = frame[:20] + b"\x08\x06" + bytes(28)
    asked = read("vxlan", question, len(question))
    assert asked is not None
    assert asked.kind == "neighbours"
    assert read("vxlan", b"\0" + frame[1:], len(frame)) is None


@pytest.mark.parametrize(
    ("operation", "cut", "said"),
    [(2, 28, "10.66.0.2"), (1, 28, None), (2, 17, None)],
    ids=["answer", "question", "cut"],
)
def test_an_answer_of_arp_inside_says_whose_it_is(operation: int, cut: int, said: str | None) -> None:
    """Protects the place of a peer that sends nothing else: its host answers for it, wherever packets to it go."""
    arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + bytes(6) + bytes((10, 66, 0, 2)) + bytes(10)
    frame = b"\x08\0\0\0" + (42).to_bytes(3, "big") + b"\0" + bytes(12) + b"\x08\x06" + arp[:cut]
    found = read("vxlan", frame, len(frame))
    assert found is not None
    assert (found.kind, found.inner_source) == ("neighbours", said)


@pytest.mark.parametrize(
    ("first", "counter", "said"),
    [
        (0x10, 1, "initiation"), (0x10, 2, "response"), (0x11, 9, "data"), (0x12, 0, "refusal"), (0x13, 3, "control"),
        (0x14, 3, "keepalive"), (0x1F, 3, None), (0x21, 3, None),
    ],
)  # fmt: skip
def test_nebula_by_its_header(first: int, counter: int, said: str | None) -> None:
    """The stage of a handshake is its counter."""
    payload = struct.pack("!BBHIQ", first, 0, 0, 77, counter) + bytes(132)
    found = read("nebula", payload, len(payload))
    assert (found.kind if found else None) == said
    if found is not None:
        assert found.receiver == 77
        assert found.carries(len(payload) - 32) is (said == "data")


@pytest.mark.parametrize(
    ("opcode", "said"),
    [(7, "initiation"), (8, "response"), (10, "initiation"), (4, "control"), (5, "control"), (9, "data"), (6, "data"),
     (0, None), (31, None)],
)  # fmt: skip
def test_openvpn_by_its_opcode(opcode: int, said: str | None) -> None:
    """The upper five bits; what data adds depends on the cipher."""
    payload = bytes((opcode << 3 | 1,)) + bytes(139)
    found = read("openvpn", payload, len(payload))
    assert (found.kind if found else None) == said
    if said == "data":
        assert found is not None
        assert found.carries(140 - 24)


@given(st.sampled_from((*PRODUCTS, "other")), st.binary(max_size=300), st.integers(0, 70_000))
def test_no_datagram_breaks_a_reader(product: str, payload: bytes, more: int) -> None:
    """A stranger's bytes, also cut short, are a packet or nothing."""
    found = read(product, payload, len(payload) + more, OWN)
    assert found is None or found.product == product
