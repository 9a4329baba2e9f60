"""The report for a person at a terminal: the diagnosis first and last, and in between a line for what is good."""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from io import StringIO

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from preflight.report import common
from preflight.report.grouping import CauseGroup, cause_groups, explained_by
from preflight.report.model import Placement, Report
from preflight.report.terminal import cut, hanging, rows
from preflight.report.text_causes import LAST_ROWS, Telling, print_again, print_cause
from preflight.report.text_results import Shown, print_aside, print_results

VERDICT_STYLE = {"pass": "bold green", "fail": "bold red", "inconclusive": "bold cyan", "error": "bold magenta"}
PLACEMENT_STYLE = {"allowed": "green", "caution": "yellow", "not-default": "yellow", "out-of-scope": "bright_black"}
ONE_SCREEN = 22
"""How many rows the end may take if nothing is broken: those of the smallest terminal, without the prompt."""
SLOWEST = 10
"""How many checks `durations` lists."""

Lines = list[str]
_BLANKS = re.compile(r"\s+((?:\x1b\[[0-9;]*m)*)$")
"""At the end of a line, also before the escapes that end a colour."""


def render(
    report: Report,
    *,
    width: int = 80,
    color: bool = False,
    verbose: bool = False,
    summary: bool = False,
    durations: bool = False,
    sudo: bool = False,
    exit_code: int | None = None,
) -> str:
    """Text of `width` columns; `color` adds ANSI styles; `verbose` adds measurements and evidence.

    summary: failures only. durations: the slowest checks too. sudo: who reads this is not root, so commands that need
    it get `sudo`. exit_code: that of the command, if it is not that of the run.
    """
    lines = partial(_lines, width, color)
    groups = cause_groups(report, whole=verbose, once=True)
    telling = Telling(report, len(groups) > 1, sudo)
    body = lines(partial(_body, report=report, groups=groups, verbose=verbose, summary=summary))
    if durations:
        body += lines(partial(_durations, report=report))
    code = report.run.exit_code if exit_code is None else exit_code
    verdict = lines(partial(_verdict, report=report, exit_code=code))
    room = LAST_ROWS - rows(verdict, width)
    causes = [line for group in groups for line in ("", *lines(partial(print_cause, group=group, telling=telling)))]
    known = any(group.status != "inconclusive" for group in groups)
    if not known and rows(causes + verdict, width) <= ONE_SCREEN:
        # What nobody can know yet is said once, at the end.
        shown = [*body, *(causes or [""])]
    elif rows(causes + body, width) <= room + 1:
        # Nothing scrolls away, so nothing is said again.
        shown = [*causes, *body, ""]
    else:
        failing = [group for group in groups if group.first.accepted is None]
        again = lines(partial(print_again, groups=failing, telling=telling, room=room)) if failing else []
        shown = [*causes, *body, "", *again]
    whole = [*lines(partial(_head, report=report)), *shown, *verdict]
    return "\n".join(_BLANKS.sub(r"\1", line) for line in whole) + "\n"


def _lines(width: int, color: bool, show: Callable[[Console], None]) -> Lines:
    out = StringIO()
    show(
        Console(
            file=out, width=width, force_terminal=color, highlight=False, color_system="standard" if color else None
        )
    )
    # Only the newline ends a line here: quoted text may contain other separators.
    return out.getvalue().rstrip("\n").split("\n") if out.getvalue() else []


def _head(console: Console, report: Report) -> None:
    parts = (f"preflight {report.tool.version}", report.run.node.hostname, common.overlay_line(report))
    hanging(console, Text(" · ".join(parts)))
    if note := common.lab_note(report):
        console.print(Text(note, style="yellow"))


def _body(console: Console, report: Report, groups: Sequence[CauseGroup], verbose: bool, summary: bool) -> None:
    addresses = {peer.target: peer.address for peer in report.run.peers}
    shown = Shown(explained_by(groups), addresses, verbose=verbose, failures_only=summary and not verbose)
    print_results(console, report.results, shown)
    if summary:
        return
    if not verbose:
        print_aside(console, report.results)
    if report.placement:
        _placement(console, report.placement, verbose=verbose)


def _placement(console: Console, placement: Iterable[Placement], *, verbose: bool) -> None:
    """A line for each class of work, with as much of the reason as fits; `verbose` shows all of it."""
    entries = [(entry, entry.work_class.replace("_", " ")) for entry in placement]
    name_width = min(max(len(name) for _, name in entries), 24)
    verdict_width = max(len(entry.verdict) for entry, _ in entries)
    console.print()
    console.print(Text("what belongs on this path", style="bold"))
    for entry, name in entries:
        line = Text(f" {cut(name, 24):<{name_width}} ")
        line.append(f"{entry.verdict:<{verdict_width}} ", style=PLACEMENT_STYLE[entry.verdict])
        room = console.width - len(line.plain)
        if verbose:
            hanging(console, line.append(entry.because))
        else:
            console.print(line.append(_beginning(entry.because, room)), soft_wrap=True)


def _beginning(reason: str, room: int) -> str:
    """As much of the first clause as fits: the clause begins with what decides."""
    first, *more = reason.partition("; ")[0].split(", ")
    for part in more:
        if len(longer := f"{first}, {part}") > room:
            break
        first = longer
    return cut(first, room)


def _durations(console: Console, report: Report) -> None:
    """The slowest checks."""
    took: dict[str, float] = {}
    for result in report.results:
        took[result.check] = max(took.get(result.check, 0.0), result.duration_ms)
    slowest = sorted(took.items(), key=lambda item: -item[1])[:SLOWEST]
    console.print()
    console.print(Text("slowest checks", style="bold"))
    for check, milliseconds in slowest:
        console.print(Text(cut(f" {milliseconds / 1000:6.2f} s  {check}", console.width)), soft_wrap=True)


def _verdict(console: Console, report: Report, exit_code: int) -> None:
    counts, end = common.counts(report), f"in {report.run.duration_ms / 1000:.1f} s; exit code {exit_code}"
    line = Text(report.verdict.upper(), style=VERDICT_STYLE[report.verdict])
    line.append(f"  {counts}, {end}", style="not bold default")
    if len(line.plain) > console.width:  # the exit code is not cut in two
        line = Text(report.verdict.upper(), style=VERDICT_STYLE[report.verdict])
        hanging(console, line.append(f"  {counts},", style="not bold default"))
        line = Text(f"  {end}")
    hanging(console, line)
    for remark in report.remarks:
        console.print(Padding(Text(remark), (0, 0, 0, 4)))
