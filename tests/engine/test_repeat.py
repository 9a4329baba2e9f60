"""`--wait`: what is run again, and which result counts."""

from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest

from preflight.api import Check, Context, Direction, Result, check, codes, failed, inconclusive, passed, skipped, warned
from preflight.engine.plan import Selection, make_plan
from preflight.engine.repeat import merge, plan_again
from preflight.engine.runner import Outcome

LOCAL = Direction.LOCAL


def declare(id: str, *needs: str) -> Check:
    @check(id, title=id, subject="node", codes=(), needs=needs)
    async def nothing(ctx: Context) -> AsyncGenerator[Result, None]:
        return
        yield

    return nothing


PLAN = make_plan([declare("a.a"), declare("a.b", "a.a"), declare("enroll.cycle")], Selection())


def result(id: str, made: Result, *, blocked_by: str | None = None) -> Result:
    """A result as the runner stamps it."""
    return replace(made, check=id, category=id.partition(".")[0], blocked_by=blocked_by)


GOOD = passed("node", LOCAL, "good")
WARNED = warned(codes.MTU_REDUCED, "node", LOCAL, "reduced")
BAD = failed(codes.MTU_BLACK_HOLE, "node", LOCAL, "bad")
UNDECIDED = inconclusive(codes.RUN_NO_ANSWER, "node", LOCAL, "silent")
BLOCKED = skipped(codes.RUN_BLOCKED, "node", LOCAL, "blocked")


@pytest.mark.parametrize(
    ("results", "again"),
    [
        ([result("a.a", GOOD), result("a.b", WARNED)], None),
        ([result("a.a", GOOD), result("a.b", UNDECIDED)], ["a.b"]),
        ([result("a.a", BAD), result("a.b", BLOCKED, blocked_by="a.a/node/local")], ["a.a", "a.b"]),
        ([result("enroll.cycle", BAD)], None),
        ([result("enroll.cycle", BLOCKED, blocked_by="a.a/node/local")], ["enroll.cycle"]),
    ],
    ids=["good", "undecided", "bad and blocked", "an enrolment that began", "an enrolment that never began"],
)
def test_what_is_run_again(results: list[Result], again: list[str] | None) -> None:
    """What may get better, and never an enrolment that began: a bootstrap token is good for one exchange."""
    plan = plan_again(PLAN, results)
    assert (plan and [check.id for check in plan.checks]) == again


def test_later_results_take_the_place_of_earlier_ones() -> None:
    """The order of the report stays, and a reader sees how often a check ran."""
    first = Outcome((result("a.a", BAD), result("a.b", GOOD)))
    merged = merge(first, Outcome((result("a.a", GOOD),), interrupted=True), 3)
    assert [(r.check, r.status, r.attempts) for r in merged.results] == [("a.a", "pass", 3), ("a.b", "pass", 1)]
    assert merged.interrupted


def test_an_attempt_that_was_cut_off_decides_nothing() -> None:
    """A failure does not become undecided because the time was up."""
    cut_off = inconclusive(codes.RUN_TIMEOUT, "node", LOCAL, "the time limit of the run came first")
    merged = merge(Outcome((result("a.a", BAD),)), Outcome((result("a.a", cut_off),)), 2)
    assert [r.code for r in merged.results] == [codes.MTU_BLACK_HOLE]
