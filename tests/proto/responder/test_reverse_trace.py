"""Asking for the way back: the codec, an asker and a server that meet by function call, and nobody made a target."""

import errno
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflight.model.icmp import Hop, Trace
from preflight.model.return_path import ReturnPath, ReverseTraceroute
from preflight.proto.core import ORIGIN_ICMP, Received, Refusal
from preflight.proto.responder import reverse_trace as trace
from preflight.proto.responder.cookie import COOKIE_SECONDS
from preflight.proto.responder.reverse_trace import (
    Kind,
    Message,
    TraceQuestion,
    TraceServer,
    decode,
    encode,
    hops_crossed,
)

KEY = b"a key of the test suite"
TOKEN = b"\x01\x02\x03\x04\x05\x06\x07\x08"
SOURCE = ("10.66.0.1", 40000)
HERE = "10.66.0.2"
WAY = ReturnPath("wg0", "eth0", "192.0.2.1")
HOPS = Trace((Hop(1, None), Hop(2, "10.66.0.1", 1.25, reached=True)))

unhurried = settings(deadline=None)
keys = st.sampled_from([None, KEY])
addresses = st.one_of(
    st.none(),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6, network="fd66::/16").map(str),
)
names = st.none() | st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}\Z")
microseconds = st.none() | st.integers(0, 2**32 - 2).map(lambda us: us / 1000)


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    """Hops as the protocol carries them: a silent hop has no time and is not the end."""
    shown = draw(st.lists(addresses, max_size=trace.MAX_HOPS))
    return Trace(
        tuple(
            Hop(ttl, None) if address is None else Hop(ttl, address, draw(microseconds), draw(st.booleans()))
            for ttl, address in enumerate(shown, 1)
        )
    )


tokens, cookies = st.binary(min_size=8, max_size=8), st.binary(min_size=16, max_size=16)
asks = st.builds(Message, kind=st.just(Kind.ASK), token=tokens, cookie=cookies)
reports = st.builds(
    Message,
    kind=st.just(Kind.REPORT),
    token=tokens,
    ttl=st.none() | st.integers(1, 255),
    way=st.builds(ReturnPath, names, names, addresses),
    trace=traces(),
)
short = st.builds(Message, kind=st.sampled_from([Kind.CHALLENGE, Kind.BUSY]), token=tokens, cookie=cookies)
messages = asks | reports | short


@unhurried
@given(messages, keys)
def test_round_trip(message: Message, key: bytes | None) -> None:
    """What is encoded is read back, signed or not, and no datagram is longer than an ASK."""
    data = encode(message, key=key)
    assert decode(data, key=key) == message
    assert data.startswith(trace.MAGIC)
    assert len(data) <= trace.MESSAGE_BYTES


@unhurried
@given(messages, keys)
def test_truncated_at_every_byte(message: Message, key: bytes | None) -> None:
    """A short datagram does not count; never an exception."""
    data = encode(message, key=key)
    assert all(decode(data[:length], key=key) is None for length in range(len(data)))


@unhurried
@given(st.binary(max_size=500), keys)
def test_random_bytes(data: bytes, key: bytes | None) -> None:
    """Whatever comes to an open port is read or refused, and is never answered with more bytes than it had."""
    for datagram in (data, trace.MAGIC + data, encode(Message(Kind.REPORT, TOKEN))[: len(data)] + data):
        decode(datagram, key=key)
        answers, _ = TraceServer(key, b"secret", 0.0).handle(datagram, SOURCE, HERE, 64, 0.0)
        assert sum(map(len, answers)) <= len(datagram)


