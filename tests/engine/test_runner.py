"""The runner: what blocks what, deadlines, interruption, and crashes as results."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest

from preflight import codes
from preflight.api import (
    Check,
    Context,
    Direction,
    Result,
    Status,
    failed,
    inconclusive,
    passed,
    warned,
)
from preflight.engine.runner import Progress
from preflight.model.facts import AnswerFacts, EchoFacts
from tests.engine.made_up_checks import B, Body, declare, fine, run, shown


async def b_is_dead(ctx: Context) -> AsyncGenerator[Result, None]:
    for peer in ctx.peers:
        if peer is B:
            yield failed(codes.REACH_UNREACHABLE, peer.target, Direction.ROUND_TRIP, "dead")
        else:
            yield passed(peer.target, Direction.ROUND_TRIP, "fine")


async def interface_down(ctx: Context) -> AsyncGenerator[Result, None]:
    yield failed(codes.OVERLAY_DOWN, "node", Direction.LOCAL, "down")


def test_a_dead_peer_blocks_only_itself() -> None:
    """What needs a failed check is skipped for that peer, and runs for the others."""
    got = shown(run(declare("reach.udp", b_is_dead), declare("mtu.path", fine, "reach.udp")))
    assert got["mtu.path/b/local"] == ("skip", "run.blocked", "reach.udp/b/round-trip")
    assert got["mtu.path/c/round-trip"] == ("pass", None, None)


def test_a_node_failure_blocks_all_and_names_the_root() -> None:
    """blocked_by names the failed prerequisite itself, not a link of the chain."""
    got = shown(
        run(
            declare("overlay.interface", interface_down, subject="node"),
            declare("reach.udp", fine, "overlay.interface"),
            declare("mtu.path", fine, "reach.udp"),
        )
    )
    root = "overlay.interface/node/local"
    assert got["mtu.path/b/local"] == ("skip", "run.blocked", root)
    assert got["reach.udp/c/local"] == ("skip", "run.blocked", root)


def test_what_a_check_only_comes_after_never_blocks_it() -> None:
    """Order is not a prerequisite: a check about the same peer runs after a failed one."""
    first: list[str] = []

    async def notes(ctx: Context) -> AsyncGenerator[Result, None]:
        first.append("late")
        async for result in fine(ctx):
            yield result

    async def dies(ctx: Context) -> AsyncGenerator[Result, None]:
        await asyncio.sleep(0.01)
        first.append("early")
        async for result in b_is_dead(ctx):
            yield result

    got = shown(run(declare("mtu.path", notes, after=("reach.udp",)), declare("reach.udp", dies)))
    assert got["mtu.path/b/round-trip"] == ("pass", None, None)
    assert first == ["early", "late"]


async def c_warns(ctx: Context) -> AsyncGenerator[Result, None]:
    yield passed("b", Direction.ROUND_TRIP, "fine")
    yield warned(codes.REACH_UNREACHABLE, "c", Direction.ROUND_TRIP, "not quite")


async def node_warns(ctx: Context) -> AsyncGenerator[Result, None]:
    yield warned(codes.OVERLAY_DOWN, "node", Direction.LOCAL, "not quite")


async def node_is_fine(ctx: Context) -> AsyncGenerator[Result, None]:
    yield passed("node", Direction.LOCAL, "fine")


@pytest.mark.parametrize(
    ("first", "ran"),
    [
        ([declare("reach.udp", fine)], set()),
        ([declare("reach.udp", c_warns)], {"c"}),
        ([declare("reach.udp", b_is_dead)], {"b"}),
        ([declare("reach.udp", fine), declare("reach.icmp", c_warns)], {"c"}),
        ([declare("reach.udp", node_is_fine, subject="node")], set()),
        ([declare("reach.udp", node_warns, subject="node")], {"b", "c"}),
        ([declare("overlay.x", interface_down, subject="node"), declare("reach.udp", fine, "overlay.x")], {"b", "c"}),
    ],
    ids=["good", "warned", "failed", "either-of-two", "good-node", "bad-node", "blocked"],
)
def test_a_check_for_trouble_runs_only_where_there_is_some(first: list[Check], ran: set[str]) -> None:
    """What costs time or traffic waits until something is wrong; the others get a skip that says why."""
    after = tuple(check.id for check in first if check.id.startswith("reach."))
    outcome = run(*first, declare("mtu.x", fine, after=after, when="trouble"))
    late = [result for result in outcome.results if result.check == "mtu.x"]
    assert {result.target for result in late if result.status is Status.PASS} == ran
    skips = [result for result in late if result.status is Status.SKIP]
    assert {result.target for result in skips} == {"b", "c"} - ran
    assert all(result.code is codes.RUN_NOT_APPLICABLE and after[0] in result.message for result in skips)


@pytest.mark.parametrize(("first", "status"), [(fine, Status.SKIP), (c_warns, Status.PASS)])
def test_one_bad_peer_is_trouble_for_the_node(first: Body, status: Status) -> None:
    """A check about this node that looks for the cause of trouble runs for any peer's."""
    late = declare("host.x", node_is_fine, subject="node", after=("reach.udp",), when="trouble")
    (result,) = (result for result in run(declare("reach.udp", first), late).results if result.check == "host.x")
    assert result.status is status


