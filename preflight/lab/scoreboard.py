"""Scores and labs as people read them."""

import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from preflight.lab.labs import all_labs
from preflight.lab.scenario_file import offered, usage
from preflight.lab.scenarios import SCENARIOS, Scenario
from preflight.lab.score import Diagnosis, Outcome, confusion, document
from preflight.lab.topology import TOPOLOGIES
from preflight.report.timeline import parse, shown

LAST_EVENTS = 40


def line(outcome: Outcome) -> str:
    """The progress line of one finished run."""
    words = [f"{outcome.verdict:<7}", outcome.scenario, f"({outcome.duration_ms / 1000:.1f} s)"]
    if not outcome.right:
        words.append(f"expected {named(outcome.expected)}, got {named(outcome.got)}")
    if outcome.false_alarms:
        words.append(f"false alarms: {', '.join(outcome.false_alarms)}")
    if outcome.error:
        words.append(f"- {outcome.error}")
    return " ".join(words)


def last_events(outcome: Outcome) -> str:
    """Where the timeline of a bad run lies, and how it ends."""
    if outcome.timeline is None:
        return ""
    path = Path(outcome.timeline)
    try:
        header, events = parse(path.read_bytes())
    except (OSError, ValueError) as error:
        return f"timeline: {path}: {error}\n"
    last = [shown(event, header.clock_s) for event in events[-LAST_EVENTS:]]
    return "\n".join([f"timeline: {path}, its last {len(last)} of {len(events)} events:", *last, ""])


def named(diagnosis: Diagnosis | None) -> str:
    """A diagnosis in words."""
    if diagnosis is None:
        return "nothing"
    code, direction = diagnosis
    return f"{code} ({direction})" if direction else code


def table(outcomes: Sequence[Outcome]) -> str:
    """The confusion matrix: one row per scenario, the expected diagnosis and how often each diagnosis came."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    grid = Table("scenario", "expected", "got", "right", "false alarms", box=SIMPLE_HEAD, highlight=False)
    for name, got in confusion(outcomes).items():
        runs = [outcome for outcome in outcomes if outcome.scenario == name]
        alarms = dict.fromkeys(code for outcome in runs for code in outcome.false_alarms)
        right = sum(outcome.right for outcome in runs)
        seen = [f"{named(diagnosis)}{f' x{times}' if len(runs) > 1 else ''}" for diagnosis, times in got.items()]
        grid.add_row(name, named(runs[0].expected), "\n".join(seen), f"{right}/{len(runs)}", "\n".join(alarms))
    sink = io.StringIO()
    Console(file=sink, width=120, color_system=None).print(grid)
    scores = document(outcomes)
    words = [f"{scores[key]} {key.replace('_', ' ')}" for key in ("right", "wrong", "missed", "false_alarms")]
    return f"{sink.getvalue().rstrip()}\n\n{', '.join(words)}, {scores['total']} in all\n"


def inventory() -> dict[str, Any]:
    """Labs that are up, topologies and scenarios."""
    labs = all_labs()
    return {
        "labs": [
            {"name": name, "kind": found and found.kind, "scenario": found and found.scenario}
            for name, found in labs.items()
        ],
        "topologies": [{"name": each.name, "summary": each.summary} for each in TOPOLOGIES.values()],
        "scenarios": [_described(scenario) for scenario in SCENARIOS.values()],
        "faults": [
            {"name": name, "usage": usage(name, make), "summary": (make.__doc__ or "").splitlines()[0]}
            for name, make in offered().items()
        ],
    }


def _described(scenario: Scenario) -> dict[str, Any]:
    return {
        "name": scenario.name,
        "topology": scenario.topology,
        "summary": scenario.summary,
        "expected": [asdict(expected) for expected in scenario.expected],
        "needs_root": not scenario.loopback,
    }


def inventory_text(everything: dict[str, Any]) -> str:
    """The inventory in aligned lines."""
    lines = ["Labs that are up:"]
    lines += [
        f"  {each['name']:<24} {each['scenario'] or 'unfinished'} {each['kind'] or ''}".rstrip()
        for each in everything["labs"]
    ]
    if not everything["labs"]:
        lines.append("  none; `preflight lab up pair` makes one")
    lines += ["", "Topologies:", *(f"  {each['name']:<24} {each['summary']}" for each in everything["topologies"])]
    lines += ["", "Scenarios, and the expected diagnosis:"]
    lines += [f"  {each['name']:<24} {_expectation(each['expected'])}" for each in everything["scenarios"]]
    lines += ["", "Faults that a scenario file may name (`preflight lab run FILE.yaml`):"]
    lines += [f"  {each['usage']:<52} {each['summary']}" for each in everything["faults"]]
    return "\n".join([*lines, ""])


def _expectation(expected: list[dict[str, str | None]]) -> str:
    return " or ".join(named((str(each["code"]), each["direction"])) for each in expected) or "none"
