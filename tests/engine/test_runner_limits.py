"""How the runner ends checks: by time limits, on Ctrl-C, and whatever they raise."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from preflight.api import (
    Context,
    Direction,
    Peer,
    Result,
    Status,
    passed,
)
from tests.engine.made_up_checks import declare, fine, run, shown


async def hangs(ctx: Context) -> AsyncGenerator[Result, None]:
    yield passed("b", Direction.ROUND_TRIP, "so far")
    await asyncio.Event().wait()


@pytest.mark.parametrize("error", [SystemExit(0), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError()])
def test_nothing_that_a_check_raises_ends_the_run(error: BaseException) -> None:
    """Only the user ends a run."""

    async def raises(ctx: Context) -> AsyncGenerator[Result, None]:
        yield passed("b", Direction.ROUND_TRIP, "before")
        raise error

    got = shown(run(declare("x.y", raises), declare("reach.udp", fine)))
    assert got["x.y/node/round-trip/error"][:2] == ("error", "run.check-error")
    assert got["reach.udp/c/round-trip"][0] == "pass"


def test_a_check_that_does_not_end_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may clean up for a while; a check that does not end then is ignored, and the rest runs."""
    monkeypatch.setattr("preflight.engine.runner.CLEANUP_SECONDS", 0.05)
    free = asyncio.Event()

    async def stubborn(ctx: Context) -> AsyncGenerator[Result, None]:
        while not free.is_set():
            try:
                await free.wait()
            except asyncio.CancelledError:
                yield passed("b", Direction.ROUND_TRIP, "still here")
        yield passed("c", Direction.ROUND_TRIP, "too late")

    async def let_go(interrupted: asyncio.Event) -> None:
        await asyncio.sleep(0.2)
        free.set()

    outcome = run(declare("x.y", stubborn, timeout=0.05), declare("z.z", fine, "x.y"), act=let_go)
    got = shown(outcome)
    assert got["x.y/c/round-trip/timeout"] == ("inconclusive", "run.timeout", None)
    assert got["z.z/b/round-trip"][0] == "pass"
    assert "too late" not in {result.message for result in outcome.results}


def test_a_check_that_hangs_ends_with_its_time() -> None:
    """What it had reported is kept; the rest is undecided."""
    got = shown(run(declare("x.y", hangs, timeout=0.05)))
    assert got["x.y/b/round-trip"][0] == "pass"
    assert got["x.y/c/round-trip/timeout"] == ("inconclusive", "run.timeout", None)


def test_many_peers_get_more_time() -> None:
    """A limit that is right for one peer would end every check on a mesh of hundreds: a false `run.timeout`."""

    async def takes_time(ctx: Context) -> AsyncGenerator[Result, None]:
        for peer in ctx.peers:
            await asyncio.sleep(0.001)
            yield passed(peer.target, Direction.ROUND_TRIP, "fine")

    mesh = tuple(Peer(f"10.66.1.{n}") for n in range(1, 101))
    outcome = run(declare("x.y", takes_time, timeout=0, timeout_per_peer=1), peers=mesh)
    assert {result.status for result in outcome.results} == {Status.PASS}
    outcome = run(declare("x.y", hangs, timeout=0.01, timeout_per_peer=0.02))
    assert [r.message for r in outcome.results if r.status is not Status.PASS] == ["not finished within its 0.05 s"]


def test_the_whole_run_ends_with_its_time() -> None:
    """The time limit of the run ends what runs and what has not begun; the outcome is complete."""
    got = shown(run(declare("x.y", hangs), declare("z.z", fine, "x.y"), timeout_s=0.05))
    assert got["x.y/c/round-trip/timeout"][1] == "run.timeout"
    assert got["z.z/b/round-trip/timeout"][1] == "run.timeout"


def test_an_interrupted_check_cleans_up_and_the_rest_is_reported() -> None:
    """Ctrl-C: what a check did is undone (its `finally` may wait), and the report is whole."""
    cleaned = []

    async def writes(ctx: Context) -> AsyncGenerator[Result, None]:
        try:
            yield passed("control", Direction.ROUND_TRIP, "joined")
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append("left")

    async def interrupt(event: asyncio.Event) -> None:
        await asyncio.sleep(0.05)
        event.set()

    outcome = run(declare("enroll.cycle", writes, subject="control"), act=interrupt)
    assert cleaned == ["left"]
    assert outcome.interrupted
    assert shown(outcome)["enroll.cycle/control/round-trip/interrupted"][1] == "run.interrupted"


def test_waiting_for_a_turn_alone_takes_nothing_of_a_check_s_time() -> None:
    """A check that looks again alone waits for others, which may take longer than it may itself."""
    beside: list[int] = []

    async def again(ctx: Context) -> AsyncGenerator[Result, None]:
        async with ctx.net.turns.alone_instead():
            beside.append(ctx.net.turns.sharing)
        for peer in ctx.peers:
            yield passed(peer.target, Direction.ROUND_TRIP, "looked again")

    async def slow(ctx: Context) -> AsyncGenerator[Result, None]:
        await asyncio.sleep(0.3)
        yield passed("b", Direction.ROUND_TRIP, "done")

    got = shown(run(declare("x.y", again, timeout=0.1), declare("z.z", slow), declare("z.y", again, timeout=0.1)))
    assert {status for status, _, _ in got.values()} == {"pass"}
    assert beside == [0, 0]
