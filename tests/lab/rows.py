"""One scenario in a fresh lab, run and judged in this process: `lab run`, which does the same, has separate tests."""

import json
from pathlib import Path
from typing import Any

from preflight.files import Attempts
from preflight.lab.scenarios import Scenario
from preflight.lab.score import Outcome
from preflight.lab.scoreboard import last_events, line
from preflight.lab.trial import Trials


def run_row(scenario: Scenario, folder: Path) -> tuple[Outcome, dict[str, Any]]:
    """How the lab judges the run, and its report."""
    outcome = Trials(folder, Attempts()).one(scenario, 1)
    assert outcome is not None
    print(line(outcome), last_events(outcome), sep="\n")  # of a row that is not right: how its timeline ends
    assert outcome.report is not None, outcome.error
    report: dict[str, Any] = json.loads(Path(outcome.report).read_text(encoding="utf-8"))
    return outcome, report
