"""Hellos: read as written, believed once and from their sender only, and what they prove about a direction."""

from dataclasses import replace
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflight.model.event import Event, telling
from preflight.model.path import AskResult, Heard, HelloReport, PeerReport
from preflight.proto.core import Received
from preflight.proto.responder import hello
from preflight.proto.responder.hello import (
    FRESH_S,
    Ends,
    Hello,
    HelloError,
    HelloListener,
    HelloReceiver,
    HelloServer,
    Kind,
    Message,
)
from preflight.proto.responder.reach import HELLO_AFTER_S, Way, forward_way, reverse_way

KEY, OTHER_KEY = b"0123456789abcdef", b"another key of 16"
NOW_MS = 1_795_479_667_927
A, B, C = "10.66.0.1", "10.66.0.2", "10.66.0.3"

addresses = st.ip_addresses().map(str).filter(lambda text: not text.startswith("::ffff:"))
ages = st.none() | st.integers(0, 2**32 - 2).map(lambda ms: ms / 1000)
counts = st.integers(0, 2**32 - 1)
hellos = st.builds(
    Hello,
    sender=addresses,
    receiver=addresses,
    started_ms=st.integers(0, 2**63),
    sequence=counts,
    sent_ms=st.integers(0, 2**63),
    up_s=st.integers(0, 2**32 - 2).map(lambda ms: ms / 1000),
    heard=st.builds(Heard, counts, ages, counts, ages),
)
messages = st.builds(
    Message,
    kind=st.sampled_from(list(Kind)),
    hello=hellos,
    nonce=st.binary(min_size=16, max_size=16),
    held_s=st.integers(0, 2**32 - 2).map(lambda ms: ms / 1000),
)


@given(messages)
def test_round_trip(message: Message) -> None:
    """What was said is what is read; all kinds are of one length, so that no answer is longer than its question."""
    data = hello.encode(message, KEY)
    assert hello.decode(data, KEY) == message
    assert data.startswith(hello.MAGIC)
    assert len(data) == 116


@given(messages, st.integers(0, 115), st.integers(1, 255))
def test_every_byte_is_signed(message: Message, place: int, change: int) -> None:
    """Nothing can be changed on the way, and another key reads nothing."""
    data = bytearray(hello.encode(message, KEY))
    for key in (OTHER_KEY, b""):
        with pytest.raises(HelloError, match="bad-hello"):
            hello.decode(bytes(data), key)
    data[place] ^= change
    with pytest.raises(HelloError, match="bad-hello"):
        hello.decode(bytes(data), KEY)


@settings(max_examples=300)
@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda data: hello.MAGIC + data))
def test_rubbish_is_dropped(data: bytes) -> None:
    """Whatever comes ends as one reason for a counter."""
    with pytest.raises(HelloError, match="bad-hello"):
        HelloServer(KEY, [A], NOW_MS, 0.0).handle(data, A, 0.0, NOW_MS)


def said(server: HelloServer, to: str = A, *, local: str = B, now: float = 0.0) -> bytes:
    """The next hello of b."""
    server.at(to, local)
    return server.hello(to, Heard(), now, NOW_MS + int(now * 1000))


def test_each_hello_is_taken_once_and_in_order() -> None:
    """Replayed and overtaken hellos say nothing about now."""
    server, receiver = HelloServer(KEY, [A], NOW_MS, 0.0), HelloReceiver(KEY, B, A)
    first, second, third = (said(server) for _ in range(3))
    receiver.take(first, B, 0.0, NOW_MS)
    receiver.take(third, B, 0.0, NOW_MS)
    for late in (first, second, third):
        with pytest.raises(HelloError, match="replayed-hello"):
            receiver.take(late, B, 0.0, NOW_MS)
    assert (receiver.count, receiver.newest and receiver.newest.sequence) == (2, 3)


def test_a_restarted_responder_is_heard() -> None:
    """Its numbers begin again; with a clock that went back it is heard once no recorded hello can be fresh."""
    receiver = HelloReceiver(KEY, B, A)
    receiver.take(said(HelloServer(KEY, [A], NOW_MS, 0.0)), B, 0.0, NOW_MS)
    receiver.take(said(HelloServer(KEY, [A], NOW_MS + 1, 0.0)), B, 0.0, NOW_MS)
    back = HelloServer(KEY, [A], NOW_MS - 50_000, 0.0)
    with pytest.raises(HelloError, match="replayed-hello"):
        receiver.take(said(back), B, 10.0, NOW_MS)
    later = 2 * FRESH_S + 1
    assert receiver.take(said(back, now=later), B, later, NOW_MS + int(later * 1000)).sequence == 2


