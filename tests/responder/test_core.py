"""The responder's core: whom it serves, what it never does, and what it has heard."""

from collections.abc import Mapping, Sequence
from ipaddress import ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflight.model.heard import Heard
from preflight.proto.pmtu import wire as probe
from preflight.proto.pmtu.wire import Kind, Message, ProbeServer
from preflight.proto.responder.admission import Admission, Limits, Verdict
from preflight.proto.stamp import wire as stamp
from preflight.proto.stamp.reflector import SessionReflector
from preflight.responder.core import Arrival, ResponderCore, Service

KEY = b"0123456789abcdef"
NOW_MS = 1_795_479_667_927
NOW_NS = NOW_MS * 1_000_000
NODE, STRANGER = ("10.66.0.1", 40000), ("198.51.100.1", 40000)


def core(
    key: bytes | None = None, *, limits: Limits | None = None, services: Mapping[bytes, Service] | None = None
) -> ResponderCore:
    """A responder that serves 10.66.0.0/24 and, with a key, anyone who has it."""
    return ResponderCore(
        admission=Admission([ip_network("10.66.0.0/24")], limits or Limits(), 0.0),
        reflector=SessionReflector(key=key),
        probes=ProbeServer(key, b"secret" * 4),
        key=key,
        services=services,
    )


def send(responder: ResponderCore, data: bytes, source: tuple[str, int] = NODE, *, now: float = 0.0) -> Sequence[bytes]:
    """The answers to one datagram."""
    verdict = responder.admit(source[0], now)
    if verdict is None:
        return ()
    return responder.handle(data, Arrival(source, NOW_NS, NOW_NS, 64, now, verdict is Verdict.STRANGER))


def stamp_packet(key: bytes | None = None) -> bytes:
    """A session-sender's packet."""
    return stamp.build_request(0, NOW_NS, 1, 7, key=key)


@pytest.mark.parametrize(
    ("key", "source", "signed", "answers"),
    [
        (None, NODE, None, 1),
        (None, STRANGER, None, 0),
        (None, STRANGER, KEY, 0),
        (KEY, NODE, None, 1),
        (KEY, NODE, KEY, 1),
        (KEY, STRANGER, None, 0),
        (KEY, STRANGER, KEY, 1),
        (KEY, STRANGER, b"another key of 16", 0),
        (KEY, NODE, b"another key of 16", 0),
    ],
)
def test_whom_it_serves(key: bytes | None, source: tuple[str, int], signed: bytes | None, answers: int) -> None:
    """Provisioned sources and holders of the key, nobody else; a wrong signature helps nobody."""
    assert len(send(core(key), stamp_packet(signed), source)) == answers


@pytest.mark.parametrize(("key", "source", "answers"), [(None, NODE, 1), (None, STRANGER, 0), (KEY, STRANGER, 1)])
def test_path_mtu_probes_go_to_their_server(key: bytes | None, source: tuple[str, int], answers: int) -> None:
    """By their magic, behind the same admission."""
    hello = probe.encode(Message(Kind.HELLO, b"12345678", 1), length=200, key=key)
    answered = send(core(key), hello, source)
    assert len(answered) == answers
    assert all(answer.startswith(probe.MAGIC) for answer in answered)


def test_a_service_gets_what_begins_with_its_magic() -> None:
    """Behind the same admission as all else; it learns whether the source may be anyone; its answers are counted."""
    seen: list[tuple[bytes, Arrival]] = []

    def service(data: bytes, arrival: Arrival) -> Sequence[bytes]:
        seen.append((data, arrival))
        return (data[4:], b"more")

    responder = core(KEY, services={b"\xf5NEW": service})
    assert send(responder, b"\xf5NEW question") == (b" question", b"more")
    assert send(responder, b"\xf5NEW", STRANGER) == (b"", b"more")
    assert send(responder, b"\xf5NE") == ()
    assert [arrival.stranger for _, arrival in seen] == [False, True]
    assert seen[0][1].source == NODE
    assert send(core(services={b"\xf5NEW": service}), b"\xf5NEW", STRANGER) == ()
    assert responder.summary() == "received 3, answered 4, short 1"


