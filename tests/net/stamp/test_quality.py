"""Sessions that are gentle: what they do to a slow line is not a finding, and what a line does by itself is one."""

import asyncio
from dataclasses import dataclass, field
from random import Random
from typing import cast

import pytest
from preflight_checks.udp_quality import judge

from preflight.api import Peer, Status
from preflight.model.path import DirectionStats, StampStats
from preflight.net.stamp.path import PathProbes
from preflight.net.stamp.quality import CONFIRM_COUNT, CONFIRM_MOST, SILENT_COUNT, Quality, packets_each
from preflight.net.turns import Turns
from preflight.proto.stamp.pace import FEWEST, FIRST_PER_S, QUARTER
from preflight.settings.schema import Thresholds
from tests.proto.stamp.lines import Line, Lines

PEER = Peer("10.66.0.2", "b")
LIMITS = Thresholds()


def decided(peer: Peer, stats: StampStats) -> bool:
    """As udp.quality."""
    return any(result.status in (Status.FAIL, Status.WARN) for result in judge(peer, stats, LIMITS))


def quality(path: object, peers: int = 2) -> Quality:
    """A run's sessions on a path, with one of two peers."""
    return Quality(cast("PathProbes", path), Turns(), LIMITS, decided, lambda _: None, peers)


def measured(lines: Lines, peer: Peer = PEER) -> StampStats:
    """What is measured of one peer."""
    return asyncio.run(quality(lines).measure(peer))


def direction(sent: int = 200, lost: int = 0, late: int = 0, reordered: int = 0) -> DirectionStats:
    """One direction; all are equally fast but the late ones."""
    received = sent - lost
    delays = (60.0,) * late + (0.1,) * (received - late)
    return DirectionStats(sent, received, received, reordered, delay_variation_ms=delays)


def session(forward: DirectionStats, reverse: DirectionStats | None = None) -> StampStats:
    """A session that was answered, with these directions."""
    back = reverse or direction(forward.received)
    return StampStats(forward.sent, back.received, forward, back, rtt_ms=(0.5,) * back.received, lasted_s=0.8)


@dataclass
class Path:
    """A path that has these sessions, one after the other."""

    sessions: list[StampStats]
    quiet: bool = False
    before: StampStats | None = None
    asked: list[tuple[int, float]] = field(default_factory=list)

    def first(self, peer: Peer) -> StampStats | None:
        """As PathProbes: what an earlier check of the run measured."""
        return self.before

    def proven_silent(self, peer: Peer) -> StampStats | None:
        """As PathProbes: nobody."""
        return None

    def silent(self, peer: Peer) -> bool:
        """As PathProbes."""
        return self.quiet

    async def stamp(self, peer: Peer, *, count: int, interval_s: float) -> StampStats:
        """The next session."""
        self.asked.append((count, round(1 / interval_s, 1)))
        return self.sessions[min(len(self.asked), len(self.sessions)) - 1]


CLEAN = session(direction())
FILLING = DirectionStats(60, 60, 60, delay_variation_ms=(0.1,) * 50 + (3.0,) * 10)
LATE = session(direction(), direction(late=100))
SLOW = FIRST_PER_S / QUARTER


@pytest.mark.parametrize(
    ("sessions", "asked"),
    [
        ([CLEAN], [(FEWEST, FIRST_PER_S), (180, FIRST_PER_S)]),
        # Trouble that stays at a quarter of the pace is confirmed at the pace at which it was found, until it is clear.
        (
            [session(direction(lost=1))] * 9,
            [(FEWEST, FIRST_PER_S), (50, SLOW), (50, SLOW), (CONFIRM_COUNT, FIRST_PER_S)],
        ),
        # What is certain at a quarter of the pace, but not in all packets together, is asked for again.
        (
            [CLEAN, session(direction(180, lost=1)), *[session(direction(50, lost=3))] * 9],
            [(FEWEST, FIRST_PER_S), (180, FIRST_PER_S), (50, SLOW), (CONFIRM_COUNT, FIRST_PER_S)],
        ),
        # Where it is certain in both, nothing is.
        ([session(direction(20, lost=2)), session(direction(50, lost=8))], [(FEWEST, FIRST_PER_S), (50, SLOW)]),
        # Where packets waited it is measured again alone first; what is certain then needs no more of them.
        ([LATE] * 9, [(FEWEST, FIRST_PER_S), (200, FIRST_PER_S), (50, SLOW)]),
        # Trouble that is gone alone, or at a quarter of the pace, was made by these packets.
        ([LATE, CLEAN], [(FEWEST, FIRST_PER_S), (200, FIRST_PER_S)]),
        ([LATE, LATE, CLEAN], [(FEWEST, FIRST_PER_S), (200, FIRST_PER_S), (50, SLOW), (50, SLOW)]),
        ([StampStats(sent=20, answered=0)], [(FEWEST, FIRST_PER_S)]),
    ],
)
def test_trouble_is_measured_longer_and_slower(sessions: list[StampStats], asked: list[tuple[int, float]]) -> None:
    """A share of few packets is not a finding, and our own load is not one; what is clean costs no more packets."""
    path = Path(sessions)
    asyncio.run(quality(path).measure(PEER))
    assert path.asked[: len(asked)] == asked
    more = path.asked[len(asked) :]
    assert not more or (len(more) <= 4 and asked[-1][0] == CONFIRM_COUNT)


