"""The path-MTU probe protocol: its codec, and a responder that cannot be turned against others."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflight.proto.pmtu.wire import (
    LARGEST,
    MAGIC,
    MAX_SIZES,
    SMALLEST,
    Kind,
    Message,
    ProbeServer,
    decode,
    encode,
    overhead,
    quoted_number,
)
from preflight.proto.responder.cookie import COOKIE_SECONDS

KEY = b"a key of the test suite"
SECRET = b"a secret of the server's"
TOKEN = b"\x01\x02\x03\x04\x05\x06\x07\x08"
SOURCE = ("10.66.0.1", 40000)
SOURCE6 = ("fd66::1", 40000)

unhurried = settings(deadline=None)
u16 = st.integers(0, 0xFFFF)
keys = st.sampled_from([None, KEY])
messages = st.builds(
    Message,
    kind=st.sampled_from(Kind),
    token=st.binary(min_size=8, max_size=8),
    number=st.integers(0, 2**32 - 1),
    size=u16,
    device_mtu=u16,
    path_mtu=u16,
    reassembled=st.none() | st.integers(0, 2**32 - 2),
    cookie=st.binary(min_size=16, max_size=16),
    sizes=st.lists(u16, max_size=MAX_SIZES).map(tuple),
)


@dataclass(frozen=True)
class Host:
    """A host with known numbers."""

    mtu: int = 1420
    believed: int = 1400
    fragments: int | None = 7

    def device_mtu(self, address: str) -> int:
        """As `HostView`."""
        return self.mtu

    def path_mtu(self, address: str) -> int:
        """As `HostView`."""
        return self.believed

    def reassembled(self) -> int | None:
        """As `HostView`."""
        return self.fragments


def server(key: bytes | None = None, host: Host | None = None) -> ProbeServer:
    return ProbeServer(key, SECRET, host)


def greeted(server: ProbeServer, source: tuple[str, int] = SOURCE, now: float = 0.0, key: bytes | None = None) -> bytes:
    """The cookie for a source."""
    hello = encode(Message(Kind.HELLO, TOKEN, 0), length=SMALLEST - overhead(source[0]), key=key)
    (data,) = server.handle(hello, source, now)
    welcome = decode(data, key=key)
    assert welcome is not None
    return welcome.cookie


def request(cookie: bytes, *sizes: int, key: bytes | None = None) -> bytes:
    message = Message(Kind.REQUEST, TOKEN, 5, cookie=cookie, sizes=sizes)
    return encode(message, length=SMALLEST - overhead(SOURCE[0]), key=key)


@unhurried
@given(messages, keys, st.integers(0, 9000))
def test_round_trip(message: Message, key: bytes | None, length: int) -> None:
    """Protects the codec: what is encoded is read back, at any padding, signed or not."""
    data = encode(message, length=length, key=key)
    assert len(data) >= length
    assert decode(data, key=key) == message
    assert data[:4] == MAGIC
    assert data[0] >= 0xF0


@unhurried
@given(messages, keys)
def test_truncated_at_every_byte(message: Message, key: bytes | None) -> None:
    """Protects the reader against short datagrams: None, never an exception."""
    data = encode(message, key=key)
    assert all(decode(data[:length], key=key) is None for length in range(len(data)))


@unhurried
@given(st.binary(max_size=300), keys)
def test_random_bytes(data: bytes, key: bytes | None) -> None:
    """Protects reader and server against whatever comes to an open port."""
    for datagram in (data, MAGIC + data):
        decode(datagram, key=key)
        quoted_number(datagram, TOKEN)
        answers = server(key, Host()).handle(datagram, SOURCE, 0.0)
        assert sum(map(len, answers)) <= len(datagram)


@unhurried
@given(messages, st.data())
def test_one_changed_bit_is_refused_under_a_key(message: Message, data: st.DataObject) -> None:
    """Protects the authenticated mode: no bit of a signed datagram can be changed, padding included."""
    signed = bytearray(encode(message, length=200, key=KEY))
    signed[data.draw(st.integers(0, len(signed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert decode(bytes(signed), key=KEY) is None


def test_with_a_key_the_unsigned_get_nothing() -> None:
    """Protects the authenticated responder from hosts that do not have the key."""
    for kind in Kind:
        for key in (None, b"some other key..."):
            assert server(KEY).handle(encode(Message(kind, TOKEN, 1), length=1000, key=key), SOURCE, 0.0) == []


@pytest.mark.parametrize("source", [SOURCE, SOURCE6])
def test_a_large_probe_gets_a_small_answer(source: tuple[str, int]) -> None:
    """Protects the forward measurement: the answer is small and reports the size that arrived."""
    probe = encode(Message(Kind.PROBE, TOKEN, 9, size=1400), length=1400 - overhead(source[0]))
    (data,) = server(host=Host()).handle(probe, source, 0.0)
    assert decode(data) == Message(Kind.ACK, TOKEN, 9, size=1400, reassembled=7)
    assert len(data) + overhead(source[0]) <= SMALLEST


def test_a_welcome_tells_about_the_host() -> None:
    """Protects the reverse search, which needs the peer's own interface MTU and what its kernel has learnt."""
    hello = encode(Message(Kind.HELLO, TOKEN, 3), length=SMALLEST - 28)
    (data,) = server(host=Host()).handle(hello, SOURCE, 0.0)
    welcome = decode(data)
    assert welcome is not None
    assert (welcome.kind, welcome.number) == (Kind.WELCOME, 3)
    assert (welcome.device_mtu, welcome.path_mtu, welcome.reassembled) == (1420, 1400, 7)
    (data,) = server().handle(hello, SOURCE, 0.0)
    bare = decode(data)
    assert bare is not None
    assert (bare.device_mtu, bare.path_mtu, bare.reassembled) == (0, 0, None)