datagrams = st.one_of(
    st.binary(max_size=300),
    st.binary(max_size=300).map(lambda data: probe.MAGIC + data),
    st.builds(
        lambda kind, number, sizes, length: probe.encode(
            Message(kind, b"12345678", number, sizes=tuple(sizes)), length=length
        ),
        st.sampled_from(list(Kind)),
        st.integers(0, 2**32 - 1),
        st.lists(st.integers(0, 65535), max_size=10),
        st.integers(0, 1400),
    ),
    st.binary(max_size=300).map(lambda data: stamp_packet() + data),
    st.binary(max_size=300).map(lambda data: stamp_packet(KEY) + data),
)


@settings(deadline=None, max_examples=300)
@given(st.lists(datagrams, max_size=6), st.sampled_from([None, KEY]), st.sampled_from([NODE, STRANGER]))
def test_never_an_amplifier(data: list[bytes], key: bytes | None, source: tuple[str, int]) -> None:
    """Whatever comes, an address that has proven nothing never gets more bytes than it sent."""
    responder = core(key)
    for datagram in data:
        assert sum(map(len, send(responder, datagram, source))) <= len(datagram)


@pytest.mark.parametrize("key", [None, KEY])
def test_two_responders_do_not_talk_for_ever(key: bytes | None) -> None:
    """A forged packet from one responder's port to the other's is answered once."""
    (answer,) = send(core(key), stamp_packet(key), ("10.66.0.2", 862))
    assert send(core(key), answer, ("10.66.0.3", 862)) == ()


def test_a_flood_is_limited_and_counted() -> None:
    """What one source sends beyond its rate is dropped; the others are served."""
    responder = core(limits=Limits(source_per_s=100.0))
    answered = sum(len(send(responder, stamp_packet())) for _ in range(1000))
    assert answered == 20
    assert len(send(responder, stamp_packet(), ("10.66.0.9", 1))) == 1
    assert responder.summary() == "received 1001, answered 21, rate-limited 980"


def test_everything_dropped_is_counted_by_reason() -> None:
    """The counters show an operator why a peer hears nothing."""
    responder = core(KEY)
    send(responder, b"GET / HTTP/1.1\r\n\r\n")
    send(responder, stamp_packet(b"another key of 16"))
    send(responder, stamp_packet(), STRANGER)
    send(responder, probe.MAGIC + bytes(100))
    send(responder, stamp_packet())
    responder.unsent(NODE[0], "EPERM", 0.0)
    assert responder.summary() == (
        "received 5, answered 1, bad-hmac 1, bad-probe 1, not-allowed 1, short 1, unsent EPERM 1"
    )


def test_heard() -> None:
    """What a hello reports: every test packet that came, refused ones too, and how long ago; other nodes' count not."""
    responder = core(KEY)
    assert responder.heard(NODE[0], now=5.0, now_ns=NOW_NS) == Heard()
    for _ in range(3):
        send(responder, stamp_packet())
    assert responder.heard(NODE[0], now=0.0, now_ns=NOW_NS + 2_000_000_000) == Heard(3, 2.0)
    send(responder, b"what is this", now=9.0)
    responder.dropped("bad-hello")
    assert responder.heard(NODE[0], now=9.5, now_ns=NOW_NS + 11_500_000_000) == Heard(4, 0.5)
    assert responder.heard("10.66.0.9", now=9.5, now_ns=NOW_NS) == Heard()
    assert responder.heard(NODE[0], now=9.0, now_ns=NOW_NS - 1).packet_age_s == 0.0
    assert responder.summary() == "received 4, answered 3, bad-hello 1, short 1"
