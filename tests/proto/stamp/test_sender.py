"""Whole STAMP sessions: their pace, their tail, their end, and what they take for an answer."""

import errno
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflight.model.event import Event, telling
from preflight.model.path import Drops
from preflight.proto.core import ORIGIN_ICMP, Refusal
from preflight.proto.stamp import wire as stamp
from preflight.proto.stamp.reflector import SessionReflector
from preflight.proto.stamp.sender import COPIES, MAX_TAIL, SessionSender
from tests.proto.stamp.conftest import EPOCH_NS, KEY, SOURCE, Network, directions, hand_in, losing, plan, send, steady


def test_pacing() -> None:
    """Packets leave in their rhythm."""
    network = Network()
    network.run(plan())
    assert [b - a for a, b in zip(network.sent_at, network.sent_at[1:], strict=False)] == pytest.approx([0.004] * 49)


def test_a_late_shell_does_not_catch_up_in_a_burst() -> None:
    """After a stall the session goes on at its pace (RFC 8085 section 3.1)."""
    sender = SessionSender(plan(), 100.0, lambda: EPOCH_NS)
    for now in (100.0, 100.5):
        (datagram,) = sender.datagrams_to_send(now)
        sender.sent(datagram, now)
    assert sender.get_timer() == pytest.approx(100.504)


def test_a_dead_path_gives_no_direction() -> None:
    """Nothing answered: no direction is claimed, no tail is sent, and the wait for an answer is as long as asked."""
    network = Network(losing(*range(100)))
    stats = network.run(plan(10, timeout_s=1.0))
    assert (stats.sent, stats.answered, stats.forward, stats.reverse) == (10, 0, None, None)
    assert network.now == pytest.approx(100 + 9 * 0.004 + 1.0)


def test_the_tail_is_bounded() -> None:
    """A path that dies in the middle gets a bounded number of tail packets; what they cannot show stays undirected."""
    network = Network(losing(*range(20, 1000)))
    stats = network.run(plan(50))
    forward, reverse = directions(stats)
    assert stats.sent == 50 + MAX_TAIL
    assert stats.undirected == 40
    assert (forward.lost, reverse.lost) == (0, 0)


@pytest.mark.parametrize("rtt_s", [0.0005, 0.08, 0.6])
def test_no_tail_on_a_long_healthy_path(rtt_s: float) -> None:
    """Answers that are only in flight are waited for."""
    stats = Network(steady(rtt_s / 2), steady(rtt_s / 2)).run(plan(50))
    assert (stats.sent, stats.answered) == (50, 50)


def test_enough_answers_end_a_session() -> None:
    """A caller that only needs to know whether the path is alive stops at the first answer."""
    network = Network(losing(*range(5)))
    stats = network.run(plan(100, enough=1))
    assert stats.answered == 1
    assert stats.sent < 10


def test_packets_that_did_not_leave_are_not_lost_on_the_way() -> None:
    """A refusal of this node's own kernel is reported by name and spends no sequence number."""
    network = Network(refused=lambda number: errno.EPERM if number % 2 else 0)
    stats = network.run(plan(20))
    assert (stats.sent, stats.answered, stats.send_errors) == (10, 10, {"EPERM": 10})
    blocked = Network(refused=lambda number: errno.EPERM).run(plan(20))
    assert (blocked.sent, blocked.send_errors) == (0, {"EPERM": 20})


def test_foreign_and_forged_answers_are_dropped() -> None:
    """Answers of another session, to packets never sent, or without the right key count only as rejected."""
    sender = SessionSender(plan(5, key=KEY), 0.0, count(EPOCH_NS).__next__)
    packet = send(sender)
    strangers = SessionReflector(key=b"another key of 16")
    with pytest.raises(stamp.StampError):
        strangers.handle(packet, SOURCE, received_ns=EPOCH_NS, transmitted_ns=EPOCH_NS, ttl=1)
    good = SessionReflector(key=KEY).handle(packet, SOURCE, received_ns=EPOCH_NS, transmitted_ns=EPOCH_NS, ttl=1)
    hand_in(sender, good[:-1] if len(good) == 112 else good[:90], EPOCH_NS)
    hand_in(sender, bytes(112), EPOCH_NS)
    other = stamp.build_request(0, EPOCH_NS, 1, 78, key=KEY)
    hand_in(
        sender,
        SessionReflector(key=KEY).handle(other, SOURCE, received_ns=EPOCH_NS, transmitted_ns=EPOCH_NS, ttl=1),
        EPOCH_NS,
    )
    never = stamp.build_request(4, EPOCH_NS, 1, 77, key=KEY)
    hand_in(
        sender,
        SessionReflector(key=KEY).handle(never, SOURCE, received_ns=EPOCH_NS, transmitted_ns=EPOCH_NS, ttl=1),
        EPOCH_NS,
    )
    assert sender.stats().rejected == {"short": 1, "bad-hmac": 1, "foreign": 2}
    assert sender.stats().answered == 0


