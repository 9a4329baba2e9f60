"""STAMP's codec: what is written is read back, what is cut or forged is refused, and nothing crashes it."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflight.proto.stamp import wire as stamp
from preflight.proto.stamp.wire import ErrorEstimate, StampError

KEY = b"0123456789abcdef0123456789abcdef"
NOW_NS = 1_795_479_667_927_456_984

sequences = st.integers(0, 2**32 - 1)
times = st.integers(0, 4_000_000_000 * 10**9)
words = st.integers(0, 2**16 - 1)
keys = st.sampled_from([None, KEY])


def fields(data: bytes, *places: tuple[int, int]) -> list[int]:
    """Big-endian numbers at (offset, length), as the RFC's figures give them."""
    return [int.from_bytes(data[at : at + length]) for at, length in places]


@settings(deadline=None)
@given(sequences, times, words, words, keys)
def test_request_round_trip(sequence: int, unix_ns: int, error: int, ssid: int, key: bytes | None) -> None:
    """A sender's packet is read as it was written, in both modes and both formats of timestamp (the Z bit)."""
    packet = stamp.build_request(sequence, unix_ns, error, ssid, key=key)
    request = stamp.parse_request(packet, key)
    assert (request.sequence, request.error, request.ssid) == (sequence, error, ssid)
    assert request.authenticated == (key is not None)
    read = stamp.ns_from_ptp if error & stamp.PTP else stamp.ns_from_ntp
    assert read(request.timestamp) == unix_ns


@settings(deadline=None)
@given(sequences, sequences, times, times, st.integers(0, 255), words, keys)
def test_answer_round_trip(
    sequence: int, asked: int, received_ns: int, transmitted_ns: int, ttl: int, error: int, key: bytes | None
) -> None:
    """A reflector's packet carries both sequence numbers, three times and the TTL."""
    request = stamp.parse_request(stamp.build_request(asked, NOW_NS, 1, 7, key=key), key)
    packet = stamp.build_answer(
        request,
        sequence=sequence,
        transmitted_ns=transmitted_ns,
        received_ns=received_ns,
        ttl=ttl,
        error=error,
        key=key,
    )
    answer = stamp.parse_answer(packet, key)
    assert (answer.sequence, answer.sender_sequence, answer.ssid, answer.sender_ttl) == (sequence, asked, 7, ttl)
    assert (answer.received_ns, answer.transmitted_ns, answer.sender_ns) == (received_ns, transmitted_ns, NOW_NS)


@pytest.mark.parametrize("error", [0x8105, 0x4105])
def test_scapy_reads_and_writes_the_same(error: int) -> None:
    """An independent codec finds each field of a sender's packet, gives back its bytes, and writes answers we read."""
    from scapy.contrib.stamp import STAMPSessionReflectorTestUnauthenticated as ReflectorPacket
    from scapy.contrib.stamp import STAMPSessionSenderTestUnauthenticated as SenderPacket

    raw = stamp.build_request(7, NOW_NS, error, 513)
    sent = SenderPacket(raw)
    assert (sent.seq, sent.ssid, bytes(sent)) == (7, 513, raw)
    assert (error >> 15, error >> 14 & 1) == (sent.err_estimate.S, sent.err_estimate.Z)
    answered = ReflectorPacket(seq=3, ssid=513, seq_sender=7, ttl_sender=61, err_estimate_sender=sent.err_estimate)
    answer = stamp.parse_answer(bytes(answered)[:28] + raw[4:12] + bytes(answered)[36:])
    assert (answer.sequence, answer.ssid, answer.sender_sequence, answer.sender_ttl) == (3, 513, 7, 61)
    assert answer.sender_ns == NOW_NS


