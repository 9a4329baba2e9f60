"""Whole STAMP sessions over networks made of function calls: every loss, copy and overtaking gets its direction."""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflight.model.path import DirectionStats, Drops, StampStats
from preflight.proto.stamp import wire as stamp
from preflight.proto.stamp.reflector import SessionReflector
from preflight.proto.stamp.sender import COPIES, MAX_TAIL, Plan, SessionSender
from preflight.proto.stamp.wire import ErrorEstimate

KEY = b"0123456789abcdef"
EPOCH_NS = 1_795_479_667_000_000_000
SOURCE = ("10.66.0.1", 40000)

Delays = Callable[[int], Iterable[float]]
"""When copies of the n-th packet of a direction arrive, seconds after it was sent: none is a loss, two are a copy."""


def steady(delay_s: float) -> Delays:
    """A direction without faults."""
    return lambda number: (delay_s,)


def losing(*numbers: int, delay_s: float = 0.001) -> Delays:
    """A direction that loses these packets."""
    return lambda number: () if number in numbers else (delay_s,)


@dataclass(order=True)
class Event:
    """A datagram that arrives: at the reflector if `there`, else at the sender."""

    at: float
    order: int
    there: bool = field(compare=False)
    data: bytes = field(compare=False)


@dataclass
class Network:
    """Two directions, a reflector whose clock is ahead, and time that passes only here.

    there: sequence numbers as they reached the reflector; back: of answers and their questions, as they came back.
    """

    forward: Delays = field(default_factory=lambda: steady(0.001))
    reverse: Delays = field(default_factory=lambda: steady(0.001))
    reflector: SessionReflector = field(default_factory=SessionReflector)
    clock_ahead_s: float = 3600.0
    refused: Callable[[int], str] = lambda number: ""
    now: float = 100.0
    sent: int = 0
    answered: int = 0
    queue: list[Event] = field(default_factory=list)
    sent_at: list[float] = field(default_factory=list)
    there: list[int] = field(default_factory=list)
    back: list[tuple[int, int]] = field(default_factory=list)

    def ns(self, at: float, ahead_s: float = 0.0) -> int:
        """UNIX time of a clock at a moment of the simulation."""
        return EPOCH_NS + round((at + ahead_s) * 1e9)

    def run(self, plan: Plan) -> StampStats:
        """The session from its first packet to its end."""
        sender = SessionSender(plan, self.now)
        attempts = 0
        while (wake := sender.wake_at(self.now)) is not None:
            if self.queue and self.queue[0].at <= wake:
                self._arrive(heappop(self.queue), sender)
                continue
            self.now = max(self.now, wake)
            if sender.due(self.now):
                packet = sender.packet(self.ns(self.now))
                error = self.refused(attempts)
                attempts += 1
                sender.sent(self.now, error)
                if not error:
                    self.sent_at.append(self.now)
                    self._launch(self.forward(self.sent), True, packet)
                    self.sent += 1
        for event in sorted(self.queue):
            if event.at <= self.now and not event.there:
                self._return(event, sender)
        return sender.stats()

    def _return(self, event: Event, sender: SessionSender) -> None:
        sender.receive(event.data, self.ns(event.at))
        key = KEY if len(event.data) >= stamp.AUTHENTICATED_BYTES else None
        answer = stamp.parse_answer(event.data, key)
        self.back.append((answer.sequence, answer.sender_sequence))

    def _launch(self, delays: Iterable[float], there: bool, data: bytes) -> None:
        for delay in delays:
            heappush(self.queue, Event(self.now + delay, len(self.queue) + self.sent, there, data))

    def _arrive(self, event: Event, sender: SessionSender) -> None:
        self.now = max(self.now, event.at)
        if not event.there:
            self._return(event, sender)
            return
        self.there.append(int.from_bytes(event.data[:4]))
        there_ns = self.ns(event.at, self.clock_ahead_s)
        answer = self.reflector.handle(event.data, SOURCE, received_ns=there_ns, transmitted_ns=there_ns, ttl=250)
        self._launch(self.reverse(self.answered), False, answer)
        self.answered += 1