@settings(deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=20))
def test_random_answers(datagrams: list[bytes]) -> None:
    """A hostile reflector cannot break the sender, nor make it claim what cannot be."""
    sender = SessionSender(plan(5), 0.0, count(EPOCH_NS).__next__)
    for _ in range(5):
        send(sender)
    for data in datagrams:
        hand_in(sender, (0).to_bytes(12) + (1).to_bytes(2) + (77).to_bytes(2) + data, EPOCH_NS)
    stats = sender.stats()
    assert stats.answered <= 5
    for direction in (stats.forward, stats.reverse):
        assert direction is None or 0 <= direction.received <= direction.sent


@pytest.mark.parametrize("size", [0, 76, 77, 80, 500, 1300])
@pytest.mark.parametrize("key", [None, KEY])
def test_packets_have_the_size_asked_for(size: int, key: bytes | None) -> None:
    """Padding brings a packet to its size, up to the header of a TLV; the reflector answers as long and in order."""
    sender = SessionSender(plan(5, size=size, key=key), 0.0, count(EPOCH_NS).__next__)
    packet = send(sender)
    least = 76 if key is None else 164
    assert len(packet) == (size if size >= least + 4 else least)
    assert sender.stats().payload_bytes == len(packet)
    answer = SessionReflector(key=key).handle(packet, SOURCE, received_ns=1, transmitted_ns=1, ttl=1)
    assert len(answer) == len(packet)


def test_a_slow_path_is_no_lossy_one() -> None:
    """Answers that take longer than the first wait are waited for, once the first is here."""
    stats = Network(steady(0.75), steady(0.75)).run(plan(400, timeout_s=1.0))
    assert (stats.answered, stats.undirected) == (stats.sent, 0)


def test_drops_are_those_of_the_session() -> None:
    """What the reflector had dropped before does not count."""
    sender, reflector = SessionSender(plan(3), 0.0, count(EPOCH_NS).__next__), SessionReflector()
    for number, drops in enumerate([(100, 5, 0), (140, 5, 0), (170, 6, 2)]):
        packet = send(sender)
        at = EPOCH_NS + number + 1000
        hand_in(sender, reflector.handle(packet, SOURCE, received_ns=at, transmitted_ns=at, ttl=9, drops=drops), at)
    assert sender.stats().drops == Drops(overflowed=70, limited=1, unsent=2)


def test_copies_without_end_are_not_kept() -> None:
    """A peer that sends an answer again and again fills no memory, and pushes no other answer out."""
    sender, reflector = SessionSender(plan(2), 0.0, count(EPOCH_NS).__next__), SessionReflector()
    answers = []
    for _ in range(2):
        packet = send(sender)
        answers.append(reflector.handle(packet, SOURCE, received_ns=EPOCH_NS, transmitted_ns=EPOCH_NS, ttl=9))
    for answer in [answers[0]] * 1000 + [answers[1]]:
        hand_in(sender, answer, EPOCH_NS + 1000)
    stats = sender.stats()
    assert stats.answered == 2
    assert len(sender._arrivals) <= COPIES * (2 + MAX_TAIL) + 1


def test_port_unreachable_ends_a_session() -> None:
    """Only the peer's own "port unreachable" ends it; a router's ICMP error is noted with its sender and interface."""
    sender = SessionSender(plan(50, peer="10.66.0.2"), 0.0, lambda: EPOCH_NS)
    send(sender)
    sender.refused(Refusal(errno.ECONNREFUSED, ORIGIN_ICMP, 3, 3, offender="10.66.0.9", interface="eth0"), 0.001)
    sender.handle_timer(0.001)
    assert sender.get_timer() is not None
    sender.refused(Refusal(errno.ECONNREFUSED, ORIGIN_ICMP, 3, 3, offender="10.66.0.2"), 0.002)
    sender.handle_timer(0.002)
    assert sender.get_timer() is None
    assert sender.result is not None
    assert sender.result.port_unreachable
    assert sender.result.icmp_errors == {"type 3 code 3 from 10.66.0.9": 1}
    assert sender.result.icmp_from == {"10.66.0.9": "eth0"}


def test_a_session_tells_what_it_sends_and_hears() -> None:
    """From the events alone a reader counts what left, what was answered, and how it ended."""
    events: list[Event] = []
    sender = SessionSender(plan(1), 0.0, lambda: EPOCH_NS, tell=telling(events.append, "stamp.sender"))
    packet = send(sender)
    answer = SessionReflector().handle(packet, SOURCE, received_ns=EPOCH_NS, transmitted_ns=EPOCH_NS, ttl=9)
    hand_in(sender, b"?")
    hand_in(sender, answer)
    sender.handle_timer(0.001)
    assert [event.name for event in events] == ["packet-sent", "rejected", "packet-answered", "concluded"]