def test_unauthenticated_offsets() -> None:
    """RFC 8762 figures 2 and 4, RFC 8972 figures 1 and 3: every field at its place, zeros elsewhere."""
    request = stamp.build_request(0x01020304, NOW_NS, 0x8102, 0x0A0B)
    assert len(request) == 44
    assert fields(request, (0, 4), (12, 2), (14, 2), (16, 28)) == [0x01020304, 0x8102, 0x0A0B, 0]
    assert stamp.ns_from_ntp(fields(request, (4, 8))[0]) == NOW_NS
    answer = stamp.build_answer(
        stamp.parse_request(request),
        sequence=5,
        transmitted_ns=NOW_NS + 9,
        received_ns=NOW_NS + 5,
        ttl=61,
        error=0x0304,
    )
    assert len(answer) == 44
    assert fields(answer, (0, 4), (12, 2), (14, 2)) == [5, 0x0304, 0x0A0B]
    assert [stamp.ns_from_ntp(value) - NOW_NS for value in fields(answer, (4, 8), (16, 8), (28, 8))] == [9, 5, 0]
    assert fields(answer, (24, 4), (36, 2), (38, 2), (40, 1), (41, 3)) == [0x01020304, 0x8102, 0, 61, 0]


def test_authenticated_offsets() -> None:
    """RFC 8762 figures 3 and 5: every field at its place, zeros elsewhere, the HMAC over the first 96 bytes."""
    request = stamp.build_request(0x01020304, NOW_NS, 0x8102, 0x0A0B, key=KEY)
    assert len(request) == 112
    assert fields(request, (0, 4), (4, 12), (24, 2), (26, 2), (28, 68)) == [0x01020304, 0, 0x8102, 0x0A0B, 0]
    assert stamp.ns_from_ntp(fields(request, (16, 8))[0]) == NOW_NS
    answer = stamp.build_answer(
        stamp.parse_request(request, KEY),
        sequence=5,
        transmitted_ns=NOW_NS + 9,
        received_ns=NOW_NS + 5,
        ttl=61,
        error=0x0304,
        key=KEY,
    )
    assert len(answer) == 112
    assert fields(answer, (0, 4), (4, 12), (24, 2), (26, 2), (28, 4)) == [5, 0, 0x0304, 0x0A0B, 0]
    assert [stamp.ns_from_ntp(value) - NOW_NS for value in fields(answer, (16, 8), (32, 8), (64, 8))] == [9, 5, 0]
    assert fields(answer, (48, 4), (72, 2), (80, 1), (81, 15)) == [0x01020304, 0x8102, 61, 0]
    assert fields(answer, (40, 8), (52, 12), (74, 6)) == [0, 0, 0]


def test_hmac_against_a_known_value() -> None:
    """HMAC-SHA-256 of 96 zero bytes but the sequence number, cut to 128 bits: computed with OpenSSL, not with ours."""
    data = bytes.fromhex("00000001") + bytes(92) + bytes.fromhex("c709ebb906c1d734e9a94c6f2a87ac63")
    assert stamp.parse_request(data, KEY).sequence == 1


