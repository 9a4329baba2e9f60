"""Questions about a NAT: read as written, signed, answered boundedly, and promises kept once."""

import errno

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflight.model.event import Event, telling
from preflight.model.nat import AfterSilence, translated
from preflight.proto.core import ORIGIN_ICMP, Received, Refusal
from preflight.proto.stun import nat
from preflight.proto.stun.nat import (
    ASKING_BYTES,
    MAX_DELAY_S,
    MEMORY_S,
    PROBES,
    SIZE,
    Kind,
    Message,
    NatServer,
    Question,
    SilenceTest,
)

KEY, OTHER_KEY = b"0123456789abcdef", b"another key of 16"
NONCE, TUNNEL = b"n" * 16, b"k" * 32
NODE, OTHER = ("10.66.0.1", 40000), ("10.66.0.9", 40000)

endpoints = st.just("") | st.builds(
    lambda address, port: f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}",
    st.ip_addresses().filter(lambda address: address.version == 4 or address.ipv4_mapped is None),
    st.integers(1, 65535),
)
messages = st.builds(
    Message,
    kind=st.sampled_from(list(Kind)),
    nonce=st.binary(min_size=16, max_size=16),
    public_key=st.binary(min_size=32, max_size=32),
    endpoint=endpoints,
    delay_s=st.integers(0, 2**31).map(lambda ms: ms / 1000),
    sent=st.integers(0, 255),
)


class View:
    """A tunnel with one peer; `ready` says whether its state has been read."""

    ready = True

    def endpoint(self, public_key: bytes) -> str | None:
        """Where that peer is."""
        return ("203.0.113.5:4711" if public_key == TUNNEL else "") if self.ready else None


@given(messages, st.sampled_from([None, KEY]), st.integers(SIZE, 500))
def test_round_trip(message: Message, key: bytes | None, length: int) -> None:
    """What was asked is what is read, padded or not; with a key only what it signed."""
    data = nat.encode(message, key, length=length)
    assert nat.decode(data, key) == message
    assert len(data) == length
    assert nat.decode(data, OTHER_KEY) is None


@given(messages, st.integers(0, SIZE - 1), st.integers(1, 255))
def test_every_byte_is_signed(message: Message, place: int, change: int) -> None:
    """Nothing can be changed on the way."""
    data = bytearray(nat.encode(message, KEY))
    data[place] ^= change
    assert nat.decode(bytes(data), KEY) is None


@settings(max_examples=300)
@given(
    st.lists(
        st.binary(max_size=400)
        | st.binary(max_size=400).map(lambda data: nat.MAGIC + data)
        | st.builds(lambda m, length: nat.encode(m, None, length=length), messages, st.integers(SIZE, 500)),
        max_size=8,
    )
)
def test_never_more_out_than_in(data: list[bytes]) -> None:
    """At any time an address gets at most as many bytes as were sent in its name."""
    server = NatServer(None, View())
    came, went = 0, 0
    for datagram in data:
        came += len(datagram)
        went += sum(map(len, server.handle(datagram, NODE, 0.0) or ()))
    went += sum(len(probe) for _, probes in server.due(MAX_DELAY_S) for probe in probes)
    assert went <= came


def ask(server: NatServer, message: Message, source: tuple[str, int] = NODE, now: float = 0.0) -> Message | None:
    """The answer to a question."""
    length = ASKING_BYTES if message.kind is Kind.AFTER else SIZE
    answers = server.handle(nat.encode(message, KEY, length=length), source, now)
    return nat.decode(answers[0], KEY) if answers else None


@pytest.mark.parametrize(("public_key", "endpoint"), [(TUNNEL, "203.0.113.5:4711"), (b"x" * 32, "")])
def test_where(public_key: bytes, endpoint: str) -> None:
    """The endpoint of exactly the tunnel that asks; of another key nothing is known."""
    answer = ask(NatServer(KEY, View()), Message(Kind.WHERE, NONCE, public_key))
    assert answer == Message(Kind.SEEN, NONCE, public_key, endpoint)


def test_where_while_the_state_is_read() -> None:
    """A missing answer is not a wrong answer: it is asked again."""
    view = View()
    view.ready = False
    assert NatServer(KEY, view).handle(nat.encode(Message(Kind.WHERE, NONCE, TUNNEL), KEY), NODE, 0.0) == []