def plan(count: int = 50, **more: object) -> Plan:
    """A session of packets 4 ms apart."""
    return Plan(ssid=77, count=count, interval_s=0.004, **more)  # type: ignore[arg-type]


def directions(stats: StampStats) -> tuple[DirectionStats, DirectionStats]:
    """Both directions, known."""
    assert stats.forward is not None
    assert stats.reverse is not None
    return stats.forward, stats.reverse


@pytest.mark.parametrize("key", [None, KEY])
def test_a_healthy_session(key: bytes | None) -> None:
    """Nothing lost, no tail sent, the session over with its last answer, in both modes."""
    network = Network(reflector=SessionReflector(key=key))
    stats = network.run(plan(key=key))
    forward, reverse = directions(stats)
    assert (stats.sent, stats.answered, stats.undirected, stats.lost) == (50, 50, 0, 0)
    assert (forward.sent, forward.received, reverse.sent, reverse.received) == (50, 50, 50, 50)
    assert forward.reordered == forward.duplicated == reverse.reordered == reverse.duplicated == 0
    assert stats.rtt_ms == pytest.approx([2.0] * 50)
    assert stats.ttl_at_peer == 250
    assert stats.authenticated == (key is not None)
    assert network.now == pytest.approx(100 + 49 * 0.004 + 0.002)


@pytest.mark.parametrize("key", [None, KEY])
def test_a_session_with_ptp_timestamps(key: bytes | None) -> None:
    """The other format of RFC 8186 gives the same numbers, by its nanoseconds exactly."""
    network = Network(losing(3), losing(7), reflector=SessionReflector(key=key))
    stats = network.run(plan(key=key, error=ErrorEstimate(ptp=True)))
    forward, reverse = directions(stats)
    assert (forward.lost, reverse.lost) == (1, 1)
    assert set(stats.rtt_ms) == {2.0}
    assert stats.clock_offset_ms == 3_600_000


def test_pacing() -> None:
    """Packets leave in their rhythm."""
    network = Network()
    network.run(plan())
    assert [b - a for a, b in zip(network.sent_at, network.sent_at[1:], strict=False)] == pytest.approx([0.004] * 49)


def test_a_late_shell_does_not_catch_up_in_a_burst() -> None:
    """After a stall the session goes on at its pace (RFC 8085 section 3.1)."""
    sender = SessionSender(plan(), 100.0)
    sender.sent(100.0)
    sender.sent(100.5)
    assert sender.wake_at(100.5) == pytest.approx(100.504)


@pytest.mark.parametrize(
    ("forward_lost", "reverse_lost"),
    [
        ((), ()),
        ((3,), ()),
        ((), (3,)),
        ((0, 1, 2), (10, 11)),
        ((5, 20, 49), (0, 30)),
        ((), (47,)),
        (tuple(range(49)), ()),
    ],
)
def test_losses_have_the_right_direction(forward_lost: tuple[int, ...], reverse_lost: tuple[int, ...]) -> None:
    """With N sent and R reflected: N - R were lost forward, R - received reverse; the last packets too."""
    stats = Network(losing(*forward_lost), losing(*reverse_lost)).run(plan())
    forward, reverse = directions(stats)
    assert (forward.lost, reverse.lost) == (len(forward_lost), len(reverse_lost))
    assert stats.undirected == 0
    assert stats.lost == len(forward_lost) + len(reverse_lost)


@settings(deadline=None, max_examples=60)
@given(st.sets(st.integers(0, 59)), st.sets(st.integers(0, 59)))
def test_any_pattern_of_loss(forward_lost: set[int], reverse_lost: set[int]) -> None:
    """Whatever is lost: every packet up to the last answered one is accounted for, in the direction it was lost in."""
    network = Network(losing(*forward_lost), losing(*reverse_lost))
    stats = network.run(plan(40))
    if not stats.answered:
        assert stats.forward is None
        return
    forward, reverse = directions(stats)
    known = stats.sent - stats.undirected
    arrived = [number for number in range(known) if number not in forward_lost]
    assert forward.sent == known
    assert forward.received == len(arrived)
    assert reverse.sent == len(arrived)
    assert reverse.lost == len([n for n in range(len(arrived)) if n in reverse_lost])
    assert stats.undirected <= stats.sent - 1