@pytest.mark.parametrize("bit", range(0, 112 * 8, 37))
def test_forgery_is_refused(bit: int) -> None:
    """A single flipped bit anywhere makes an authenticated packet worthless, in both roles."""
    request = bytearray(stamp.build_request(3, NOW_NS, 1, 7, key=KEY))
    answer = bytearray(
        stamp.build_answer(
            stamp.parse_request(bytes(request), KEY),
            sequence=0,
            transmitted_ns=NOW_NS,
            received_ns=NOW_NS,
            ttl=9,
            error=1,
            key=KEY,
        )
    )
    for packet in (request, answer):
        packet[bit // 8] ^= 1 << bit % 8
    with pytest.raises(StampError):
        stamp.parse_answer(bytes(answer), KEY)
    if 4 <= bit // 8 < 16:  # no longer the authenticated format: it must not pass for authenticated
        assert not stamp.parse_request(bytes(request), KEY).authenticated
    else:
        with pytest.raises(StampError, match="bad-hmac"):
            stamp.parse_request(bytes(request), KEY)


@pytest.mark.parametrize("key", [None, KEY])
def test_truncation_at_every_byte(key: bytes | None) -> None:
    """However a packet is cut, it is read in full, or refused; never half."""
    packet = stamp.build_request(1, NOW_NS, 1, 7, key=key)
    for length in range(len(packet)):
        if key is None and length >= stamp.SHORTEST:
            assert stamp.parse_request(packet[:length]).sequence == 1
        elif key is None:
            with pytest.raises(StampError, match="short"):
                stamp.parse_request(packet[:length])
        with pytest.raises(StampError):
            stamp.parse_answer(packet[:length], KEY)


@settings(deadline=None)
@given(st.binary(max_size=200), keys)
def test_random_bytes(data: bytes, key: bytes | None) -> None:
    """Whatever comes in is a packet or a StampError."""
    for parse in (stamp.parse_request, stamp.parse_answer):
        with suppress(StampError):
            parse(data, key)


def test_authenticated_packets_without_a_key() -> None:
    """A reflector without a key does not take an authenticated packet for an unauthenticated one."""
    with pytest.raises(StampError, match="no-key"):
        stamp.parse_request(stamp.build_request(1, NOW_NS, 1, 7, key=KEY))


@pytest.mark.parametrize("key", [None, KEY])
def test_an_answer_is_no_request(key: bytes | None) -> None:
    """Two reflectors must not answer each other's answers for ever, whatever their clocks say."""
    request = stamp.parse_request(stamp.build_request(1, NOW_NS, 1, 7, key=key), key)
    for received_ns in (NOW_NS, NOW_NS - 10**18, NOW_NS + 999_999_999):
        answer = stamp.build_answer(
            request, sequence=0, transmitted_ns=received_ns + 50_000, received_ns=received_ns, ttl=255, error=1, key=key
        )
        with pytest.raises(StampError, match="an-answer"):
            stamp.parse_request(answer, key)


def test_random_padding_is_no_answer() -> None:
    """A TWAMP Light sender may pad with anything."""
    padded = stamp.build_request(1, NOW_NS, 1, 7)[:14] + bytes(range(1, 31))
    assert stamp.parse_request(padded).sequence == 1


@pytest.mark.parametrize(
    ("timestamp", "unix_ns"),
    [
        (2_208_988_800 << 32, 0),
        ((2_208_988_800 + 1) << 32 | 1 << 31, 1_500_000_000),
        (0, 2_085_978_496 * 10**9),  # the era that begins in February 2036
        (0xFFFFFFFF << 32, 2_085_978_495 * 10**9),
    ],
)
def test_ntp_timestamps(timestamp: int, unix_ns: int) -> None:
    """NTP's epoch, fractions and change of era in 2036 (RFC 5905 section 6)."""
    assert stamp.ns_from_ntp(timestamp) == unix_ns
    assert stamp.ntp_from_ns(unix_ns) == timestamp


def test_ptp_timestamps_are_read() -> None:
    """A reflector that sets the Z bit gives PTP times (RFC 8186), and its packet is read so."""
    assert stamp.ns_from_ptp(1_700_000_000 << 32 | 999_999_999) == 1_700_000_000_999_999_999
    request = stamp.parse_request(stamp.build_request(0, NOW_NS, 1, 7))
    packet = bytearray(
        stamp.build_answer(
            request, sequence=0, transmitted_ns=0, received_ns=0, ttl=1, error=ErrorEstimate(ptp=True).encode()
        )
    )
    packet[4:12] = packet[16:24] = (1_700_000_000 << 32 | 5).to_bytes(8)
    answer = stamp.parse_answer(bytes(packet))
    assert answer.error.ptp
    assert answer.transmitted_ns == answer.received_ns == 1_700_000_000_000_000_005


@settings(deadline=None)
@given(st.booleans(), st.booleans(), st.floats(0, 1e6))
def test_error_estimate_round_trip(synchronised: bool, ptp: bool, seconds: float) -> None:
    """The estimate on the wire is never below the true one, at most a 128th or a unit above, and never zero."""
    field = ErrorEstimate(synchronised, seconds, ptp).encode()
    assert field & 0xFF
    decoded = ErrorEstimate.decode(field)
    assert (decoded.synchronised, decoded.ptp) == (synchronised, ptp)
    assert seconds <= decoded.seconds <= max(seconds * (1 + 1 / 128), seconds + 2**-32)


@pytest.mark.parametrize("seconds", [-1.0, 0.0, 1e12, float("inf")])
def test_error_estimate_out_of_range(seconds: float) -> None:
    """Nonsense from a clock still gives a valid field."""
    field = ErrorEstimate(seconds=seconds).encode()
    assert 0 < field < 0x10000
    assert field & 0xFF