@unhurried
@given(messages, st.data())
def test_one_changed_bit_is_refused_under_a_key(message: Message, data: st.DataObject) -> None:
    """No bit of a signed datagram can be changed."""
    signed = bytearray(encode(message, key=KEY))
    signed[data.draw(st.integers(0, len(signed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert decode(bytes(signed), key=KEY) is None


@pytest.mark.parametrize("name", ["wg0;reboot", "-w", "$(id)", "wg0 "])
def test_only_names_of_interfaces_are_taken(name: str) -> None:
    """What a responder says ends up in a line to paste."""
    assert decode(encode(Message(Kind.REPORT, TOKEN, way=ReturnPath(name, "eth0")))) is None
    assert decode(encode(Message(Kind.REPORT, TOKEN, way=ReturnPath("eth0", name)))) is None


def ask(server: TraceServer, source: tuple[str, int] = SOURCE, *, token: bytes = TOKEN, now: float = 0.0) -> str:
    """An ASK with the cookie that the server gives to this source; why it is refused, if it is."""
    (challenge,), _ = server.handle(encode(Message(Kind.ASK, token)), source, HERE, 255, now)
    proof = decode(challenge)
    assert proof is not None
    answers, refusal = server.handle(encode(Message(Kind.ASK, token, proof.cookie)), source, HERE, 255, now)
    assert [decode(answer) for answer in answers] == ([Message(Kind.BUSY, token)] if refusal else [])
    return refusal


def test_only_a_proven_source_is_traced() -> None:
    """An ASK without the cookie, or with one of another address, port, session or time, makes nobody send."""
    server = TraceServer(None, b"secret", 0.0)
    (challenge,), refusal = server.handle(encode(Message(Kind.ASK, TOKEN)), SOURCE, HERE, 255, 0.0)
    message = decode(challenge)
    assert (message is not None, refusal, server.next()) == (True, "", None)
    assert message is not None
    good = encode(Message(Kind.ASK, TOKEN, message.cookie))
    for data, source, now in (
        (good, ("10.66.0.9", 40000), 0.0),
        (good, (SOURCE[0], 40001), 0.0),
        (encode(Message(Kind.ASK, b"12345678", message.cookie)), SOURCE, 0.0),
        (good, SOURCE, 3 * COOKIE_SECONDS),
    ):
        answers, _ = server.handle(data, source, HERE, 255, now)
        assert [decode(answer) is not None and len(answer) < len(data) for answer in answers] == [True]
        assert server.next() is None
    assert server.handle(good, SOURCE, HERE, 254, 0.0) == ([], "")
    order = server.next()
    assert order is not None
    assert (order.source, order.local, order.token, order.ttl) == (SOURCE, HERE, TOKEN, 254)


@pytest.mark.parametrize("kind", [Kind.CHALLENGE, Kind.REPORT, Kind.BUSY])
def test_answers_are_not_answered(kind: Kind) -> None:
    """Two responders that are made to talk to each other fall silent."""
    assert TraceServer(None, b"secret", 0.0).handle(encode(Message(kind, TOKEN)), SOURCE, HERE, 255, 0.0) == (
        [],
        "bad-trace",
    )


def test_with_a_key_the_unsigned_get_nothing() -> None:
    """A host without the key learns nothing and makes nobody trace."""
    server = TraceServer(KEY, b"secret", 0.0)
    for key in (None, b"some other key..."):
        assert server.handle(encode(Message(Kind.ASK, TOKEN), key=key), SOURCE, HERE, 255, 0.0) == ([], "bad-trace")
    assert server.handle(encode(Message(Kind.ASK, TOKEN), key=KEY), SOURCE, HERE, 255, 0.0)[0]


def test_a_repeated_question_is_one_trace() -> None:
    """The asker repeats what may be lost; while the trace runs that costs nothing."""
    server = TraceServer(None, b"secret", 0.0)
    assert [ask(server), ask(server), ask(server)] == ["", "", ""]
    order = server.next()
    assert order is not None
    assert server.next() is None
    server.report(order, HOPS, WAY)
    assert ask(server) == ""
    assert server.next() is not None


def test_traces_are_rate_limited() -> None:
    """One source gets a few, all sources together some more, and the queue is short."""
    server = TraceServer(None, b"secret", 0.0)
    refusals = [ask(server, token=number.to_bytes(8)) for number in range(10)]
    assert refusals.count("") == trace.TRACE_BURST
    assert refusals[-1] == "trace-limited"
    many = TraceServer(None, b"secret", 0.0)
    refusals = [ask(many, (f"10.66.1.{number}", 1)) for number in range(100)]
    assert refusals.count("") == trace.ALL_TRACES_BURST
    assert refusals[-1] == "trace-limited"


def test_a_queue_that_nobody_serves_stays_short() -> None:
    """However slowly orders come, no more wait than can be carried out soon."""
    server = TraceServer(None, b"secret", 0.0)
    refusals = [ask(server, (f"10.66.1.{number}", 1), now=10.0 * number) for number in range(100)]
    assert refusals.count("") == trace.MAX_WAITING


def started(key: bytes | None = None, now: float = 0.0) -> TraceQuestion:
    """A question of this node."""
    return TraceQuestion(TOKEN, key, SOURCE[0], now)


def converse(
    question: TraceQuestion, server: TraceServer, *, lost: frozenset[int] = frozenset(), until: float = 30.0
) -> list[float]:
    """Move datagrams between the two; `lost` numbers those that vanish, in both directions. When something was sent."""
    numbers, times = iter(range(1000)), []
    while (at := question.get_timer()) is not None and at < until:
        question.handle_timer(at)
        for datagram in question.datagrams_to_send(at):
            times.append(at)
            asked = next(numbers) not in lost
            answers = list(server.handle(datagram.data, SOURCE, HERE, 255, at)[0]) if asked else []
            while order := server.next():
                answers.append(server.report(order, HOPS, WAY))
            for answer in answers:
                if next(numbers) not in lost:
                    question.receive(Received(answer, ttl=254), at)
    return times


@pytest.mark.parametrize("key", [None, KEY])
def test_a_conversation(key: bytes | None) -> None:
    """Challenge, trace, report: two datagrams each way."""
    question, server = started(key, 5.0), TraceServer(key, b"secret", 5.0)
    assert converse(question, server) == [5.0, 5.0]
    assert question.result == ReverseTraceroute(SOURCE[0], HOPS, WAY, 1, 2)


@unhurried
@given(st.frozensets(st.integers(0, 3), max_size=2))
def test_lost_datagrams_are_repeated(lost: frozenset[int]) -> None:
    """Two losses anywhere cost time and not the answer."""
    question, server = started(), TraceServer(None, b"secret", 0.0)
    converse(question, server, lost=lost)
    assert question.result is not None


def test_a_responder_that_does_not_trace_is_given_up() -> None:
    """A few ASKs without an answer, and it is over; a refusal ends it at once."""
    question = started()
    assert len(converse(question, TraceServer(KEY, b"secret", 0.0))) == trace.TRIES
    assert (question.result, question.get_timer()) == (None, None)
    refused = started()
    refused.refused(Refusal(errno.ECONNREFUSED, ORIGIN_ICMP, 3, 3, offender=SOURCE[0]), 0.1)
    assert refused.get_timer() is None


def test_a_busy_responder_is_given_up() -> None:
    """In a large mesh many ask at once: a node that is refused learns it, and goes on."""
    server = TraceServer(None, b"secret", 0.0)
    for number in range(int(trace.TRACE_BURST)):
        assert ask(server, SOURCE, token=number.to_bytes(8)) == ""
    question = started()
    assert converse(question, server) == [0.0, 0.0]
    assert (question.result, question.get_timer()) == (None, None)


def test_a_report_that_was_not_asked_for() -> None:
    """Neither before the challenge, nor with another token, nor without the key is a report believed."""
    report = Message(Kind.REPORT, TOKEN, way=WAY, trace=HOPS)
    question = started(KEY)
    too_early = encode(report, key=KEY)
    unsigned_challenge = encode(Message(Kind.CHALLENGE, TOKEN, b"c" * 16), key=None)
    challenge = encode(Message(Kind.CHALLENGE, TOKEN, b"c" * 16), key=KEY)
    foreign = encode(replace(report, token=b"12345678"), key=KEY)
    for data in (too_early, unsigned_challenge, challenge, foreign, encode(report)):
        question.receive(Received(data), 0.0)
        assert question.result is None
    question.receive(Received(encode(report, key=KEY)), 0.0)
    assert question.result is not None


@pytest.mark.parametrize(
    ("ttl", "hops"), [(255, 1), (254, 2), (192, 64), (191, None), (64, None), (0, None), (None, None)]
)
def test_hops_by_what_is_left_of_the_ttl(ttl: int | None, hops: int | None) -> None:
    """A packet that was not sent with 255, or whose TTL is not known, says nothing about the distance."""
    assert hops_crossed(ttl) == hops