@pytest.mark.parametrize(
    ("source", "sender", "receiver", "reason"),
    [
        (B, B, A, None),
        (C, B, A, "misaddressed-hello"),  # somebody else sends b's words
        (B, A, B, "misaddressed-hello"),  # a's own hello comes back
        (B, C, A, "misaddressed-hello"),  # c's words from b's address
        (B, B, C, "misaddressed-hello"),  # what b said to c
    ],
)
def test_a_hello_is_good_between_its_two_ends_only(source: str, sender: str, receiver: str, reason: str | None) -> None:
    """A host that has the key or records a hello cannot make it one of another pair."""
    data = hello.encode(Message(Kind.HELLO, Hello(sender, receiver, NOW_MS, 1, NOW_MS)), KEY)
    hellos = HelloReceiver(KEY, B, A)
    if reason is None:
        assert hellos.take(data, source, 0.0, NOW_MS).sequence == 1
    else:
        with pytest.raises(HelloError, match=reason):
            hellos.take(data, source, 0.0, NOW_MS)


@pytest.mark.parametrize("off_s", [FRESH_S + 1, -FRESH_S - 1])
def test_old_hellos_are_dropped(off_s: float) -> None:
    """A recording of yesterday is not news."""
    with pytest.raises(HelloError, match="stale-hello"):
        HelloReceiver(KEY, B, A).take(said(HelloServer(KEY, [A], NOW_MS, 0.0)), B, 0.0, NOW_MS + int(off_s * 1000))


def test_only_hellos_are_heard() -> None:
    """A question or an answer with a good signature does not pass as a hello, nor an answer as a question."""
    for kind in (Kind.QUESTION, Kind.ANSWER):
        with pytest.raises(HelloError, match="bad-hello"):
            HelloReceiver(KEY, B, A).take(hello.encode(Message(kind, Hello(B, A, 1, 1, NOW_MS)), KEY), B, 0.0, NOW_MS)
    with pytest.raises(HelloError, match="bad-hello"):
        HelloServer(KEY, [A], NOW_MS, 0.0).handle(hello.encode(Message(Kind.ANSWER, Hello(A, B)), KEY), A, 0.0, NOW_MS)


def test_two_responders_hear_one_another() -> None:
    """Each reports how many hellos it heard and how long ago, and what its core counted; a stranger changes nothing."""
    a, b = HelloServer(KEY, [B], NOW_MS, 0.0), HelloServer(KEY, [A], NOW_MS, 0.0)
    a.at(B, A)
    b.at(A, B)
    a.hello(B, Heard(), 0.0, NOW_MS)  # lost on the way
    assert b.handle(a.hello(B, Heard(), 2.0, NOW_MS), A, 2.0, NOW_MS) == []
    message = hello.decode(b.hello(A, Heard(7, 0.5), 3.0, NOW_MS), KEY)
    assert message.hello.heard == Heard(7, 0.5, hellos=1, hello_age_s=1.0)
    with pytest.raises(HelloError, match="misaddressed-hello"):
        b.handle(hello.encode(Message(Kind.HELLO, Hello(C, B, 1, 1, NOW_MS)), KEY), C, 0.0, NOW_MS)


def test_a_program_of_the_host_asks_its_responder() -> None:
    """It learns the newest hello and how long ago it came; of a silent peer or a stranger, that there is none."""
    a, b = HelloServer(KEY, [B, C], NOW_MS, 0.0), HelloServer(KEY, [A], NOW_MS, 0.0)
    a.at(B, A)
    b.at(A, B)
    a.handle(b.hello(A, Heard(3, 0.25), 5.0, NOW_MS), B, 5.0, NOW_MS)

    def ask(peer: str) -> Message:
        question = hello.encode(Message(Kind.QUESTION, Hello(peer, A), b"n" * 16), KEY)
        (answer,) = a.handle(question, A, 6.5, NOW_MS)
        assert len(answer) == len(question)
        return hello.decode(answer, KEY)

    answer = ask(B)
    assert (answer.kind, answer.nonce, answer.held_s) == (Kind.ANSWER, b"n" * 16, 1.5)
    assert (answer.hello.sender, answer.hello.receiver, answer.hello.sequence) == (B, A, 1)
    assert answer.hello.heard == Heard(3, 0.25)
    assert [ask(peer).hello.sequence for peer in (C, "10.66.0.9")] == [0, 0]


def asked(after_s: float, heard: Heard, up_s: float = 900.0, **more: object) -> AskResult:
    """An inquiry in which one hello came."""
    hello = HelloReport(after_s, up_s, heard)
    return replace(AskResult(sent=10, answered=0, hello=hello), **more)  # type: ignore[arg-type]


LATE, EARLY = HELLO_AFTER_S + 1.0, HELLO_AFTER_S - 0.5


