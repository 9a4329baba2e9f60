"""Draw set-ups and faults, run preflight on each, and shrink what it judges wrong."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import takewhile

import yaml

from preflight.lab.draws import Draw, definition, simpler
from preflight.lab.matrix import in_parallel
from preflight.lab.scenario_file import scenario_of
from preflight.lab.score import Outcome
from preflight.lab.trial import Trials

Trial = Callable[[Draw], Outcome | None]
"""Runs a draw; None if everything was stopped."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A draw that was run."""

    draw: Draw
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Shrunk:
    """A wrong draw, and the smallest one that is wrong in the same way. runs: how many were tried."""

    drawn: Draw
    smallest: Draw
    outcome: Outcome
    runs: int

    def file(self) -> str:
        """The smallest one as a scenario file, which `preflight lab run` replays."""
        return f"# {self.smallest}\n{yaml.safe_dump(dict(definition(self.smallest)), sort_keys=False)}"


def run_draws(
    chosen: Iterable[Draw], jobs: int, trials: Trials, tell: Callable[[Drawn], None]
) -> tuple[list[Drawn], bool]:
    """Run draws in fresh labs and report each; returns all in their order, and whether a signal ended it early."""
    tasks = (partial(_one, trials, each, number) for number, each in enumerate(chosen, 1))
    return in_parallel(tasks, jobs, trials, tell)


def _one(trials: Trials, drawn: Draw, number: int) -> Drawn | None:
    outcome = trials.one(scenario_of(drawn), number)
    return Drawn(drawn, outcome) if outcome is not None else None


def until(deadline: float, chosen: Iterable[Draw]) -> Iterator[Draw]:
    """Draws until the deadline, on time.monotonic()'s clock."""
    return takewhile(lambda _: time.monotonic() < deadline, chosen)


def worth_shrinking(everything: Iterable[Drawn], most: int) -> list[Drawn]:
    """The first wrong draw of each fault and symptom, at most `most`."""
    first: dict[object, Drawn] = {}
    for each in everything:
        found = each.outcome.judgement
        if found is not None and found.grade == "wrong":
            first.setdefault((each.draw.faults, found.symptom), each)
    return list(first.values())[:most]


def shrink_all(
    wrong: Iterable[Drawn], jobs: int, trials: Trials, tell: Callable[[Shrunk], None]
) -> tuple[list[Shrunk], bool]:
    """Shrink wrong draws in parallel; returns as `run_draws`."""

    def trial(candidate: Draw) -> Outcome | None:
        return trials.one(scenario_of(candidate), 1)

    return in_parallel((partial(shrink, each, trial) for each in wrong), jobs, trials, tell)


def shrink(wrong: Drawn, trial: Trial) -> Shrunk | None:
    """Take one thing after the other away, as long as the draw stays wrong in the same way; None if it was stopped.

    A value that was needed once may not be needed any more after another one went, so it ends only when no single step
    leaves the symptom.
    """
    smallest, outcome, runs = wrong.draw, wrong.outcome, 0
    tried: set[Draw] = set()
    while True:
        for candidate in simpler(smallest):
            if candidate in tried:
                continue
            tried.add(candidate)
            runs += 1
            found = trial(candidate)
            if found is None:
                return None
            if same_symptom(found, wrong.outcome):
                smallest, outcome = candidate, found
                break
        else:
            return Shrunk(wrong.draw, smallest, outcome, runs)


def same_symptom(one: Outcome, other: Outcome) -> bool:
    """Whether two runs are wrong in the same way."""
    return bool(one.judgement and other.judgement and one.judgement.symptom == other.judgement.symptom)
