"""Requests to one control plane: no faster than anyone on the way lets through."""

import asyncio
import time

import pytest

from preflight.model.control import HttpAnswer
from preflight.net.control.pace import FIRST_GAP_S, MOST_WAITED_S, REFUSED_IN_ROW, WIDEST_GAP_S, Pace
from preflight.proto.control.populi import FEATURE_HEADER


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Now."""
        return self.now


def answer(status: int, **headers: str) -> HttpAnswer:
    return HttpAnswer(status, headers, b"", 1.0, 0.0, 0.0, connected=False)


@pytest.mark.parametrize(
    ("said", "limited"),
    [
        (answer(200), False),
        (answer(401), False),
        (answer(502), False),
        (answer(429), True),
        (answer(503, server="nginx"), True),
        (answer(503, server="Caddy"), False),
        (HttpAnswer(503, {FEATURE_HEADER: "exec-lease-v1"}, b"", 1.0, 0.0, 0.0, connected=False), False),
    ],
)
def test_only_a_refusal_for_their_number_slows_down(said: HttpAnswer, limited: bool) -> None:
    """Protects quick runs: a control plane that is not well is asked as before, and a limit is not pressed."""
    clock = Clock()
    pace = Pace(clock)
    assert [pace.turn_s() for _ in range(5)] == [0.0] * 5
    if said.status == 503:
        pace.hear(said, clock.now)
        assert not pace.limited
    pace.hear(HttpAnswer(200, {FEATURE_HEADER: "exec-lease-v1"}, b"", 1.0, 0.0, 0.0, connected=False), clock.now)
    pace.hear(said, clock.now)
    assert pace.limited is limited
    assert (pace.turn_s() > 0) is limited


def test_it_widens_once_for_what_was_sent_together() -> None:
    """Twenty refusals of one moment are one piece of news; those of what was sent later are another."""
    clock = Clock()
    pace = Pace(clock)
    for _ in range(20):
        pace.hear(answer(429), 99.0)
    first, second = pace.turn_s(), pace.turn_s()
    assert second - first == pytest.approx(FIRST_GAP_S)
    for _ in range(20):
        clock.now += 10
        pace.hear(answer(429), clock.now)
        pace.hear(answer(200), clock.now)
    first, second = pace.turn_s(), pace.turn_s()
    assert second - first == pytest.approx(WIDEST_GAP_S)


@pytest.mark.parametrize(("asked", "waits"), [("3", 3.0), ("86400", MOST_WAITED_S)])
def test_it_waits_as_long_as_it_is_asked_to(asked: str, waits: float) -> None:
    """Up to a limit: a run must end."""
    clock = Clock()
    pace = Pace(clock)
    pace.hear(answer(429, **{"retry-after": asked}), clock.now)
    assert pace.turn_s() == pytest.approx(waits)


def test_a_known_limit_is_kept_from_the_start() -> None:
    """Who holds requests back says nothing, so it is measured."""
    clock = Clock()
    pace = Pace(clock)
    pace.limit(0.5)
    assert [pace.turn_s() for _ in range(3)] == pytest.approx([0.0, 0.5, 1.0])


def test_how_much_a_limit_lets_through() -> None:
    """What passed since the first refusal, by any check; before it, nothing is known of a limit."""
    clock = Clock()
    pace = Pace(clock)
    for _ in range(30):
        pace.hear(answer(401), clock.now)
    pace.hear(answer(429), clock.now)
    for _ in range(8):
        clock.now += 0.5
        pace.hear(answer(401), clock.now)
    assert pace.rate == pytest.approx(2.0)


def test_who_refuses_however_slowly_it_is_asked_is_asked_as_its_answers_say() -> None:
    """Protects from a pace for all, where the limit counts each route: it would let no check end."""
    clock = Clock()
    pace = Pace(clock)
    pace.hear(answer(429), clock.now)
    for _ in range(REFUSED_IN_ROW):
        assert pace.limited
        clock.now += 1
        pace.hear(answer(429), clock.now)
    clock.now += MOST_WAITED_S
    assert not pace.limited
    assert [pace.turn_s() for _ in range(3)] == [0.0] * 3


def test_a_refusal_long_after_the_last_that_passed_is_a_narrow_limit() -> None:
    """Protects the cause: only that shows that hardly one request a second passes; and then it counts as a limit."""
    clock = Clock()
    pace = Pace(clock)
    pace.hear(answer(429), clock.now)
    pace.hear(answer(200), clock.now)
    clock.now += 0.5
    pace.hear(answer(429), clock.now)
    assert (pace.narrow, pace.finding()) == (False, None)
    clock.now += 0.5
    pace.hear(answer(429), clock.now)
    found = pace.finding()
    assert pace.narrow
    assert found is not None
    assert "1.0 s after the last that passed was answered 429" in found.message
    for _ in range(REFUSED_IN_ROW + 1):
        clock.now += 2
        pace.hear(answer(429), clock.now)
    assert pace.limited


@pytest.mark.parametrize("passes", [True, False])
def test_it_settles_whether_a_limit_is_narrow(passes: bool) -> None:
    """One request late enough decides; without a limit none is asked."""
    pace, asked = Pace(), []

    async def ask() -> None:
        asked.append(1)
        pace.hear(answer(200 if passes else 429), time.monotonic())

    asyncio.run(pace.settle(ask))
    assert not asked
    pace.hear(answer(200), time.monotonic())
    pace.hear(answer(429), time.monotonic())
    asyncio.run(pace.settle(ask))
    assert (len(asked), pace.narrow) == (1, not passes)


def test_one_route_that_never_passed_is_no_limit() -> None:
    """Protects the cause where a gateway answers 503 for one route alone; for several routes it is a limit."""
    clock = Clock()
    pace = Pace(clock)
    pace.hear(HttpAnswer(200, {FEATURE_HEADER: "x"}, b"", 1.0, 0.0, 0.0, connected=False), clock.now, "GET /health")
    busy = answer(503, server="nginx")
    for _ in range(3):
        clock.now += 2
        pace.hear(busy, clock.now, "POST /join")
    assert not any((pace.refused, pace.narrow, pace.refuses(busy, "POST /join")))
    assert pace.refuses(busy, "GET /health")
    for route in ("POST /leave", "POST /heartbeat", "GET /nodes"):
        pace.hear(busy, clock.now, route)
    assert pace.limited