def test_without_anything_before_it_a_check_for_trouble_runs() -> None:
    """Named alone, nothing is known about trouble; silence would be no answer."""
    got = shown(run(declare("mtu.x", fine, when="trouble")))
    assert got["mtu.x/b/round-trip"][0] == "pass"


def test_what_fails_still_blocks_a_check_for_trouble() -> None:
    """A need that failed makes it pointless, trouble or not."""
    got = shown(run(declare("reach.udp", b_is_dead), declare("mtu.x", fine, "reach.udp", when="trouble")))
    assert got["mtu.x/b/local"] == ("skip", "run.blocked", "reach.udp/b/round-trip")
    assert got["mtu.x/c/local"] == ("skip", "run.not-applicable", None)


def test_facts_are_handed_to_whoever_declares_to_read_them() -> None:
    """By target, of the declared classes alone, and only from checks of this run that came before."""
    seen: dict[str, object] = {}

    async def measures(ctx: Context) -> AsyncGenerator[Result, None]:
        await asyncio.sleep(0.01)
        answered = AnswerFacts(sent=10, answered=9)
        yield passed("b", Direction.FORWARD, "9 of 10", facts=answered)
        yield passed("b", Direction.REVERSE, "", facts=replace(answered, sent=11))
        yield passed("c", Direction.FORWARD, "nothing measured")

    async def pings(ctx: Context) -> AsyncGenerator[Result, None]:
        yield passed("b", Direction.ROUND_TRIP, "", facts=EchoFacts(sent=4, received=4))

    async def looks(ctx: Context) -> AsyncGenerator[Result, None]:
        seen["b"] = ctx.facts(AnswerFacts, "b")
        seen["c"] = ctx.facts(AnswerFacts, "c")
        seen["undeclared"] = ctx.facts(EchoFacts, "b")
        async for result in fine(ctx):
            yield result

    reader = declare("mtu.x", looks, after=("reach.icmp",), reads=(AnswerFacts,))
    run(reader, declare("reach.udp", measures), declare("reach.icmp", pings))
    assert seen == {
        "b": (AnswerFacts(sent=10, answered=9), AnswerFacts(sent=11, answered=9)),
        "c": (),
        "undeclared": (),
    }


def test_undecided_blocks_nothing() -> None:
    """A check that could not decide does not stop those that may."""

    async def undecided(ctx: Context) -> AsyncGenerator[Result, None]:
        for peer in ctx.peers:
            yield inconclusive(codes.RUN_NEEDS_RESPONDER, peer.target, Direction.ROUND_TRIP, "?")

    got = shown(run(declare("reach.udp", undecided), declare("mtu.path", fine, "reach.udp")))
    assert got["mtu.path/b/round-trip"][0] == "pass"


