"""Measuring in the background: whose turn it is, and what a slow target does to the others."""

import asyncio

from preflight.cli.rounds import Rounds


class _Clock:
    """Seconds that only measuring and waiting spend."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def measured(took_s: dict[str, float], interval_s: float, runs: int) -> list[tuple[float, str]]:
    """When each target was measured, seconds; took_s: how long each takes."""
    clock = _Clock()
    said: list[tuple[float, str]] = []

    async def measure(target: str) -> tuple[str, bool]:
        said.append((clock.now_s, target))
        if len(said) == runs:
            raise asyncio.CancelledError
        clock.now_s += took_s[target]
        return target, target != "dead"

    async def wait(seconds: float) -> None:
        clock.now_s += seconds

    async def run() -> None:
        rounds = Rounds(tuple(took_s), measure, interval_s, clock, wait)
        try:
            await rounds.run()
        except asyncio.CancelledError:
            assert [found.good for found in rounds.found.values()] == [target != "dead" for target in took_s]
            assert all(rounds.age_s(found) >= 0 for found in rounds.found.values())

    asyncio.run(run())
    return said


def test_each_target_has_its_turn() -> None:
    """In their order, then the one that waited longest; never more often than the interval allows."""
    assert measured({"a": 1, "dead": 5, "c": 1}, interval_s=60, runs=6) == [
        (0, "a"),
        (1, "dead"),
        (6, "c"),
        (60, "a"),
        (61, "dead"),
        (66, "c"),
    ]


def test_a_slow_target_is_not_preferred() -> None:
    """If all together take longer than the interval, each still has its turn."""
    order = [target for _, target in measured({"a": 1, "dead": 90, "c": 1}, interval_s=10, runs=7)]
    assert order == ["a", "dead", "c", "a", "dead", "c", "a"]
