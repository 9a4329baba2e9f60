"""Scores as people read them."""

import io
from collections.abc import Sequence
from pathlib import Path

from preflight.lab.heal import Healing
from preflight.lab.score import Diagnosis, Outcome, confusion, document
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
    words += [healing_words(outcome.healing)] if outcome.healing else []
    return " ".join(words)


def healing_words(healing: Healing) -> str:
    """What the fixes of a report did, in one line."""
    pasted = f" by {'; '.join(healing.lines)}" if healing.lines else ""
    words = [f"{healing.verdict}{pasted}{': ' + healing.why if healing.why else ''}"]
    words += [f"left when undone: {'; '.join(healing.left)}"] if healing.left else []
    words += [f"preflight fix: {healing.command}"] if healing.command else []
    return f"[{'] ['.join(words)}]"


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


def table(outcomes: Sequence[Outcome], width: int = 80) -> str:
    """The confusion matrix: one row per scenario, the expected diagnosis and how often each diagnosis came."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    # A column without false alarms would take the room that the names need.
    alarmed = any(outcome.false_alarms for outcome in outcomes)
    grid = Table(box=SIMPLE_HEAD, highlight=False, padding=(0, 1, 0, 0))
    for title in ("scenario", "expected", "got", "right", *(["false alarms"] if alarmed else [])):
        grid.add_column(title, overflow="fold", no_wrap=title == "scenario")
    for name, got in confusion(outcomes).items():
        runs = [outcome for outcome in outcomes if outcome.scenario == name]
        alarms = dict.fromkeys(code for outcome in runs for code in outcome.false_alarms)
        right = sum(outcome.right for outcome in runs)
        seen = [f"{named(diagnosis)}{f' x{times}' if len(runs) > 1 else ''}" for diagnosis, times in got.items()]
        row = (name, named(runs[0].expected), "\n".join(seen), f"{right}/{len(runs)}", "\n".join(alarms))
        grid.add_row(*row[: len(grid.columns)])
    sink = io.StringIO()
    Console(file=sink, width=width, color_system=None).print(grid)
    scores = document(outcomes)
    keys = [key for key in scores if key not in ("scenarios", "total")]
    words = [f"{scores[key]} {key.replace('_', ' ')}" for key in keys]
    return f"{sink.getvalue().rstrip()}\n\n{', '.join(words)}, {scores['total']} in all\n"