@pytest.mark.parametrize("source", [SOURCE, SOURCE6])
@pytest.mark.parametrize("key", [None, KEY])
def test_a_request_with_its_cookie_gets_the_sizes(source: tuple[str, int], key: bytes | None) -> None:
    """Protects the reverse measurement: one answer of exactly each size, numbered in order."""
    responder = server(key, Host(mtu=9000))
    sizes = (1420, 1280, SMALLEST, 8999)
    answers = responder.handle(request(greeted(responder, source, key=key), *sizes, key=key), source, 1.0)
    assert tuple(len(data) + overhead(source[0]) for data in answers) == sizes
    read = [decode(data, key=key) for data in answers]
    assert [message.number for message in read if message] == [5, 6, 7, 8]
    assert {message.kind for message in read if message} == {Kind.ANSWER}


def test_sizes_out_of_bounds_are_left_out() -> None:
    """Protects the responder: nothing below or above the protocol's bounds, nor above its own interface's MTU."""
    responder = server(host=Host(mtu=1420))
    cookie = greeted(responder)
    answers = responder.handle(request(cookie, 0, 1, SMALLEST - 1, 1420, 1421, LARGEST, 0xFFFF), SOURCE, 1.0)
    assert [len(data) + 28 for data in answers] == [1420]
    free = server()
    answers = free.handle(request(greeted(free), *[LARGEST + 1] * 9, LARGEST), SOURCE, 1.0)
    assert [len(data) + 28 for data in answers] == [LARGEST]


@unhurried
@given(st.lists(st.integers(0, 0xFFFF), max_size=MAX_SIZES), st.binary(min_size=16, max_size=16), keys)
def test_never_an_amplifier(sizes: list[int], cookie: bytes, key: bytes | None) -> None:
    """Protects third parties: to an address that gave back no cookie, never more bytes than came from it."""
    responder = server(key, Host())
    for kind in Kind:
        message = Message(kind, TOKEN, 1, cookie=cookie, sizes=tuple(sizes))
        for length in (0, 100, 1400):
            data = encode(message, length=length, key=key)
            assert sum(map(len, responder.handle(data, SOURCE, 0.0))) <= len(data)


def test_a_cookie_is_good_for_one_address_one_session_and_a_while() -> None:
    """Protects against recorded requests: from another address, port, session or time they get a small answer only."""
    responder = server(KEY, Host())
    cookie = greeted(responder, now=10.0, key=KEY)
    recorded = request(cookie, 1400, key=KEY)
    other_session = encode(Message(Kind.REQUEST, b"12345678", 5, cookie=cookie, sizes=(1400,)), length=116, key=KEY)

    def large(data: bytes, source: tuple[str, int], now: float) -> bool:
        return any(len(answer) > len(data) for answer in responder.handle(data, source, now))

    assert large(recorded, SOURCE, 10.0)
    assert large(recorded, SOURCE, 10.0 + COOKIE_SECONDS)
    assert not large(recorded, SOURCE, 10.0 + 3 * COOKIE_SECONDS)
    assert not large(recorded, (SOURCE[0], SOURCE[1] + 1), 10.0)
    assert not large(recorded, ("10.66.0.9", SOURCE[1]), 10.0)
    assert not large(other_session, SOURCE, 10.0)
    assert not any(
        len(answer) > len(recorded) for answer in ProbeServer(KEY, b"another").handle(recorded, SOURCE, 10.0)
    )


def test_an_expired_cookie_is_renewed() -> None:
    """Protects long searches: the small answer to a request with an old cookie carries a new one."""
    responder = server()
    old = greeted(responder, now=0.0)
    (data,) = responder.handle(request(old, 1400), SOURCE, 100.0)
    welcome = decode(data)
    assert welcome is not None
    assert welcome.kind is Kind.WELCOME
    assert len(responder.handle(request(welcome.cookie, 1400), SOURCE, 100.0)[0]) + 28 == 1400


def test_a_quote_needs_our_token() -> None:
    """Protects the check of ICMP errors: magic and token must be ours, the number is read."""
    probe = encode(Message(Kind.PROBE, TOKEN, 77), length=500)
    assert quoted_number(probe[:16], TOKEN) == 77
    assert quoted_number(probe[:15], TOKEN) is None
    assert quoted_number(probe, b"87654321") is None


@pytest.mark.parametrize(("address", "bytes_"), [("10.0.0.1", 28), ("::ffff:10.0.0.1", 28), ("fd66::1", 48)])
def test_overhead(address: str, bytes_: int) -> None:
    """Protects all sizes: IP and UDP header of the family that is on the wire."""
    assert overhead(address) == bytes_
