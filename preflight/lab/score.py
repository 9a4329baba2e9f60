"""How good the diagnoses are: reports compared with the scenarios; pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

from preflight.lab import truth
from preflight.lab.heal import Healing, Verdict
from preflight.lab.scenarios import Expected, Scenario
from preflight.lab.truth import Judgement, Truth

Diagnosis = tuple[str, str | None]
"""A finding code and its direction; None: any direction."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run of one scenario. `got` None: no diagnosis. `error`: what else went wrong. `timeline`: of a bad one.

    judgement: of a draw, which says more than right and wrong. ran_ms: of the run alone; whole_ms: with its lab.
    healing: what the fixes of the report did, if they were tried. healable: whether anything can heal it, and be known.
    """

    scenario: str
    repeat: int
    expected: Diagnosis | None
    got: Diagnosis | None
    right: bool
    false_alarms: tuple[str, ...] = ()
    duration_ms: float = 0.0
    ran_ms: float = 0.0
    whole_ms: float = 0.0
    report: str | None = None
    error: str | None = None
    timeline: str | None = None
    judgement: Judgement | None = None
    healing: Healing | None = None
    healable: bool = True

    @property
    def good(self) -> bool:
        """Right, and without a false alarm."""
        return self.right and not self.false_alarms

    @property
    def missed(self) -> bool:
        """Something was wrong and nothing was found."""
        return not self.right and self.expected is not None and self.got is None

    @property
    def verdict(self) -> str:
        """The verdict in one word."""
        if self.judgement is not None and self.judgement.grade == "vague":
            return "vague"
        return "right" if self.right else "missed" if self.missed else "wrong"


def judge(scenario: Scenario, report: Mapping[str, Any]) -> Outcome:
    """Compare a report with the scenario. A scenario without a fault expects no diagnosis at all."""
    first = next(iter(report["diagnosis"]), None)
    got = (first["code"], first["direction"]) if first else None
    alarms = false_alarms(scenario, report)
    fitting = [expected for expected in scenario.expected if got is not None and expected.matches(*got)]
    best = next(iter(fitting or scenario.expected), None)
    also = _unnamed(scenario, report)
    named = bool(fitting) and not also if best else got is None and not alarms
    ended = report["run"]["exit_code"]
    ended_right = scenario.exit_code in (None, ended)
    return Outcome(
        scenario.name,
        1,
        (best.code, best.direction) if best else None,
        got,
        named and ended_right,
        alarms,
        error=_complaint(also, named and not ended_right, ended, scenario.exit_code),
    )


def judge_draw(
    name: str,
    truths: Sequence[Truth],
    report: Mapping[str, Any],
    silent: frozenset[str],
    *,
    any_order: bool = False,
) -> Outcome:
    """Compare a report with what is true of a draw."""
    found = truth.judge(truths, report, silent=silent, any_order=any_order)
    first = next((cause for cause in report["diagnosis"] if cause["code"] not in silent), None)
    return Outcome(
        name,
        1,
        (truths[0].code, truths[0].direction) if truths else None,
        (first["code"], first["direction"]) if first else None,
        found.right,
        found.alarms,
        error="; ".join(found.lacks) or None,
        judgement=found,
    )


def _complaint(also: Sequence[Expected], ended_wrong: bool, ended: int, wanted: int | None) -> str | None:
    if also:
        return f"not named, or not in this order: {', '.join(each.code for each in also)}"
    return f"exit code {ended} instead of {wanted}" if ended_wrong else None


def _unnamed(scenario: Scenario, report: Mapping[str, Any]) -> tuple[Expected, ...]:
    """The further causes of the scenario that the diagnosis does not list after the first, in their order."""
    rest = list(scenario.also)
    for cause in report["diagnosis"][1:]:
        if rest and rest[0].matches(cause["code"], cause["direction"]):
            rest.pop(0)
    return tuple(rest)


def false_alarms(scenario: Scenario, report: Mapping[str, Any]) -> tuple[str, ...]:
    """Codes of bad results that no expected diagnosis explains."""
    expected = {each.code for each in (*scenario.expected, *scenario.also)} | set(scenario.maybe)
    right = [cause for n, cause in enumerate(report["diagnosis"]) if n == 0 or cause["code"] in expected]
    explained = {id for cause in right for id in cause["explains"]}
    bad = [result for result in report["results"] if result["status"] in ("fail", "warn", "error")]
    codes = [result["code"] for result in bad if result["id"] not in explained and result["code"] not in expected]
    return tuple(dict.fromkeys(codes))


def broken(scenario: Scenario, why: str) -> Outcome:
    """A run that gave no report."""
    wanted = next(((each.code, each.direction) for each in scenario.expected), None)
    return Outcome(scenario.name, 1, wanted, None, False, error=why)


def all_right(outcomes: Sequence[Outcome]) -> bool:
    """Whether every diagnosis is right, there is no false alarm, and no fix harmed or left anything when undone."""
    tried = [outcome.healing for outcome in outcomes if outcome.healing is not None]
    harmless = not any(healing.left or healing.verdict == "harmful" for healing in tried)
    return harmless and all(outcome.good for outcome in outcomes)


def document(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The score as the contract has it."""
    return {
        "scenarios": [_row(outcome) for outcome in outcomes],
        "right": sum(outcome.right for outcome in outcomes),
        "wrong": sum(outcome.verdict == "wrong" for outcome in outcomes),
        "missed": sum(outcome.missed for outcome in outcomes),
        "false_alarms": sum(len(outcome.false_alarms) for outcome in outcomes),
        **_healings(outcomes),
        "total": len(outcomes),
    }


def _healings(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """How often each came of what the reports say that heals; nothing if it was not tried."""
    tried = [outcome for outcome in outcomes if outcome.healing is not None]
    came = Counter(outcome.healing.verdict for outcome in tried if outcome.healing is not None)
    numbers = {verdict.replace(" ", "_"): came[verdict] for verdict in get_args(Verdict)}
    numbers["healable"] = sum(outcome.healable for outcome in tried)
    numbers["left"] = sum(bool(outcome.healing.left) for outcome in tried if outcome.healing is not None)
    return numbers if tried else {}


def _row(outcome: Outcome) -> dict[str, Any]:
    row = {
        "name": outcome.scenario,
        "repeat": outcome.repeat,
        "expected": _diagnosis(outcome.expected),
        "got": _diagnosis(outcome.got),
        "right": outcome.right,
        "false_alarms": list(outcome.false_alarms),
        "duration_ms": round(outcome.duration_ms),
        "report": outcome.report,
    }
    healing = None if outcome.healing is None else asdict(outcome.healing)
    only_of_bad_ones = {"healing": healing, "error": outcome.error, "timeline": outcome.timeline}
    return row | {key: value for key, value in only_of_bad_ones.items() if value is not None}


def _diagnosis(diagnosis: Diagnosis | None) -> dict[str, str | None] | None:
    return {"code": diagnosis[0], "direction": diagnosis[1]} if diagnosis else None


def confusion(outcomes: Iterable[Outcome]) -> dict[str, dict[Diagnosis | None, int]]:
    """For each scenario, how often each diagnosis came."""
    matrix: dict[str, dict[Diagnosis | None, int]] = {}
    for outcome in outcomes:
        row = matrix.setdefault(outcome.scenario, {})
        row[outcome.got] = row.get(outcome.got, 0) + 1
    return matrix