def late(numbers: list[int]) -> int:
    """How many come after a greater one, counted the slow way."""
    return sum(any(before > number for before in numbers[:place]) for place, number in enumerate(numbers))


fates = st.lists(st.sampled_from([(0.001,), (0.001,), (), (0.001, 0.0012), (0.006,), (0.0132,)]), max_size=40)


@settings(deadline=None, max_examples=200)
@given(fates, fates, st.sampled_from([None, KEY]))
def test_any_network_is_counted_exactly(
    forward_fates: list[tuple[float, ...]], reverse_fates: list[tuple[float, ...]], key: bytes | None
) -> None:
    """Loss, copies and overtaking in both directions at once: each count is what the simulated network did."""
    network = Network(
        forward=lambda number: forward_fates[number] if number < len(forward_fates) else (0.001,),
        reverse=lambda number: reverse_fates[number] if number < len(reverse_fates) else (0.001,),
        reflector=SessionReflector(key=key),
    )
    forward, reverse = directions(network.run(plan(45, key=key)))
    answers = list(dict.fromkeys(network.back))
    asked = {number for _, number in answers}
    # As the reflector saw them: the first arrival of each packet of which some answer came back.
    first_answers = dict(reversed([(number, own) for own, number in sorted(answers)]))
    assert forward.reordered == late(sorted(asked, key=first_answers.__getitem__))
    assert reverse.reordered == late([own for own, _ in answers])
    assert (forward.duplicated, reverse.duplicated) == (len(answers) - len(asked), len(network.back) - len(answers))
    assert (forward.observed, reverse.observed) == (len(asked), len(answers))
    assert [len(each.delay_variation_ms) for each in (forward, reverse)] == [forward.observed, reverse.observed]
    reflected = max(own for own, _ in answers) + 1
    assert (reverse.sent, reverse.received) == (reflected, len(answers))
    copies = reflected - len(set(network.there[:reflected]))
    if copies == forward.duplicated:  # no copy's answer was lost: then the forward losses are exact too
        assert forward.lost == len(set(range(forward.sent)) - set(network.there[:reflected]))


def test_extent_of_reordering() -> None:
    """RFC 4737 section 4.2: how many arrivals too late the worst packet came."""
    forward, _ = directions(Network(forward=lambda number: (0.0135 if number == 10 else 0.001,)).run(plan(20)))
    assert (forward.reordered, forward.extent) == (1, 3)


def test_delay_steps_need_both_packets() -> None:
    """RFC 3393: a difference is between two packets sent one after the other; across a loss there is none."""
    delays = {4: (0.002,), 5: (), 6: (0.004,)}
    forward, reverse = directions(Network(forward=lambda number: delays.get(number, (0.001,))).run(plan(10)))
    assert forward.breaks == {5}
    assert [round(step, 3) for step in forward.steps_ms] == [0, 0, 0, 1, -3, 0, 0, *[0] * (len(forward.steps_ms) - 7)]
    assert (reverse.breaks, len(reverse.steps_ms)) == (frozenset(), reverse.observed - 1)


@pytest.mark.parametrize(
    ("forward", "reverse"),
    [
        (lambda number: (0.006 if number == 5 else 0.001,), steady(0.001)),
        (lambda number: (0.001, 0.0012) if number == 5 else (0.001,), steady(0.001)),
        (steady(0.001), lambda number: (0.001, 0.0012) if number == 5 else (0.001,)),
    ],
)
def test_a_stateless_reflector_gives_no_direction_to_overtaking_and_copies(forward: Delays, reverse: Delays) -> None:
    """Where an answer's number is only the packet's own, what happened there looks as if it were on the way back."""
    stats = Network(forward, reverse, reflector=SessionReflector(stateful=False)).run(plan(20))
    assert (stats.answered, stats.forward, stats.reverse) == (20, None, None)


def test_a_dead_path_gives_no_direction() -> None:
    """Nothing answered: no direction is claimed, no tail is sent, and silence is waited for as long as asked."""
    network = Network(losing(*range(100)))
    stats = network.run(plan(10, timeout_s=1.0))
    assert (stats.sent, stats.answered, stats.forward, stats.reverse) == (10, 0, None, None)
    assert network.now == pytest.approx(100 + 9 * 0.004 + 1.0)


