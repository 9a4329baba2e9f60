"""The score of draws, fault by fault and axis by axis, as people and programs read it."""

import io
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from preflight.lab.axes.setup import AXES
from preflight.lab.draws import definition
from preflight.lab.fuzz import Drawn, Shrunk
from preflight.lab.scoreboard import healing_words

HEALTHY = "healthy"


@dataclass(frozen=True, slots=True)
class Tally:
    """How a group of draws was judged.

    seconds: the median of the runs, None without any. healable: where healing was tried, what a command or a file can
    heal that those who observe there can know; healed: how many of these the fixes of the reports healed. harmful: how
    many of all took something down that had worked.
    """

    name: str
    drawn: int
    right: int
    vague: int
    wrong: int
    unbuilt: int
    alarms: int
    healable: int
    healed: int
    harmful: int
    seconds: float | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def tally(name: str, everything: Iterable[Drawn]) -> Tally:
    """Count a group. A lab that could not be built counts as `unbuilt`, and says nothing about preflight."""
    group = list(everything)
    grades = [each.outcome.judgement.grade if each.outcome.judgement else "unbuilt" for each in group]
    tried = [(each.outcome.healing.verdict, each.draw.healable) for each in group if each.outcome.healing]
    runs = [each.outcome.ran_ms / 1000 for each in group if each.outcome.judgement]
    return Tally(
        name=name,
        drawn=len(group),
        right=grades.count("right"),
        vague=grades.count("vague"),
        wrong=grades.count("wrong"),
        unbuilt=grades.count("unbuilt"),
        alarms=sum(bool(each.outcome.false_alarms) for each in group),
        healable=sum(healable for _, healable in tried),
        healed=tried.count(("healed", True)),
        harmful=sum(verdict == "harmful" for verdict, _ in tried),
        seconds=round(statistics.median(runs), 1) if runs else None,
    )


def by_fault(everything: Sequence[Drawn]) -> list[Tally]:
    """A row for each fault that was drawn, and one for the healthy draws. Two faults count for both."""
    names = sorted({fault for each in everything for fault in each.draw.faults})
    rows = [tally(name, (each for each in everything if name in each.draw.faults)) for name in names]
    healthy = [each for each in everything if not each.draw.faults]
    return [*rows, *([tally(HEALTHY, healthy)] if healthy else [])]


def by_axis(everything: Sequence[Drawn]) -> list[Tally]:
    """A row for each value of each axis that has several."""
    return [
        tally(f"{axis} {value}", (each for each in everything if each.draw.setup[axis] == value))
        for axis, row in AXES.items()
        if len(row.values) > 1
        for value in row.values
    ]


def cells(everything: Sequence[Drawn]) -> list[dict[str, Any]]:
    """Fault × axis: a row for each fault on each value of each axis on which it was drawn."""
    groups: dict[tuple[str, str, str], list[Drawn]] = {}
    for each in everything:
        for fault in each.draw.faults or (HEALTHY,):
            for axis in AXES:
                groups.setdefault((fault, axis, each.draw.setup[axis]), []).append(each)
    return [
        {"fault": fault, "axis": axis, "value": value, **tally("", group).as_dict()}
        for (fault, axis, value), group in sorted(groups.items())
    ]


def document(seed: int, everything: Sequence[Drawn], shrunk: Sequence[Shrunk]) -> dict[str, Any]:
    """The whole score. A draw of the document can be run again: its `file` is a scenario file."""
    return {
        "seed": seed,
        "total": tally("all", everything).as_dict(),
        "faults": [row.as_dict() for row in by_fault(everything)],
        "axes": [row.as_dict() for row in by_axis(everything) if row.drawn],
        "cells": [{key: value for key, value in cell.items() if key != "name"} for cell in cells(everything)],
        "draws": [_row(each) for each in everything],
        "shrunk": [
            {"drawn": definition(each.drawn), "smallest": definition(each.smallest), "runs": each.runs}
            for each in shrunk
        ],
    }


def _row(each: Drawn) -> dict[str, Any]:
    found = each.outcome.judgement
    return {
        "number": each.outcome.repeat,
        "file": definition(each.draw),
        "grade": found.grade if found else "unbuilt",
        "expected": [truth.code for truth in each.draw.truths()],
        "got": found.got if found else None,
        "lacks": list(found.lacks) if found else [],
        "false_alarms": list(each.outcome.false_alarms),
        "healing": None if each.outcome.healing is None else asdict(each.outcome.healing),
        "ran_ms": round(each.outcome.ran_ms),
        "whole_ms": round(each.outcome.whole_ms),
        "report": each.outcome.report,
        "error": each.outcome.error,
    }


def text(seed: int, everything: Sequence[Drawn], shrunk: Sequence[Shrunk]) -> str:
    """The tables, what was shrunk, and the sums."""
    total = tally("all", everything)
    parts = [_table("fault", by_fault(everything)), _table("axis", [row for row in by_axis(everything) if row.drawn])]
    parts += [f"Shrunk in {each.runs} runs from: {each.drawn}\n{each.file()}" for each in shrunk]
    sums = ", ".join(f"{getattr(total, name)} {name}" for name in ("right", "vague", "wrong", "unbuilt"))
    tried = f", {total.healed} of {total.healable} healed, {total.harmful} harmful" if total.healable else ""
    parts.append(f"seed {seed}: {sums}, {total.alarms} with false alarms{tried}, {total.drawn} in all\n")
    return "\n".join(parts)


def line(each: Drawn) -> str:
    """The progress line of one draw."""
    found = each.outcome.judgement
    words = [f"{found.grade if found else 'unbuilt':<7}", f"{each.outcome.repeat}: {each.draw}"]
    words.append(f"({each.outcome.ran_ms / 1000:.1f} s of {each.outcome.whole_ms / 1000:.1f} s)")
    if found is not None and not found.right:
        words.append(f"got {found.got}; lacks {', '.join(found.lacks) or 'nothing'}")
        words += [f"false alarms: {', '.join(found.alarms)}"] if found.alarms else []
    elif found is None and each.outcome.error:
        words.append(f"- {each.outcome.error}")
    words += [healing_words(each.outcome.healing)] if each.outcome.healing else []
    return " ".join(words)


def _table(what: str, rows: Sequence[Tally]) -> str:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    columns = [field.name for field in fields(Tally) if field.name != "name"]
    grid = Table(what, box=SIMPLE_HEAD, highlight=False)
    for column in columns:
        grid.add_column(column, justify="right")
    for row in rows:
        grid.add_row(row.name, *(str(getattr(row, column) or "") for column in columns))
    sink = io.StringIO()
    Console(file=sink, width=120, color_system=None).print(grid)
    return sink.getvalue().strip("\n") + "\n"
