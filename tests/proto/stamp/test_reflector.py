"""The session-reflector: its own count per session, answers as long as the question, and bounded memory."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflight.proto.stamp import reflector
from preflight.proto.stamp import tlv as stamp_tlv
from preflight.proto.stamp import wire as stamp
from preflight.proto.stamp.reflector import SessionReflector
from preflight.proto.stamp.wire import ErrorEstimate, StampError
from tests.proto.stamp import asking

KEY = b"0123456789abcdef"
NOW_NS = 1_795_479_667_927_456_984
NODE = ("10.66.0.1", 40000)


def ask(
    server: SessionReflector,
    data: bytes,
    *,
    source: tuple[str, int] = NODE,
    at_ns: int = NOW_NS,
    ttl: int | None = 64,
    stranger: bool = False,
) -> bytes:
    """The reflector's answer."""
    return server.handle(
        data, source, received_ns=at_ns, transmitted_ns=at_ns + 20_000, ttl=ttl, authenticated_only=stranger
    )


def request(sequence: int = 0, ssid: int = 7, *, key: bytes | None = None, extra: bytes = b"") -> bytes:
    """A session-sender's packet."""
    return stamp.build_request(sequence, NOW_NS, 1, ssid, key=key) + extra


def test_it_counts_each_session_by_itself() -> None:
    """Own sequence numbers per source and SSID show the sender what was lost on the way here."""
    server = SessionReflector()
    numbers = [stamp.parse_answer(ask(server, request(sequence))).sequence for sequence in (0, 3, 4)]
    assert numbers == [0, 1, 2]
    assert stamp.parse_answer(ask(server, request(9, ssid=8))).sequence == 0
    assert stamp.parse_answer(ask(server, request(9), source=("10.66.0.1", 40001))).sequence == 0
    assert server.received("10.66.0.1", 40000, 7) == 3
    assert server.received("10.66.0.9", 40000, 7) == 0


def test_a_stateless_reflector_copies_the_number() -> None:
    """RFC 8762 section 4: without state the sender's sequence number comes back."""
    server = SessionReflector(stateful=False)
    assert [stamp.parse_answer(ask(server, request(sequence))).sequence for sequence in (5, 9)] == [5, 9]


def test_a_stateless_reflector_tells_no_counts() -> None:
    """RFC 8972 sections 4.5 and 4.7: what takes state is zero, so that no sender takes it for a count."""
    server = SessionReflector(stateful=False)
    asked = stamp_tlv.encode(
        [
            stamp_tlv.Tlv(stamp_tlv.Kind.DIRECT_MEASUREMENT, bytes(12)),
            stamp_tlv.Tlv(stamp_tlv.Kind.FOLLOW_UP, bytes(16)),
        ]
    )
    for sequence in range(2):
        answer = ask(server, request(sequence, extra=asked))
    assert [(tlv.flags, any(tlv.value)) for tlv in stamp_tlv.parse(answer[44:])] == [(0, False), (0, False)]


def test_what_is_said_of_the_clock_can_change() -> None:
    """A clock that was synchronised, or lost its source, since the responder started is not spoken of as it was."""
    server = SessionReflector(error=ErrorEstimate(synchronised=False, seconds=8.0))
    assert not stamp.parse_answer(ask(server, request())).error.synchronised
    server.set_clock(ErrorEstimate(synchronised=True, seconds=0.5))
    asked = stamp_tlv.Tlv(stamp_tlv.Kind.TIMESTAMP_INFORMATION, bytes(4)).encode()
    packet = ask(server, request(extra=asked))
    assert stamp.parse_answer(packet).error == ErrorEstimate(synchronised=True, seconds=0.5)
    assert packet[-4:] == bytes([1, 2, 1, 2])


@pytest.mark.parametrize("key", [None, KEY])
@pytest.mark.parametrize("ptp", [False, True])
def test_times_have_the_sender_s_format(key: bytes | None, ptp: bool) -> None:
    """NTP unless the sender's Z bit says PTP (RFC 8186); the sender reads the same times either way."""
    error = ErrorEstimate(ptp=ptp)
    packet = stamp.build_request(5, NOW_NS, error.encode(), 7, key=key)
    answer = stamp.parse_answer(ask(SessionReflector(key=key), packet), key)
    assert answer.error.ptp == ptp
    assert (answer.received_ns, answer.transmitted_ns, answer.sender_ns) == (NOW_NS, NOW_NS + 20_000, NOW_NS)
    with pytest.raises(StampError, match="an-answer"):
        ask(SessionReflector(key=key), ask(SessionReflector(key=key), packet))


def test_a_class_of_service_marks_the_answer() -> None:
    """The DSCP that the sender wants goes to the shell with the answer; without it answers are plain."""
    asked = stamp_tlv.encode([asking.class_of_service(46)])
    packet = request(extra=asked)
    server = SessionReflector()
    marked = server.handle(packet, NODE, received_ns=NOW_NS, transmitted_ns=NOW_NS, ttl=64, traffic_class=0)
    assert isinstance(marked, reflector.Marked)
    assert (len(marked), marked.traffic_class) == (len(packet), 46 << 2)
    assert not isinstance(ask(server, packet), reflector.Marked)
    assert not isinstance(ask(server, request()), reflector.Marked)