def test_the_tail_is_bounded() -> None:
    """A path that dies in the middle gets a bounded number of tail packets; what they cannot tell stays undirected."""
    network = Network(losing(*range(20, 1000)))
    stats = network.run(plan(50))
    forward, reverse = directions(stats)
    assert stats.sent == 50 + MAX_TAIL
    assert stats.undirected == 40
    assert (forward.lost, reverse.lost) == (0, 0)


@pytest.mark.parametrize("rtt_s", [0.0005, 0.08, 0.6])
def test_no_tail_on_a_long_healthy_path(rtt_s: float) -> None:
    """Answers that are merely under way are waited for."""
    stats = Network(steady(rtt_s / 2), steady(rtt_s / 2)).run(plan(50))
    assert (stats.sent, stats.answered) == (50, 50)


def test_copies_have_the_right_direction() -> None:
    """A packet copied on its way there gives two answers of different number; one copied on its way back, the same."""
    twice_there = Network(forward=lambda number: (0.001, 0.0012) if number % 5 == 0 else (0.001,))
    forward, reverse = directions(twice_there.run(plan()))
    assert (forward.duplicated, reverse.duplicated) == (10, 0)
    assert (forward.lost, reverse.lost) == (0, 0)
    twice_back = Network(reverse=lambda number: (0.001, 0.0012) if number % 5 == 0 else (0.001,))
    forward, reverse = directions(twice_back.run(plan()))
    assert (forward.duplicated, reverse.duplicated) == (0, 10)
    assert (forward.lost, reverse.lost) == (0, 0)


def test_copies_and_losses_together() -> None:
    """A copy that arrives there does not make up for a packet that was lost there."""
    network = Network(
        forward=lambda number: () if number % 10 == 3 else (0.001, 0.0011) if number % 10 == 7 else (0.001,)
    )
    forward, reverse = directions(network.run(plan()))
    assert (forward.lost, forward.duplicated, reverse.lost) == (5, 5, 0)


def test_overtaking_has_the_right_direction() -> None:
    """RFC 4737: a packet is reordered when one sent later came first, counted where it happened."""
    late = lambda number: (0.0055 if number % 10 == 4 else 0.001,)  # noqa: E731 - a table, not a function
    forward, reverse = directions(Network(forward=late).run(plan()))
    assert (forward.reordered, reverse.reordered) == (5, 0)
    forward, reverse = directions(Network(reverse=late).run(plan()))
    assert (forward.reordered, reverse.reordered) == (0, 5)
    assert (forward.lost, reverse.lost) == (0, 0)


def test_delay_variation_has_the_right_direction() -> None:
    """The variation of each direction is seen through two clocks an hour apart; delay itself is not claimed."""
    dice = random.Random(5)
    jitter = [dice.uniform(0, 0.003) for _ in range(60)]
    stats = Network(forward=lambda number: (0.002 + jitter[number],)).run(plan())
    forward, reverse = directions(stats)
    smallest = min(jitter[:50])
    assert forward.delay_variation_ms == pytest.approx([(value - smallest) * 1000 for value in jitter[:50]], abs=1e-3)
    assert max(reverse.delay_variation_ms) < 0.001
    assert stats.clock_error_ms is None
    assert stats.clock_offset_ms == pytest.approx(3_600_000, abs=2)


def test_clock_error_needs_both_clocks() -> None:
    """Only two synchronised clocks have an error to add up."""
    good = ErrorEstimate(synchronised=True, seconds=0.001)
    assert Network(reflector=SessionReflector(error=good)).run(plan()).clock_error_ms is None
    both = Network(reflector=SessionReflector(error=good)).run(plan(error=good))
    assert both.clock_error_ms == pytest.approx(2.0, rel=0.01)