def test_a_slow_session_without_loss_leaves_the_question_open() -> None:
    """It may be chance: more packets follow until the loss is certain in all of them together."""
    found = [session(direction(20)), session(direction(180, lost=5)), *[session(direction(50))] * 2]
    path = Path([*found, session(direction(CONFIRM_COUNT, lost=6)), session(direction(50, lost=1))])
    stats = asyncio.run(quality(path).measure(PEER))
    assert path.asked[4] == (CONFIRM_COUNT, FIRST_PER_S)
    assert decided(PEER, stats)


def test_at_the_slowest_pace_trouble_has_to_last() -> None:
    """There is no slower session to compare it with, and packets of others may have passed for a moment."""
    late, calm = session(direction(50), direction(50, late=40)), session(direction(50))
    for sessions, bad in (([late, calm], False), ([late, late], True)):
        path = Path(sessions)
        measuring = quality(path)
        measuring.pace.slow_to(10.0)
        stats = asyncio.run(measuring._settled(PEER, 10.0, asyncio.run(path.stamp(PEER, count=50, interval_s=0.1))))
        assert decided(PEER, stats) == bad


def test_a_responder_that_has_answered_before_is_asked_again_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """All packets of a session may be in a queue that is longer than all patience, and not lost."""
    monkeypatch.setattr("preflight.net.stamp.quality.LONGEST_QUEUE_S", 0.0)
    nothing = StampStats(sent=20, answered=0)
    for sessions, answered in (([nothing, CLEAN], True), ([nothing, nothing], False)):
        path = Path(sessions, before=CLEAN)
        stats = asyncio.run(quality(path).measure(PEER))
        assert path.asked == [(FEWEST, FIRST_PER_S), (200, FIRST_PER_S)]
        assert bool(stats.answered) == answered
        assert stats.quicker is None


def test_one_lost_session_makes_nobody_silent() -> None:
    """Of who has answered in the run ten packets are not enough, and silence to them does not show that it is gone."""
    path = Path([CLEAN], quiet=True, before=CLEAN)
    asyncio.run(quality(path).measure(PEER))
    assert path.asked == [(FEWEST, FIRST_PER_S), (180, FIRST_PER_S)]


def test_a_silent_responder_gets_few_packets() -> None:
    """In case it has started: then these are enough, for waiting costs more than they show."""
    path = Path([session(direction(SILENT_COUNT))], quiet=True)
    asyncio.run(quality(path).measure(PEER))
    assert path.asked == [(SILENT_COUNT, FIRST_PER_S)]


@pytest.mark.parametrize(
    ("sessions", "paces"),
    [
        ([direction(FEWEST), direction(60), direction(220)], [1, 2.4, 3.2]),
        # A queue begins to fill: the rest leaves more slowly.
        ([direction(FEWEST), FILLING, direction(220)], [1, 2.4, 1.5]),
        # Trouble at once: nothing is quicker.
        ([direction(FEWEST, lost=2)], [1]),
    ],
    ids=["free", "filling", "lossy"],
)
def test_the_pace_to_the_only_peer_grows_while_nothing_waits(
    sessions: list[DirectionStats], paces: list[float]
) -> None:
    """300 packets, so that a loss of 2 % does not take none of them by chance, in less than half a second."""
    path = Path([session(each) for each in sessions])
    asyncio.run(quality(path, peers=1).measure(PEER))
    quickest = [per_s for _, per_s in path.asked[: len(paces)]]
    assert quickest == [pytest.approx(pace * FIRST_PER_S, abs=0.1) for pace in paces]
    assert max(per_s for _, per_s in path.asked) == max(quickest)
    assert len(paces) == 1 or sum(count for count, _ in path.asked) == 300


