"""The report for a person at a terminal: diagnosis first, a line per good result, cause and remedy per bad one."""

from collections.abc import Iterable
from io import StringIO
from itertools import groupby

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from preflight.report import common
from preflight.report.model import CauseEntry, Report, ResultEntry

STYLES = {
    "pass": "green",
    "warn": "yellow",
    "fail": "bold red",
    "inconclusive": "cyan",
    "skip": "bright_black",
    "error": "bold magenta",
}
MARKS = {status: (mark, STYLES[status]) for status, mark in common.MARKS.items()}
VERDICT_STYLE = {"pass": "bold green", "fail": "bold red", "inconclusive": "bold cyan", "error": "bold magenta"}
MANY = 12
"""Results of one check and status beyond which they are shown as one line and a count."""


def render(report: Report, *, width: int = 80, color: bool = False, verbose: bool = False) -> str:
    """Text of `width` columns; `color` adds ANSI styles; `verbose` adds measurements and evidence."""
    out = StringIO()
    console = Console(
        file=out, width=width, force_terminal=color, highlight=False, color_system="standard" if color else None
    )
    _head(console, report)
    _diagnosis(console, report)
    told = _told(report.diagnosis)
    for category, results in groupby(report.results, key=lambda result: result.category):
        console.print()
        console.print(Text(category, style="bold"))
        _results(console, list(results), told, verbose)
    if report.placement:
        _placement(console, report)
    _verdict(console, report)
    # Only the newline ends a line here: what a result quotes may hold other separators.
    return "\n".join(line.rstrip() for line in out.getvalue().rstrip("\n").split("\n")) + "\n"


def _head(console: Console, report: Report) -> None:
    parts = (f"preflight {report.tool.version}", report.run.node.hostname, common.overlay_line(report))
    console.print(Text(" · ".join(parts)))
    if note := common.lab_note(report):
        console.print(Text(note, style="yellow"))


def _diagnosis(console: Console, report: Report) -> None:
    for number, cause in enumerate(report.diagnosis, 1):
        console.print()
        mark, style = MARKS[common.status_of(cause, report.results)]
        title = "  ".join(filter(None, (f"{mark} {cause.code}", cause.target, common.way(cause.direction))))
        prefix = f"{number}. " if len(report.diagnosis) > 1 else ""
        console.print(Text(prefix + title, style=style))
        console.print(Padding(Text(cause.message), (0, 0, 0, 4)))
        if cause.remedy:
            _remedy(console, cause.remedy)
        others = len(cause.explains) - 1
        more = f"; explains {others} more result{'s' if others > 1 else ''} below" if others > 0 else ""
        console.print(Text(f"    more: preflight explain {cause.code}{more}", style="bright_black"))


def _remedy(console: Console, remedy: str) -> None:
    """What to do: a sentence is wrapped; a command stays whole, however long, so that it can be pasted."""
    if remedy.endswith("."):
        console.print(Padding(Text("fix: ", style="bold").append(remedy, style="not bold"), (0, 0, 0, 4)))
    else:
        for number, line in enumerate(remedy.splitlines()):
            lead = Text("    fix: " if number == 0 else "         ", style="bold")
            console.print(lead.append(line, style="not bold"), soft_wrap=True)


def _told(diagnosis: Iterable[CauseEntry]) -> dict[str, str]:
    """For each result that a cause explains: what to say instead of saying it again."""
    return {id: f"cause {number}" for number, cause in enumerate(diagnosis, 1) for id in cause.explains}


def _results(console: Console, results: list[ResultEntry], told: dict[str, str], verbose: bool) -> None:
    table = Table.grid(padding=(0, 1))
    for _ in range(3):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold", ratio=1)
    for key, group in groupby(results, key=lambda r: (r.check if r.blocked_by is None else "", r.status, r.blocked_by)):
        members = list(group)
        if key[2]:
            _blocked(table, members, told)
            continue
        for result in members[:MANY] if len(members) <= MANY else members[:3]:
            _row(table, result, told, verbose)
        if len(members) > MANY:
            mark, style = MARKS[members[0].status]
            more = f"{len(members) - 3} more of {members[0].check}: {members[0].status}"
            table.add_row("", Text(mark, style=style), "", Text(more, style="bright_black"))
    console.print(table)


def _blocked(table: Table, members: list[ResultEntry], told: dict[str, str]) -> None:
    """All that one failure blocks in a category, on one line."""
    mark, style = MARKS["skip"]
    labels = list(dict.fromkeys(_label(result) for result in members))
    shown = ", ".join(labels[:6]) + (f" and {len(labels) - 6} more" if len(labels) > 6 else "")
    reason = told.get(members[0].id) or f"{members[0].blocked_by} did not pass"
    table.add_row("", Text(mark, style=style), Text("skipped", style=style), Text(f"{shown} ({reason})", style=style))


def _row(table: Table, result: ResultEntry, told: dict[str, str], verbose: bool) -> None:
    mark, style = MARKS[result.status]
    quiet = "bright_black" if result.status == "skip" else ""
    if result.status in ("pass", "skip"):
        message = Text(result.message, style=quiet)
    elif result.id in told and not verbose:
        message = Text(f"{result.code} ({told[result.id]})", style=style)
    else:
        message = Text(result.message).append(f" [{result.code}]", style=style)
    if verbose:
        for name, value in result.measurements.items():
            message.append(f"\n{name} = {value}", style="bright_black")
        for evidence in result.evidence:
            message.append(f"\n{evidence.kind}: {evidence.summary} {evidence.data or ''}", style="bright_black")
    table.add_row("", Text(mark, style=style), Text(_label(result), style=quiet), message)


def _label(result: ResultEntry) -> str:
    """What the line is about, without what the heading already says."""
    name = common.aspect_of(result) or result.check.partition(".")[2]
    arrow = {"forward": f"→ {result.target}", "reverse": f"← {result.target}"}.get(result.direction, result.target)
    return f"{name} {arrow}" if result.target not in ("node", "control") else name


def _placement(console: Console, report: Report) -> None:
    console.print()
    console.print(Text("what belongs on this path", style="bold"))
    table = Table.grid(padding=(0, 1))
    for entry in report.placement:
        table.add_row("", Text(entry.work_class), Text(entry.verdict), Text(entry.because))
    console.print(table)


def _verdict(console: Console, report: Report) -> None:
    line = Text(f"{report.verdict.upper()}", style=VERDICT_STYLE[report.verdict])
    line.append(f"  {common.counts(report)}, in {report.run.duration_ms / 1000:.1f} s", style="not bold default")
    console.print()
    console.print(line)