def test_a_promise_is_kept_once_and_reported() -> None:
    """However often it is asked for; nobody gets a packet meanwhile, and afterwards it reports how many left."""
    server, question = NatServer(KEY), Message(Kind.AFTER, NONCE, delay_s=25.0)
    for now in (0.0, 0.2, 0.4):
        assert ask(server, question, now=now) == Message(Kind.AGREED, NONCE)
    assert server.wants_silence(NODE[0])
    assert not server.wants_silence(OTHER[0])
    assert server.due(24.9) == []
    ((name, probes),) = server.due(25.0)
    assert (name, len(probes)) == ((*NODE, NONCE), PROBES)
    assert {nat.decode(probe, KEY) for probe in probes} == {Message(Kind.PROBE, NONCE)}
    server.left(name, 2)
    assert (server.due(26.0), server.waits(), server.wants_silence(NODE[0])) == ([], False, False)
    assert ask(server, question, now=28.0) == Message(Kind.AGREED, NONCE, sent=2)
    assert ask(server, question, now=25.1 + MEMORY_S) == Message(Kind.AGREED, NONCE)  # forgotten: a new promise


def test_promises_are_bounded() -> None:
    """Neither one address nor all together can make the responder a clockwork; a silent asker is forgotten."""
    server = NatServer(KEY)

    def promised(source: tuple[str, int], count: int, now: float = 0.0) -> int:
        asked = (
            ask(server, Message(Kind.AFTER, number.to_bytes(16), delay_s=1.0), source, now) for number in range(count)
        )
        return sum(answer is not None for answer in asked)

    assert promised(NODE, 10) == nat.MAX_PROMISES_OF_ONE
    assert promised(OTHER, 1) == 1
    assert sum(promised((f"10.66.1.{host}", 1), 4) for host in range(30)) == nat.MAX_PROMISES - 5
    assert len(server.due(2.0)) == nat.MAX_PROMISES
    assert promised(NODE, 1, now=2.0 + MEMORY_S) == 1


@pytest.mark.parametrize(
    ("message", "length"),
    [
        (Message(Kind.AFTER, NONCE, delay_s=1.0), ASKING_BYTES - 1),  # it would bring back more than it is
        (Message(Kind.AFTER, NONCE, delay_s=MAX_DELAY_S + 1), ASKING_BYTES),
        (Message(Kind.SEEN, NONCE), SIZE),
        (Message(Kind.PROBE, NONCE), SIZE),
        (Message(Kind.AGREED, NONCE), SIZE),
    ],
)
def test_what_is_no_question_gets_no_answer(message: Message, length: int) -> None:
    """Two responders never talk to one another, and nothing is promised that could be abused."""
    server = NatServer(KEY, View())
    assert server.handle(nat.encode(message, KEY, length=length), NODE, 0.0) is None
    assert not server.waits()


@pytest.mark.parametrize(
    ("seen_as", "port", "behind"),
    [
        ("10.201.1.2:51820", 51820, False),
        ("10.201.1.2:51820", None, False),
        ("10.201.1.2:40000", 51820, True),  # only the port is another one
        ("10.201.2.1:51820", 51820, True),
        ("10.201.2.1:51820", None, True),
        ("[fdc9::2]:51820", 51820, False),
        ("[::ffff:10.201.1.2]:51820", 51820, False),
        ("[fdc9::3]:51820", 51820, True),
        ("[fe80::1%eth0]:51820", 51820, False),
    ],
)
def test_translated(seen_as: str, port: int | None, behind: bool) -> None:
    """A NAT shows as an endpoint that is not this node's; a second address of this node does not."""
    assert translated(seen_as, ["10.201.1.2", "fdc9::2", "fe80::1"], port) is behind


PEER_PORT_CLOSED = Refusal(errno.ECONNREFUSED, ORIGIN_ICMP, 3, 3, offender="10.66.0.2")
Core = Question | SilenceTest