def test_fields_of_the_answer() -> None:
    """Times, TTL, SSID and the sender's own fields come back; the error estimate is this node's."""
    server = SessionReflector(error=ErrorEstimate(synchronised=True, seconds=0.001))
    answer = stamp.parse_answer(ask(server, request(3), ttl=61))
    assert (answer.received_ns, answer.transmitted_ns, answer.sender_ns) == (NOW_NS, NOW_NS + 20_000, NOW_NS)
    assert (answer.sender_ttl, answer.ssid, answer.sender_sequence) == (61, 7, 3)
    assert answer.error.synchronised
    assert answer.error.seconds == pytest.approx(0.001, rel=0.01)
    assert stamp.parse_answer(ask(server, request(4), ttl=None)).sender_ttl == 255


@settings(deadline=None)
@given(st.binary(max_size=400), st.sampled_from([None, KEY]))
def test_never_more_than_came_in(data: bytes, key: bytes | None) -> None:
    """Any datagram is dropped, or answered by exactly as many bytes."""
    try:
        answer = ask(SessionReflector(key=key), data)
    except StampError:
        return
    assert len(answer) == len(data)


@pytest.mark.parametrize("length", [41, 43, 44, 45, 47, 48, 112, 1400])
def test_as_long_as_the_request(length: int) -> None:
    """RFC 8762 section 4.3, for padded packets and for TWAMP Light's symmetrical ones of 41 bytes too."""
    assert len(ask(SessionReflector(), request().ljust(length, b"\0")[:length])) == length


def test_both_modes_side_by_side() -> None:
    """With a key, a provisioned peer is served in either mode and each answer has the request's format."""
    server = SessionReflector(key=KEY)
    assert stamp.parse_answer(ask(server, request(key=KEY)), KEY).sequence == 0
    assert stamp.parse_answer(ask(server, request(ssid=9))).sequence == 0


def test_strangers_must_show_the_key() -> None:
    """A sender that is not provisioned gets an answer to an authenticated packet only."""
    server = SessionReflector(key=KEY)
    with pytest.raises(StampError, match="not-allowed"):
        ask(server, request(), stranger=True)
    with pytest.raises(StampError, match="bad-hmac"):
        ask(server, request(key=b"another key of 16"), stranger=True)
    assert stamp.parse_answer(ask(server, request(key=KEY), stranger=True), KEY).sequence == 0


def test_tlvs_are_answered() -> None:
    """The Direct Measurement TLV carries this reflector's counts, signed where the session is."""
    for key in (None, KEY):
        server = SessionReflector(key=key)
        tlvs = stamp_tlv.encode([stamp_tlv.Tlv(stamp_tlv.Kind.DIRECT_MEASUREMENT, bytes(12))], sequence=0, key=key)
        ask(server, request(key=key, extra=tlvs))
        answer = ask(server, request(key=key, extra=tlvs))
        direct = stamp_tlv.parse(answer[112 if key else 44 :])[0]
        assert (direct.flags, direct.value) == (0, bytes(4) + (2).to_bytes(4) * 2)


def test_a_flood_of_ports_pushes_out_only_its_own_sessions() -> None:
    """The table is bounded, and one address that makes up sessions cannot make the reflector forget others'."""
    server = SessionReflector()
    ask(server, request(), source=("10.66.0.2", 5000))
    for port in range(1, 10 * reflector.MAX_SESSIONS):
        ask(server, request(), source=("10.66.0.1", port))
    assert server.received("10.66.0.2", 5000, 7) == 1
    assert server.received("10.66.0.1", 1, 7) == 0
    kept = sum(server.received("10.66.0.1", port, 7) for port in range(1, 10 * reflector.MAX_SESSIONS))
    assert kept == reflector.MAX_SESSIONS


def test_sources_are_bounded_and_the_oldest_goes() -> None:
    """Many addresses cannot fill the memory; recent senders stay."""
    server = SessionReflector()
    for number in range(2 * reflector.MAX_SOURCES):
        ask(server, request(), source=(f"10.{number // 65536}.{number // 256 % 256}.{number % 256}", 5000))
        if number % 100 == 0:
            ask(server, request(), source=("10.66.0.2", 5000))
    assert server.received("10.0.0.0", 5000, 7) == 0
    assert server.received("10.66.0.2", 5000, 7) == 2 * reflector.MAX_SOURCES // 100 + 1


def test_a_session_starts_anew_after_a_long_silence() -> None:
    """A sender with a fixed port and SSID begins at zero again (RFC 5357's REFWAIT)."""
    server = SessionReflector()
    ask(server, request())
    later = NOW_NS + int((reflector.REFWAIT_S + 1) * 1e9)
    assert stamp.parse_answer(ask(server, request(), at_ns=later)).sequence == 0


def test_packets_of_a_session_from_elsewhere_are_distinguished() -> None:
    """An address translator on the way must not make a living direction look dead."""
    server = SessionReflector()
    ask(server, request(ssid=99), source=("10.66.0.3", 5000))
    assert server.received_elsewhere("10.66.0.1", 99, NOW_NS) == 1
    assert server.received_elsewhere("10.66.0.3", 99, NOW_NS) == 0
    assert server.received_elsewhere("10.66.0.1", 98, NOW_NS) == 0
    assert server.received_elsewhere("10.66.0.1", 99, NOW_NS + 1) == 0