def test_no_peer_is_undecided_not_green() -> None:
    """Nothing measured must never look like a pass."""
    got = shown(run(declare("reach.udp", fine), peers=()))
    assert got["reach.udp/node/local"] == ("inconclusive", "run.needs-peers", None)


def test_a_crash_is_an_error_result_without_values() -> None:
    """A broken check is reported as such, with the place and without the frames' values."""

    async def crashes(ctx: Context) -> AsyncGenerator[Result, None]:
        yield passed("b", Direction.ROUND_TRIP, "before")
        raise ZeroDivisionError("by nothing")

    outcome = run(declare("x.y", crashes), declare("reach.udp", fine))
    got = shown(outcome)
    assert got["x.y/b/round-trip"][0] == "pass"
    assert got["x.y/node/round-trip/error"] == ("error", "run.check-error", None)
    assert got["reach.udp/c/round-trip"][0] == "pass"
    (error,) = [r for r in outcome.results if r.status is Status.ERROR]
    assert "ZeroDivisionError: by nothing" in error.message
    assert "test_runner.py" in str(error.evidence[0].data)


@pytest.mark.parametrize("wrong", ["undeclared", "twice", "codeless"])
def test_a_check_is_held_to_its_word(wrong: str) -> None:
    """Undeclared codes, ids given twice and failures without a code are bugs of the check."""

    async def body(ctx: Context) -> AsyncGenerator[Result, None]:
        if wrong == "undeclared":
            yield failed(codes.MTU_BLACK_HOLE, "b", Direction.FORWARD, "")
        elif wrong == "twice":
            yield passed("b", Direction.FORWARD, "")
            yield passed("b", Direction.FORWARD, "")
        else:
            yield Result(target="b", direction=Direction.FORWARD, status=Status.FAIL, message="")

    assert "error" in {status for status, *_ in shown(run(declare("x.y", body))).values()}


def test_progress_tells_how_far_a_check_has_come() -> None:
    """On a large mesh one check takes a while: the targets that are reported so far are counted, each once."""

    async def both_ways(ctx: Context) -> AsyncGenerator[Result, None]:
        for peer in ctx.peers:
            yield passed(peer.target, Direction.FORWARD, "fine")
            yield passed(peer.target, Direction.REVERSE, "fine")

    events: list[Progress] = []
    run(declare("x.y", both_ways), listener=events.append)
    assert [(event.reported, event.peers) for event in events if event.results is None] == [
        (0, 2),
        (1, 2),
        (1, 2),
        (2, 2),
        (2, 2),
    ]


def test_results_come_in_the_order_of_the_peers() -> None:
    """Whichever peer ends first: two runs of one fault give one order of results, and so of causes."""

    async def backwards(ctx: Context) -> AsyncGenerator[Result, None]:
        for peer in reversed(ctx.peers):
            yield passed(peer.target, Direction.FORWARD, "fine")
            yield passed(peer.target, Direction.REVERSE, "fine")

    results = run(declare("x.y", backwards)).results
    assert [(result.target, result.direction) for result in results] == [
        (target, way) for target in ("b", "c") for way in (Direction.FORWARD, Direction.REVERSE)
    ]


def test_checks_that_measure_do_not_overlap() -> None:
    """Two checks that load the path would measure each other."""
    inside = 0

    async def measure(ctx: Context) -> AsyncGenerator[Result, None]:
        nonlocal inside
        inside += 1
        assert inside == 1
        await asyncio.sleep(0.01)
        inside -= 1
        yield passed("b", Direction.ROUND_TRIP, "")

    outcome = run(*(declare(f"x.{n}", measure, measures=True) for n in range(4)))
    assert {r.status for r in outcome.results} == {Status.PASS}


def test_times_are_stamped() -> None:
    """Each result says when it began and how long it took."""
    (first, *_) = run(declare("reach.udp", fine)).results
    assert first.started_at is not None
    assert first.category == "reach"
    assert first.duration_ms > 0
