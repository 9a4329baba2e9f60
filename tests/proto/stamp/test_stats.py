"""What a session's answers prove: every loss, copy and overtaking gets its direction."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflight.model.path import StampStats
from preflight.proto.stamp import wire as stamp
from preflight.proto.stamp.reflector import SessionReflector
from preflight.proto.stamp.stats import STRAY_COPIES, Arrival, judged
from preflight.proto.stamp.wire import ErrorEstimate
from tests.proto.stamp.conftest import EPOCH_NS, KEY, SOURCE, Delays, Network, directions, losing, plan, steady


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


def test_what_the_programs_at_the_ends_let_lie() -> None:
    """Protects the path: what came late did not wait at the ends, and what they took late did."""
    network = Network(steady(0.001), steady(0.040))
    assert set(network.run(plan()).waited_ms) == {0.0}
    answer = stamp.Answer(0, 6_000_000, ErrorEstimate(), 0, 2_000_000, 0, 1_000_000, 255)
    busy = judged(StampStats(1, 1), [Arrival(answer, 10_000_000, 30_000_000)], True, ErrorEstimate())
    assert busy.waited_ms == (24.0,)


@pytest.mark.parametrize("key", [None, KEY])
def test_a_session_with_ptp_timestamps(key: bytes | None) -> None:
    """The other format of RFC 8186 gives the same numbers, by its nanoseconds exactly."""
    network = Network(losing(3), losing(7), reflector=SessionReflector(key=key))
    stats = network.run(plan(key=key, error=ErrorEstimate(ptp=True)))
    forward, reverse = directions(stats)
    assert (forward.lost, reverse.lost) == (1, 1)
    assert set(stats.rtt_ms) == {2.0}
    assert stats.clock_offset_ms == 3_600_000


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
    """Loss, copies and overtaking in both directions at once: each count is what the simulated network did.

    Nothing is counted where more answers to copies were lost than a session allows for: its numbers may be another's.
    """
    network = Network(
        forward=lambda number: forward_fates[number] if number < len(forward_fates) else (0.001,),
        reverse=lambda number: reverse_fates[number] if number < len(reverse_fates) else (0.001,),
        reflector=SessionReflector(key=key),
    )
    stats = network.run(plan(45, key=key))
    answers = list(dict.fromkeys(network.back))
    asked = {number for _, number in answers}
    reflected = max(own for own, _ in answers) + 1
    copies, seen = reflected - len(set(network.there[:reflected])), len(answers) - len(asked)
    if stats.forward is None:
        assert copies - seen > STRAY_COPIES
        return
    forward, reverse = directions(stats)
    # As the reflector saw them: the first arrival of each packet of which some answer came back.
    first_answers = dict(reversed([(number, own) for own, number in sorted(answers)]))
    assert forward.reordered == late(sorted(asked, key=first_answers.__getitem__))
    assert reverse.reordered == late([own for own, _ in answers])
    assert (forward.duplicated, reverse.duplicated) == (seen, len(network.back) - len(answers))
    assert (forward.observed, reverse.observed) == (len(asked), len(answers))
    assert [len(each.delay_variation_ms) for each in (forward, reverse)] == [forward.observed, reverse.observed]
    assert (reverse.sent, reverse.received) == (reflected, len(answers))
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
    """A reflector that copies the sender's number cannot show directions; without losses there is nothing to show."""
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
    """Numbers that begin again are neither overtaking nor loss, and count for nothing."""
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


def test_a_clock_that_is_set_meanwhile_is_no_jitter() -> None:
    """A jump of the reflector's clock shows as times that cannot be true: losses stay, delays are not reported."""
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
