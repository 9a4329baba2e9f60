"""STUN Binding: the standard's own vectors, both sides of it, and never an amplifier."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflight.model.stun import StunAnswer, depends_on_destination, host_of
from preflight.proto.stun import binding as stun
from preflight.proto.stun.binding import StunError

KEY, OTHER_KEY = b"0123456789abcdef", b"another key of 16"
TRANSACTION = b"t" * 12

# RFC 5769 sections 2.2 and 2.3: the password, then a response over each family.
PASSWORD = b"VOkJxbRl1RmTxUk/WvJxBt"
HEAD = "2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220"
IPV4 = bytes.fromhex(
    f"0101003c{HEAD}002000080001a147e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96"
)
IPV6 = bytes.fromhex(
    f"01010048{HEAD}002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9"
    "00080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c"
)


@pytest.mark.parametrize(
    ("data", "mapped"),
    [(IPV4, ("192.0.2.1", 32853)), (IPV6, ("2001:db8:1234:5678:11:2233:4455:6677", 32853))],
    ids=["IPv4", "IPv6"],
)
def test_the_vectors_of_the_standard(data: bytes, mapped: tuple[str, int]) -> None:
    """Answers of other implementations are read, their integrity is checked, and nothing else is taken for one."""
    transaction = data[8:20]
    assert stun.mapped_address(data, transaction) == mapped
    assert stun.mapped_address(data, transaction, PASSWORD) == mapped
    assert stun.mapped_address(data, transaction, KEY) is None
    assert stun.mapped_address(data, TRANSACTION) is None
    for place in range(4, len(data)):
        changed = bytearray(data)
        changed[place] ^= 1
        try:
            found = stun.mapped_address(bytes(changed), transaction, PASSWORD)
        except StunError:
            continue
        # What has no meaning may change: padding behind an attribute, and the integrity has its own test.
        assert found in (None, mapped)


sources = st.tuples(st.ip_addresses().map(str), st.integers(0, 65535))


@given(sources, st.sampled_from([None, KEY]), st.binary(min_size=12, max_size=12))
def test_question_and_answer(source: tuple[str, int], key: bytes | None, transaction: bytes) -> None:
    """The asker learns where it was seen; the answer is never longer than the question, signed when that was."""
    question = stun.request(transaction, key)
    assert question[:4] in stun.magics()
    answer = stun.answer(question, source, key)
    assert answer is not None
    assert len(answer) <= len(question)
    assert stun.mapped_address(answer, transaction, key) == source
    if key is None:
        assert stun.mapped_address(answer, transaction, KEY) is None


@pytest.mark.parametrize(
    ("signed", "key", "signed_only", "answered"),
    [
        (None, None, False, True),
        (None, KEY, False, True),
        (None, KEY, True, False),
        (KEY, KEY, True, True),
        (KEY, OTHER_KEY, False, False),
        (KEY, None, False, False),
    ],
)
def test_whom_it_answers(signed: bytes | None, key: bytes | None, signed_only: bool, answered: bool) -> None:
    """A source that may be anyone must show the key; a wrong signature helps nobody."""
    question = stun.request(TRANSACTION, signed)
    assert (stun.answer(question, ("10.66.0.1", 5), key, signed_only=signed_only) is not None) is answered


attributes = st.lists(
    st.builds(
        lambda kind, value: struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4),
        st.integers(0, 0xFFFF) | st.sampled_from([0x01, 0x06, 0x08, 0x09, 0x0C, 0x20, 0x24, 0x8022, 0x8028, 0x8029]),
        st.binary(max_size=40),
    ),
    max_size=4,
).map(b"".join)
likely = st.builds(
    lambda kind, body, extra: struct.pack("!HH", kind, len(body) + extra) + stun.COOKIE + TRANSACTION + body,
    st.sampled_from([0x0001, 0x0101, 0x0111, 0x0011, 0x0003, 0x0002, 0x4001]),
    attributes,
    st.sampled_from([0, 0, 0, 4]),
)


@settings(max_examples=500)
@given(likely | st.binary(max_size=100), sources, st.sampled_from([None, KEY]))
def test_whatever_comes(data: bytes, source: tuple[str, int], key: bytes | None) -> None:
    """Malformed attributes of every kind end in silence or in one error, on both sides; nothing is amplified."""
    answer = stun.answer(data, source, key)
    assert answer is None or len(answer) <= len(data)
    try:
        mapped = stun.mapped_address(data, TRANSACTION, key)
    except StunError:
        return
    assert mapped is None or data[4:8] == stun.COOKIE


@pytest.mark.parametrize("cut", [0, 1, 19, 20, 31])
def test_short_questions_get_no_answer(cut: int) -> None:
    """A bare request of 20 bytes would bring back 32: a forged source must not gain by it."""
    bare = struct.pack("!HH", 1, 0) + stun.COOKIE + TRANSACTION
    assert stun.answer(bare[:cut], ("10.66.0.1", 5)) is None


def test_errors_are_reported() -> None:
    """A server that asks for credentials answers: that is not silence."""
    words = b"\0\0\x04\x01Unauthorized"
    data = struct.pack("!HH", 0x0111, 4 + len(words)) + stun.COOKIE + TRANSACTION
    with pytest.raises(StunError, match="401 Unauthorized"):
        stun.mapped_address(data + struct.pack("!HH", 9, len(words)) + words, TRANSACTION)
    with pytest.raises(StunError, match="no mapped address"):
        stun.mapped_address(struct.pack("!HH", 0x0101, 0) + stun.COOKIE + TRANSACTION, TRANSACTION)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("stun.example.net", ("stun.example.net", 3478)),
        ("stun.example.net:19302", ("stun.example.net", 19302)),
        ("192.0.2.1:3479", ("192.0.2.1", 3479)),
        ("[2001:db8::1]:3479", ("2001:db8::1", 3479)),
        ("[2001:db8::1]", ("2001:db8::1", 3478)),
        ("2001:db8::1", ("2001:db8::1", 3478)),
        ("", None),
        (":3478", None),
        ("host:0", None),
        ("host:65536", None),
        ("host:port", None),
        (" host", None),
    ],
)
def test_read_server(text: str, place: tuple[str, int] | None) -> None:
    """As it is in the settings; a mistake is found before anything is sent."""
    if place is None:
        with pytest.raises(ValueError, match="HOST"):
            stun.read_server(text)
    else:
        assert stun.read_server(text) == place


def answer(address: str, mapped: str | None, local: str = "10.0.0.5:4000") -> StunAnswer:
    """What one server reported."""
    return StunAnswer(f"{address}:3478", address, local=local, mapped=mapped)


@pytest.mark.parametrize(
    ("answers", "depends"),
    [
        ([], None),
        ([answer("192.0.2.1", "203.0.113.5:4000")], None),
        ([answer("192.0.2.1", "203.0.113.5:4000"), answer("192.0.2.2", None)], None),
        ([answer("192.0.2.1", "203.0.113.5:4000"), answer("192.0.2.1", "203.0.113.5:4001")], None),  # one place only
        ([answer("192.0.2.1", "203.0.113.5:4000"), answer("192.0.2.2", "203.0.113.5:4000")], False),
        ([answer("192.0.2.1", "203.0.113.5:4000"), answer("192.0.2.2", "203.0.113.5:4001")], True),
        # Sent by another interface, so no difference in the mapping.
        ([answer("192.0.2.1", "203.0.113.5:1"), answer("192.0.2.2", "203.0.113.6:1", "10.1.0.5:4000")], None),
    ],
)
def test_depends_on_destination(answers: list[StunAnswer], depends: bool | None) -> None:
    """Only what one socket got towards two places can be compared (RFC 4787)."""
    assert depends_on_destination(answers) is depends
    assert host_of("[2001:db8::1]:5") == "2001:db8::1"