def converse(core: Core, server: NatServer, *, lets_in: bool = True, lost: frozenset[int] = frozenset()) -> list[float]:
    """Move datagrams between a node and its peer's responder; when the node sent something.

    lets_in: whether packets that were not requested get in. lost: numbers of the node's datagrams that vanish.
    """
    now, times = 0.0, []
    while (timer := core.get_timer()) is not None:
        pending = [promise.due for promise in server._promises.values() if not promise.kept]
        now = max(now, min([timer, *pending]))
        for name, probes in server.due(now):
            server.left(name, len(probes))
            for probe in probes:
                if lets_in:
                    core.receive(Received(probe), now)
        core.handle_timer(now)
        for datagram in core.datagrams_to_send(now):
            times.append(now)
            if len(times) - 1 not in lost:
                for answer in server.handle(datagram.data, NODE, now) or ():
                    core.receive(Received(answer), now)
    return times


@pytest.mark.parametrize("key", [None, KEY])
def test_where_a_tunnel_is_seen(key: bytes | None) -> None:
    """One question and its answer; a lost one is asked again."""
    where = Message(Kind.WHERE, NONCE, public_key=TUNNEL)
    for lost in (frozenset[int](), frozenset({0, 1})):
        question = Question(where, Kind.SEEN, key, now=0.0, within_s=1.5)
        times = converse(question, NatServer(key, View()), lost=lost)
        assert question.result is not None
        assert question.result.endpoint == "203.0.113.5:4711"
        assert times == [pytest.approx(nat.AGAIN_S * number) for number in range(len(lost) + 1)]


def test_nobody_answers_a_question() -> None:
    """It is over in time; "port unreachable" ends it at once; what came instead is counted by reason."""
    where = Message(Kind.WHERE, NONCE)
    question = Question(where, Kind.SEEN, KEY, now=0.0, within_s=1.0)
    question.receive(Received(nat.encode(where, KEY)), 0.1)
    question.receive(Received(nat.encode(Message(Kind.SEEN, NONCE), None)), 0.1)
    question.receive(Received(b"noise"), 0.1)
    assert len(converse(question, NatServer(OTHER_KEY))) == 5
    assert (question.result, question.rejected) == (None, {"echoed": 1, "unsigned": 1, "foreign": 1})
    refused = Question(where, Kind.SEEN, KEY, now=0.0, within_s=1.0)
    refused.refused(PEER_PORT_CLOSED, 0.1)
    assert refused.get_timer() is None


def silence(now: float = 0.0, *, events: list[Event] | None = None) -> SilenceTest:
    """A silence of three seconds, of which the tunnel itself keeps one busy."""
    tell = telling(events.append if events is not None else None, "stun.nat")
    return SilenceTest(NONCE, KEY, step_s=2.0, delay_s=3.0, now=now, tell=tell)


def test_a_packet_gets_in_after_a_silence() -> None:
    """The node asks once, then says nothing until the peer's packet comes."""
    events: list[Event] = []
    core = silence(events=events)
    assert converse(core, NatServer(KEY)) == [0.0]
    assert core.result == AfterSilence(2.0, arrived=True)
    assert [event.name for event in events] == ["asked", "answered", "answered", "concluded"]


def test_a_nat_that_forgets() -> None:
    """Nothing came in, the peer says how much it sent, and its answer comes: only together these prove it."""
    core = silence()
    times = converse(core, NatServer(KEY), lets_in=False)
    assert times == [0.0, pytest.approx(3.0 + nat.LATE_S)]
    assert core.result == AfterSilence(2.0, arrived=False, sent=PROBES)


def test_a_peer_that_does_not_agree() -> None:
    """Silence, or a closed port: nothing is said about a NAT, and nobody waits for the packets."""
    core = silence()
    converse(core, NatServer(OTHER_KEY))
    assert core.result == AfterSilence(2.0, arrived=False, agreed=False)
    closed = silence()
    closed.datagrams_to_send(0.0)
    closed.refused(PEER_PORT_CLOSED, 0.1)
    assert closed.result == AfterSilence(2.0, arrived=False, agreed=False)


def test_a_peer_that_goes_away_during_the_silence() -> None:
    """It does not answer afterwards: how much it sent stays unknown."""
    core = silence()
    times = converse(core, NatServer(KEY), lets_in=False, lost=frozenset(range(1, 100)))
    assert len(times) > 10
    assert core.result == AfterSilence(2.0, arrived=False, sent=None)