def test_a_stateless_reflector_gives_no_direction_to_losses() -> None:
    """A reflector that copies the sender's number cannot tell directions; without losses there is nothing to tell."""
    stateless = Network(losing(3), reflector=SessionReflector(stateful=False), clock_ahead_s=0)
    # Its Direct Measurement TLV would give it away as one that counts; a TWAMP Light reflector returns no TLVs.
    stateless.reflector.handle = cut(stateless.reflector)  # type: ignore[method-assign]
    stats = stateless.run(plan(20))
    assert (stats.lost, stats.forward, stats.reverse) == (1, None, None)
    healthy = Network(reflector=SessionReflector(stateful=False))
    healthy.reflector.handle = cut(healthy.reflector)  # type: ignore[method-assign]
    forward, reverse = directions(healthy.run(plan(20)))
    assert (forward.lost, reverse.lost) == (0, 0)


def cut(reflector: SessionReflector) -> Callable[..., bytes]:
    """A reflector that answers the base packet only, in TWAMP Light's 41 bytes."""
    whole = reflector.handle
    return lambda data, source, **more: whole(data[:41], source, **more)


def test_enough_answers_end_a_session() -> None:
    """Who only wants to know whether the path lives stops at the first answer."""
    network = Network(losing(*range(5)))
    stats = network.run(plan(100, enough=1))
    assert stats.answered == 1
    assert stats.sent < 10


def test_packets_that_did_not_leave_are_not_lost_on_the_way() -> None:
    """A refusal of this node's own kernel is told by name and spends no sequence number."""
    network = Network(refused=lambda number: "EPERM" if number % 2 else "")
    stats = network.run(plan(20))
    assert (stats.sent, stats.answered, stats.send_errors) == (10, 10, {"EPERM": 10})
    blocked = Network(refused=lambda number: "EPERM").run(plan(20))
    assert (blocked.sent, blocked.send_errors) == (0, {"EPERM": 20})


def test_foreign_and_forged_answers_are_dropped() -> None:
    """Answers of another session, to packets never sent, or without the right key count as nothing but rejected."""
    sender = SessionSender(plan(5, key=KEY), 0.0)
    packet = sender.packet(EPOCH_NS)
    sender.sent(0.0)
    strangers = SessionReflector(key=b"another key of 16")
    with pytest.raises(stamp.StampError):
        strangers.handle(packet, SOURCE, received_ns=EPOCH_NS, transmitted_ns=EPOCH_NS, ttl=1)
    good = SessionReflector(key=KEY).handle(packet, SOURCE, received_ns=EPOCH_NS, transmitted_ns=EPOCH_NS, ttl=1)
    sender.receive(good[:-1] if len(good) == 112 else good[:90], EPOCH_NS)
    sender.receive(bytes(112), EPOCH_NS)
    other = stamp.build_request(0, EPOCH_NS, 1, 78, key=KEY)
    sender.receive(
        SessionReflector(key=KEY).handle(other, SOURCE, received_ns=EPOCH_NS, transmitted_ns=EPOCH_NS, ttl=1), EPOCH_NS
    )
    never = stamp.build_request(4, EPOCH_NS, 1, 77, key=KEY)
    sender.receive(
        SessionReflector(key=KEY).handle(never, SOURCE, received_ns=EPOCH_NS, transmitted_ns=EPOCH_NS, ttl=1), EPOCH_NS
    )
    assert sender.stats().rejected == {"short": 1, "bad-hmac": 1, "foreign": 2}
    assert sender.stats().answered == 0


@settings(deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=20))
def test_random_answers(datagrams: list[bytes]) -> None:
    """A hostile reflector cannot break the sender, nor make it claim what cannot be."""
    sender = SessionSender(plan(5), 0.0)
    for _ in range(5):
        sender.packet(EPOCH_NS)
        sender.sent(0.0)
    for data in datagrams:
        sender.receive((0).to_bytes(12) + (1).to_bytes(2) + (77).to_bytes(2) + data, EPOCH_NS)
    stats = sender.stats()
    assert stats.answered <= 5
    for direction in (stats.forward, stats.reverse):
        assert direction is None or 0 <= direction.received <= direction.sent


def test_an_older_session_of_the_reflector_gives_no_direction() -> None:
    """A count that cannot belong to this session is not used."""
    reflector = SessionReflector()
    for _ in range(500):
        reflector.handle(
            stamp.build_request(0, EPOCH_NS, 1, 77),
            SOURCE,
            received_ns=EPOCH_NS + int(4e12),
            transmitted_ns=EPOCH_NS,
            ttl=1,
        )
    stats = Network(losing(3), reflector=reflector).run(plan(20))
    assert stats.lost == 1
    assert stats.forward is None


