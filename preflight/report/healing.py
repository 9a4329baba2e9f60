"""Which cause of a report can be healed here, whether it is still there, and whether it was healed: pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from preflight.model.fix import BearerFromWorkerToken, Environment, Fix, LinkMtu, LinkMtuByAddress, PastProxy
from preflight.report.grouping import cause_groups
from preflight.report.model import CauseEntry, Report
from preflight.report.remedies import RemedyEntry

SEARCH_BYTES = 16
"""How far two searches for the MTU of one path may end apart: a tunnel pads its packets to a multiple of it."""
JUDGING = "host"
"""The category whose results judge what a machine does with packets: it may do so only once packets come there."""
Verdict = Literal["healed", "another cause", "still there", "harmful"]


class RefusedError(Exception):
    """A fix that is not made here; the text is one or more sentences. lines: what a person can do instead."""

    def __init__(self, text: str, lines: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.lines = lines


@dataclass(frozen=True, slots=True)
class Chosen:
    """A cause of a report, by its number there, with the fixes that heal it together."""

    number: int
    cause: CauseEntry
    fixes: tuple[Fix, ...]


@dataclass(frozen=True, slots=True)
class Healed:
    """What came of a fix. why: a clause that says it."""

    verdict: Verdict
    why: str


def choose(report: Report, number: int | None) -> Chosen:
    """The cause of that number, as the text report counts, or the first one that this node can heal.

    Raises RefusedError, also for a fix that is not made on this node.
    """
    causes = [group.first for group in cause_groups(report, whole=False, once=True)]
    if not causes:
        raise RefusedError("The report has no cause: nothing is to heal.")
    if number is None:
        number = next((place for place, cause in enumerate(causes, 1) if _makeable(cause)), 1)
    if not 1 <= number <= len(causes):
        raise RefusedError(f"The report has no cause {number}: it has {_count(len(causes))}.")
    return chosen(causes[number - 1], number)


def chosen(cause: CauseEntry, number: int) -> Chosen:
    """A cause with its fixes. Raises RefusedError if one of them is not made on this node by this program."""
    name = f"Cause {number}, {cause.code}"
    entries = [each for each in cause.remedies if each.kind == "fix"]
    if not entries:
        lines = tuple(line for each in cause.remedies for line in each.remedy.shown)
        raise RefusedError(f"{name}, has no fix, only what shows more.", lines)
    for entry in entries:
        if (why := _refused(entry)) is not None:
            lines = tuple(line for each in entries for line in each.remedy.shown)
            raise RefusedError(f"{name}: {why}", lines)
    return Chosen(number, cause, tuple(each.fix for each in entries if each.fix is not None))


def _makeable(cause: CauseEntry) -> bool:
    entries = [each for each in cause.remedies if each.kind == "fix"]
    return bool(entries) and all(_refused(each) is None for each in entries)


def _refused(entry: RemedyEntry) -> str | None:
    """Why this program does not make a fix on this node, as a sentence; None if it does."""
    if entry.host is not None or entry.where != "node":
        place = entry.host or f"the {entry.where}"
        return f"its fix belongs on {place}, and nothing is changed there from here."
    if entry.fix is None:
        return "its fix is only text, which is never run: a person must do it."
    if entry.fix.stays:
        return "its fix is a program that keeps running: start it where it can stay."
    if isinstance(entry.fix, Environment | PastProxy | BearerFromWorkerToken):
        return "its fix is a variable, and no program can change those of another one: set it where workers start."
    return None


def find_again(fresh: Report, old: Chosen) -> Chosen | None:
    """The same cause in a report that was made just now, with the same fixes; None if it is not there any more.

    What is applied is always the fix that was measured just now. Raises RefusedError if it is another one, or the cause
    is at another place by now.
    """
    cause = old.cause
    alike = [each for each in fresh.diagnosis if (each.code, each.target) == (cause.code, cause.target)]
    same = [each for each in alike if each.direction == cause.direction and _same_place(each, cause)]
    if not alike:
        _refuse_unseen(fresh, old)
        return None
    if not same:
        raise RefusedError(
            f"{cause.code} at {cause.target} is there, but at another place than in the report: make a new report."
        )
    found = chosen(same[0], old.number)
    if not _alike(found.fixes, old.fixes):
        lines = tuple(line for fix in found.fixes for line in fix.lines)
        raise RefusedError("What heals it by now is not what the report says: make a new report.", lines)
    return found


def _refuse_unseen(fresh: Report, old: Chosen) -> None:
    """Raises RefusedError if nobody looked for the cause again: that it does not show proves nothing then."""
    places = {tuple(id.split("/")[:2]) for id in old.cause.explains}
    again = [result for result in fresh.results if (result.check, result.target) in places]
    idle = [each for each in again if each.status in ("skip", "inconclusive") and each.code != "run.not-applicable"]
    if idle and not any(each.status in ("pass", "warn") for each in again):
        raise RefusedError(
            f"{old.cause.code} at {old.cause.target} was not looked for again, because {idle[0].message}: nothing is "
            "changed. What heals it:",
            tuple(line for fix in old.fixes for line in fix.lines),
        )


def _alike(found: Sequence[Fix], old: Sequence[Fix]) -> bool:
    """The same fixes. Two searches for a path's MTU may end a little apart; then the newer size is taken."""
    return len(found) == len(old) and all(map(_nearly, found, old))


