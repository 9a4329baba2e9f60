"""Do what a report says that heals, where it says, and see whether the next run is green.

Only the fixes of a report are applied, which are data, by the program's own applier; its text is never run. In the end
all is undone, as `preflight fix` does, and each node compared with itself before.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from preflight.fixing.step import FixError
from preflight.lab.labs import Lab
from preflight.lab.repairs import Repairs
from preflight.report.healing import JUDGING
from preflight.report.remedies import RemedyEntry

Verdict = Literal["healed", "not healed", "harmful", "no fix"]
Rerun = Callable[[Mapping[str, str]], Mapping[str, Any]]
"""Runs preflight again with more variables, and gives its report. Raises LabError."""


@dataclass(frozen=True, slots=True)
class Healing:
    """What was done about a report, and what came of it. why: if it did not heal.

    left: what was another than before when all was undone. command: what `preflight fix` itself came to, if it was run.
    """

    verdict: Verdict
    lines: tuple[str, ...] = ()
    why: str = ""
    left: tuple[str, ...] = ()
    command: str = ""


def heal(
    lab: Lab,
    report: Mapping[str, Any],
    rerun: Rerun,
    green: Callable[[Mapping[str, Any]], bool],
    *,
    most: int = 1,
    silent: frozenset[str] = frozenset(),
) -> Healing:
    """Make the fixes of each cause, which belong together, and run again.

    most: how often, because what is broken first may hide what is broken next. What was made before is not made again.
    silent: codes that the set-up gives although nothing is broken: nobody need do anything about them.
    Raises LabError if there is no second report.
    """
    done, reports, why_not = Repairs(lab), [report], ""
    try:
        for _ in range(most):
            chosen, why_not = _next(reports[-1], done, silent)
            if why_not:
                break
            for entry in chosen:
                done.make(entry)
            reports.append(rerun(done.environment))
            if _harmed(reports) or green(reports[-1]):
                break
        healing = _verdict(reports, done, green)
    except FixError as error:
        healing = Healing("not healed", tuple(done.lines), str(error))
    finally:
        left = done.undo()
    if len(reports) == 1 and not done.lines and why_not:
        return Healing("no fix", tuple(_by_hand(report, silent)), why_not)
    return replace(healing, left=left)


def _next(report: Mapping[str, Any], done: Repairs, silent: frozenset[str]) -> tuple[list[RemedyEntry], str]:
    """The fixes of a report that were not made yet; or why none is made."""
    entries = [entry for cause in _broken(report, silent) for entry in _fixes(cause)]
    if _by_hand(report, silent):
        return [], "a person must do it"
    fresh = [entry for entry in entries if not set(entry.lines) <= set(done.lines)]
    return fresh, "" if fresh else "no cause has a fix"


def _broken(report: Mapping[str, Any], silent: frozenset[str]) -> list[Mapping[str, Any]]:
    """The causes that the set-up does not give by itself."""
    return [cause for cause in report["diagnosis"] if cause["code"] not in silent]


def _by_hand(report: Mapping[str, Any], silent: frozenset[str]) -> list[str]:
    """What only a person can do of what a report says that heals."""
    entries = (entry for cause in _broken(report, silent) for entry in _fixes(cause))
    return [line for entry in entries if entry.fix is None for line in entry.lines]


def _verdict(
    reports: Sequence[Mapping[str, Any]], done: Repairs, green: Callable[[Mapping[str, Any]], bool]
) -> Healing:
    after = reports[-1]
    harmed = _harmed(reports)
    if harmed:
        return Healing("harmful", tuple(done.lines), f"passed before, and fails now: {', '.join(harmed)}")
    if green(after):
        return Healing("healed", tuple(done.lines))
    left = ", ".join(cause["code"] for cause in after["diagnosis"])
    return Healing("not healed", tuple(done.lines), f"left: {left or 'exit code ' + str(after['run']['exit_code'])}")


def _harmed(reports: Sequence[Mapping[str, Any]]) -> list[str]:
    """What passed in an earlier report, and fails in the last one."""
    *earlier, after = reports
    return list(dict.fromkeys(id for before in earlier for id in worse(before, after)))


def worse(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Ids of results that passed and fail now: a way that was taken down."""
    passed = {each["id"] for each in before["results"] if each["status"] == "pass" and each["category"] != JUDGING}
    return (each["id"] for each in after["results"] if each["status"] == "fail" and each["id"] in passed)


def _fixes(cause: Mapping[str, Any]) -> list[RemedyEntry]:
    entries = (RemedyEntry.model_validate(entry) for entry in cause.get("remedies", ()))
    return [entry for entry in entries if entry.kind == "fix"]