@pytest.mark.parametrize("room", [10, 40])
@pytest.mark.parametrize("link_per_s", [60, 150, 300, 400, 550, 620, 700, 790, 2000])
@pytest.mark.parametrize("others", [0.0, 1 / 3])
def test_a_link_is_not_lossy_because_one_peer_is_asked_quickly(link_per_s: float, room: int, others: float) -> None:
    """Whatever it carries, and however short its queue is: what our own pace makes is gone at a slower one."""
    line = Line(link_per_s=link_per_s, room=room, others_per_s=link_per_s * others)
    stats = asyncio.run(quality(Lines(forward=line), peers=1).measure(PEER))
    assert not decided(PEER, stats)


@pytest.mark.parametrize(
    ("peers", "each"), [(0, 200), (1, 300), (2, 200), (50, 200), (51, 196), (100, 100), (5000, 20)]
)
def test_a_large_mesh_is_not_loaded(peers: int, each: int) -> None:
    """The packets of all peers together have a bound, and each peer gets enough to distinguish trouble from none."""
    assert packets_each(peers) == each


@pytest.mark.parametrize(
    ("before", "peers", "asked"),
    [
        (session(direction(10)), 501, [(10, FIRST_PER_S)]),
        (session(direction(10)), 100, [(90, FIRST_PER_S)]),
        (session(direction(10)), 9, [(FEWEST, FIRST_PER_S), (180, FIRST_PER_S)]),
        (session(direction(10, lost=1)), 501, [(FEWEST, FIRST_PER_S), (180, FIRST_PER_S)]),
    ],
)
def test_in_a_large_mesh_earlier_packets_count(before: StampStats, peers: int, asked: list[tuple[int, float]]) -> None:
    """Each peer gets few packets there, so none of them is wasted; who has lost one gets as many as in a small mesh."""
    path = Path([CLEAN], before=before)
    asyncio.run(quality(path, peers).measure(PEER))
    assert path.asked == asked


SLOW_LINES = [
    (per_s, room) for per_s in (12, 25, 49, 98, 150, 240, 490) for room in (3, 10, 30, 100, 400) if room < 2 * per_s
]


@pytest.mark.parametrize(("per_s", "room"), SLOW_LINES)
def test_own_load_is_no_finding(per_s: float, room: int) -> None:
    """From 25 kbit/s to a megabit, deep queues and shallow ones, either direction: all is well."""
    for lines in (Lines(Line(link_per_s=per_s, room=room)), Lines(reverse=Line(link_per_s=per_s, room=room))):
        results = judge(PEER, measured(lines), LIMITS)
        assert {result.status for result in results} == {Status.PASS}, results


@pytest.mark.parametrize(("per_s", "room"), [(52, 3), (52, 9), (52, 52), (104, 4), (104, 104)])
def test_own_load_next_to_others_is_no_finding(per_s: float, room: int) -> None:
    """100 and 200 kbit/s of which a third is taken: what is left carries no pace of which a quarter would be of use."""
    line = Line(link_per_s=per_s, room=room, others_per_s=per_s / 3)
    results = judge(PEER, measured(Lines(line)), LIMITS)
    assert {result.status for result in results} == {Status.PASS}, results


def test_a_real_loss_is_found_and_what_it_takes_is_bounded() -> None:
    """Two percent are found in nearly every run, on a line that is quick enough and on one that just is."""
    for per_s in (0.0, 490.0):
        found = 0
        for seed in range(20):
            lines = Lines(Line(loss=0.02, chance=Random(seed), link_per_s=per_s, room=100))
            found += decided(PEER, measured(lines))
            assert lines.sent <= CONFIRM_MOST + 2 * CONFIRM_COUNT
        assert found >= 18


def test_half_the_limit_is_no_finding() -> None:
    """A test that looks again and again must not find chance at last."""
    found = sum(decided(PEER, measured(Lines(Line(loss=0.004, chance=Random(seed))))) for seed in range(40))
    assert found <= 1