def _nearly(found: Fix, old: Fix) -> bool:
    if isinstance(found, LinkMtu | LinkMtuByAddress) and isinstance(old, type(found)):
        near = abs(found.mtu_bytes - old.mtu_bytes) <= SEARCH_BYTES
        return near and replace(found, mtu_bytes=old.mtu_bytes) == old
    return found == old


def _same_place(one: CauseEntry, other: CauseEntry) -> bool:
    """A place that only one of two runs could name contradicts nothing; the fix must be the same anyway."""
    return one.place is None or other.place is None or one.place == other.place


def outcome(before: Report, after: Report, cause: CauseEntry) -> Healed:
    """Whether a fix healed its cause, by the runs before and after it."""
    harmed = list(_worse(before, after))
    if harmed:
        return Healed("harmful", f"passed before, and fails now: {', '.join(harmed)}")
    same = [each for each in after.diagnosis if (each.code, each.target) == (cause.code, cause.target)]
    if any((each.direction, each.remedies) == (cause.direction, cause.remedies) for each in same):
        return Healed("still there", f"{cause.code} at {cause.target} is still there")
    if same:
        return Healed("another cause", f"what is there now is not the same: {same[0].message}")
    now = _explained_now(cause, before, after)
    bad = [id for id, status in now.items() if status in ("fail", "error")]
    if bad:
        others = ", ".join(dict.fromkeys(each.code for each in after.diagnosis if {*each.explains} & {*bad}))
        return Healed("another cause", f"{cause.code} is gone, but {', '.join(bad)} has another cause: {others}")
    if not any(status in ("pass", "warn") for status in now.values()):
        return Healed("still there", "nothing that it explained passes now")
    return Healed("healed", f"{cause.code} at {cause.target} is gone")


def _explained_now(cause: CauseEntry, before: Report, after: Report) -> dict[str, str]:
    """The status of what a cause explained, by the id that it has now.

    A way is followed only while there is trouble: its result may be missing. What was skipped because of the cause had
    no direction yet, and what one side finds alone may name one only while something is lost: these have another id.
    """
    explained, there = {*cause.explains}, {result.id for result in after.results}
    moved = {
        (each.check, each.target)
        for each in before.results
        if each.id in explained and (each.status == "skip" or each.id not in there)
    }
    return {
        result.id: result.status
        for result in after.results
        if result.id in explained or (result.check, result.target) in moved
    }


def _worse(before: Report, after: Report) -> Iterator[str]:
    """Ids of results that passed and fail now: something that was taken down."""
    passed = {result.id for result in before.results if result.status == "pass" and result.category != JUDGING}
    return (each.id for each in after.results if each.status == "fail" and each.id in passed)


def _count(causes: int) -> str:
    return f"{causes} causes" if causes > 1 else "one cause"