@pytest.mark.parametrize(
    ("inquiry", "forward", "reverse"),
    [
        (asked(LATE, Heard()), Way.DEAD, Way.OPEN),
        (asked(LATE, Heard(99, LATE + 0.1)), Way.DEAD, Way.OPEN),  # what it counts came before
        (asked(LATE, Heard(99, LATE - 0.1)), Way.OPEN, Way.OPEN),
        # Ages travel in milliseconds: half of one must neither call a packet old nor a responder early.
        (asked(2.612968, Heard(1, 2.613)), Way.OPEN, Way.OPEN),
        (asked(2.612968, Heard(), up_s=2.613), Way.UNKNOWN, Way.OPEN),
        (asked(EARLY, Heard()), Way.UNKNOWN, Way.OPEN),  # it may have crossed our packets
        (asked(EARLY, Heard(1, 0.1)), Way.OPEN, Way.OPEN),
        (asked(LATE, Heard(), up_s=LATE - 0.1), Way.UNKNOWN, Way.OPEN),  # a responder that began meanwhile
        (asked(LATE, Heard(1, 0.1), up_s=0.2), Way.OPEN, Way.OPEN),
        (asked(-1.0, Heard()), Way.UNKNOWN, Way.UNKNOWN),  # it came before our packets left
        (asked(LATE, Heard(0, None, 5, 0.1)), Way.DEAD, Way.OPEN),  # hellos are other flows than ours
        (AskResult(sent=10, answered=0), Way.UNKNOWN, Way.UNKNOWN),  # none came: that tells nothing
        # Better evidence goes first.
        (asked(LATE, Heard(), report=PeerReport(3, 10)), Way.OPEN, Way.DEAD),
        (asked(LATE, Heard(), on_interface=3), Way.OPEN, Way.DROPPED_HERE),
    ],
)
def test_what_a_hello_proves(inquiry: AskResult, forward: Way, reverse: Way) -> None:
    """A direction is called dead or open only by evidence of this inquiry; a missing hello is not evidence."""
    assert (forward_way(inquiry), reverse_way(inquiry)) == (forward, reverse)


@given(
    transit=st.floats(0.0, HELLO_AFTER_S / 2),
    there=st.floats(0.0, HELLO_AFTER_S / 2),
    left=st.floats(-5.0, 5.0),
    arrives=st.booleans(),
    spacing=st.floats(0.01, 0.25),
)
def test_no_timing_makes_a_false_verdict(
    transit: float, there: float, left: float, arrives: bool, spacing: float
) -> None:
    """Whenever the peer's hello leaves and however long each way takes: a live direction is never called dead.

    Nor is a dead one called open. This node's packets leave from time 0 on, every `spacing` seconds.
    """
    age: float | None = None
    if arrives and left >= there:
        age = (left - there) % spacing
    report = HelloReport(left + transit, 900.0, Heard(0 if age is None else 1, age))
    way = forward_way(AskResult(sent=10, answered=0, hello=report))
    assert way is not (Way.DEAD if arrives else Way.OPEN)


ENDS = Ends(B, 862, A, 862)


def listening(*, by_responder: bool = False, events: list[Event] | None = None) -> HelloListener:
    """A node whose first packet left at 100 s."""
    tell = telling(events.append if events is not None else None, "responder.hello")
    return HelloListener(ENDS, KEY, began=100.0, nonce=b"q" * 16, by_responder=by_responder, tell=tell)


def test_a_listener_takes_the_newest_hello_after_its_first_packet() -> None:
    """A hello from before says nothing about the packet; a later one does; what is dropped is counted."""
    events: list[Event] = []
    listener, peer = listening(events=events), HelloServer(KEY, [A], NOW_MS, 50.0)
    peer.at(A, B)
    for at in (99.0, 103.0):
        assert listener.result is None
        said = peer.hello(A, Heard(), at, NOW_MS)
        listener.receive(Received(said, (B, 862), NOW_MS * 1_000_000), at)
    listener.receive(Received(b"noise", (B, 862), NOW_MS * 1_000_000), 103.1)
    assert listener.result is not None
    assert (listener.result.after_s, listener.result.by_responder) == (3.0, False)
    assert listener.dropped == {"bad-hello": 1}
    assert [event.name for event in events] == ["hello", "hello", "dropped"]


def test_a_listener_asks_the_responder_of_its_host() -> None:
    """Only while it is asked to, and not again and again at once; only an answer to its own question counts."""
    listener, here = listening(by_responder=True), HelloServer(KEY, [B], NOW_MS, 50.0)
    here.at(B, A)
    assert (list(listener.datagrams_to_send(100.0)), listener.get_timer()) == ([], inf)
    there = HelloServer(KEY, [A], NOW_MS, 50.0)
    there.at(A, B)
    here.handle(there.hello(A, Heard(), 101.0, NOW_MS), B, 101.0, NOW_MS)
    listener.ask(102.0)
    (question,) = listener.datagrams_to_send(102.0)
    assert list(listener.datagrams_to_send(102.0)) == []
    assert listener.get_timer() == 102.25
    (answer,) = here.handle(question.data, A, 102.0, NOW_MS)
    listener.receive(Received(hello.encode(Message(Kind.ANSWER, Hello(B, A), b"x" * 16), KEY)), 102.1)
    assert (listener.answered, listener.result) == (False, None)
    listener.receive(Received(answer), 102.1)
    assert listener.result is not None
    assert (round(listener.result.after_s, 3), listener.result.by_responder) == (1.1, True)
    listener.stop_asking()
    assert listener.get_timer() == inf
