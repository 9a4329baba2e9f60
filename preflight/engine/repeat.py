"""`--wait`: which checks to run again, and how later results take the place of earlier ones. Pure."""

from collections.abc import Iterable
from dataclasses import replace

from preflight.api import Result, Status, codes
from preflight.engine.plan import Plan
from preflight.engine.runner import Outcome


def plan_again(plan: Plan, results: Iterable[Result]) -> Plan | None:
    """The part of the plan to run again: the checks whose results are not good yet, and those that they block."""
    bad = {r.check for r in results if r.status in (Status.FAIL, Status.INCONCLUSIVE) or r.blocked_by}
    # A bootstrap token is good for one exchange: an enrolment that began is never repeated.
    entered = {r.check for r in results if r.category == "enroll" and not r.blocked_by}
    again = plan.part(bad - entered)
    return again if again.checks else None


def merge(first: Outcome, later: Outcome, attempts: int) -> Outcome:
    """The later results in the places of the earlier ones of the same checks.

    An attempt that was cut off decides nothing: what had failed before it stays failed.
    """
    failed = {result.check for result in first.results if result.status is Status.FAIL}
    cut_off = {r.check for r in later.results if r.code in (codes.RUN_TIMEOUT, codes.RUN_INTERRUPTED)}
    later = Outcome(tuple(r for r in later.results if r.check not in failed & cut_off), later.interrupted)
    repeated = {result.check for result in later.results}
    fresh: dict[str, list[Result]] = {}
    for result in later.results:
        fresh.setdefault(result.check, []).append(replace(result, attempts=max(result.attempts, attempts)))
    merged: list[Result] = []
    for result in first.results:
        if result.check not in repeated:
            merged.append(result)
        elif result.check in fresh:
            merged += fresh.pop(result.check)
    return Outcome(tuple(merged), later.interrupted)