def test_a_reflector_that_forgot_the_session_gives_no_direction() -> None:
    """Numbers that begin anew are neither overtaking nor loss, and no count of anything."""
    network = Network()
    forgetful = network.reflector.handle

    def handle(data: bytes, source: tuple[str, int], **more: object) -> bytes:
        nonlocal forgetful
        if network.answered == 12:
            forgetful = SessionReflector().handle
        return forgetful(data, source, **more)  # type: ignore[arg-type]

    network.reflector.handle = handle  # type: ignore[method-assign]
    stats = network.run(plan(20))
    assert (stats.lost, stats.forward, stats.reverse) == (0, None, None)


@pytest.mark.parametrize("size", [0, 76, 77, 80, 500, 1300])
@pytest.mark.parametrize("key", [None, KEY])
def test_packets_have_the_size_asked_for(size: int, key: bytes | None) -> None:
    """Padding brings a packet to its size, up to the header of a TLV; the reflector answers as long and in order."""
    sender = SessionSender(plan(5, size=size, key=key), 0.0)
    packet = sender.packet(EPOCH_NS)
    least = 76 if key is None else 164
    assert len(packet) == (size if size >= least + 4 else least)
    sender.sent(0.0)
    answer = SessionReflector(key=key).handle(packet, SOURCE, received_ns=1, transmitted_ns=1, ttl=1)
    assert len(answer) == len(packet)


def test_a_slow_path_is_no_lossy_one() -> None:
    """Answers that take longer than silence is waited for are waited for, once the first is here."""
    stats = Network(steady(0.75), steady(0.75)).run(plan(400, timeout_s=1.0))
    assert (stats.answered, stats.undirected) == (stats.sent, 0)


def test_a_clock_that_is_set_meanwhile_is_no_jitter() -> None:
    """A jump of the reflector's clock shows as times that cannot be true: losses stand, delays are not told."""
    network = Network(losing(3))
    honest = network.ns

    def ns(at: float, ahead_s: float = 0.0) -> int:
        return honest(at, ahead_s + (5.0 if ahead_s and at > 100.1 else 0.0))

    network.ns = ns  # type: ignore[method-assign]
    stats = network.run(plan())
    forward, reverse = directions(stats)
    assert stats.implausible > 0
    assert (forward.lost, reverse.lost) == (1, 0)
    assert forward.delay_variation_ms == reverse.delay_variation_ms == ()
    assert stats.clock_offset_ms is None
    assert stats.rtt_ms == pytest.approx([2.0] * stats.answered)


def test_drops_are_those_of_the_session() -> None:
    """What the reflector had dropped before is none of it."""
    sender, reflector = SessionSender(plan(3), 0.0), SessionReflector()
    for number, drops in enumerate([(100, 5, 0), (140, 5, 0), (170, 6, 2)]):
        packet = sender.packet(EPOCH_NS + number)
        sender.sent(0.0)
        at = EPOCH_NS + number + 1000
        sender.receive(reflector.handle(packet, SOURCE, received_ns=at, transmitted_ns=at, ttl=9, drops=drops), at)
    assert sender.stats().drops == Drops(overflowed=70, limited=1, unsent=2)


def test_copies_without_end_are_not_kept() -> None:
    """A peer that sends an answer again and again fills no memory, and pushes no other answer out."""
    sender, reflector = SessionSender(plan(2), 0.0), SessionReflector()
    answers = []
    for number in range(2):
        packet = sender.packet(EPOCH_NS + number)
        sender.sent(0.0)
        answers.append(reflector.handle(packet, SOURCE, received_ns=EPOCH_NS, transmitted_ns=EPOCH_NS, ttl=9))
    for answer in [answers[0]] * 1000 + [answers[1]]:
        sender.receive(answer, EPOCH_NS + 1000)
    stats = sender.stats()
    assert stats.answered == 2
    assert len(sender._arrivals) <= COPIES * (2 + MAX_TAIL) + 1
