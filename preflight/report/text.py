"""The report for a person at a terminal: diagnosis first, a line per good result, cause and remedy per bad one."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from io import StringIO
from itertools import groupby

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from preflight import codes
from preflight.report import common, ways
from preflight.report.grouping import (
    FEW,
    NOBODY,
    CauseGroup,
    by_key,
    cause_groups,
    explained_by,
    names,
    peers_of,
    say_the_same,
    spread,
)
from preflight.report.model import Report, ResultEntry
from preflight.report.terminal import hanging

Explained = Mapping[str, CauseGroup]
"""Result id to the cause that explains it."""

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
PLACEMENT_STYLE = {"allowed": "green", "caution": "yellow", "not-default": "yellow", "out-of-scope": "bright_black"}
MANY = 12
"""With more results of one check and status than this, show one line and a count."""
LISTED = 5
"""How many bad results of many peers are shown one by one, for each check and code."""


def render(report: Report, *, width: int = 80, color: bool = False, verbose: bool = False) -> str:
    """Text of `width` columns; `color` adds ANSI styles; `verbose` adds measurements and evidence."""
    out = StringIO()
    console = Console(
        file=out, width=width, force_terminal=color, highlight=False, color_system="standard" if color else None
    )
    _head(console, report)
    groups = cause_groups(report, whole=verbose)
    _diagnosis(console, report, groups)
    explained = explained_by(groups)
    addresses = {peer.target: peer.address for peer in report.run.peers}
    shown = [result for result in report.results if verbose or not _does_not_apply(result)]
    for category, results in groupby(shown, key=lambda result: result.category):
        console.print()
        console.print(Text(category, style="bold"))
        _results(console, list(results), explained, addresses, verbose)
    if not verbose:
        _aside(console, filter(_does_not_apply, report.results))
    if report.placement:
        _placement(console, report)
    _verdict(console, report)
    # Only the newline ends a line here: quoted text may contain other separators.
    return "\n".join(line.rstrip() for line in out.getvalue().rstrip("\n").split("\n")) + "\n"


def _does_not_apply(result: ResultEntry) -> bool:
    """Checks that do not apply here; a skip for any other reason has its own line."""
    return result.status == "skip" and result.code == codes.RUN_NOT_APPLICABLE.slug


def _aside(console: Console, aside: Iterable[ResultEntry]) -> None:
    """All checks that do not apply, in one line."""
    checks = dict.fromkeys("/".join(filter(None, (r.check, common.aspect_of(r)))) for r in aside)
    if checks:
        console.print()
        hanging(console, Text(f"does not apply here: {', '.join(checks)} (-v says why)", style="bright_black"))


def _head(console: Console, report: Report) -> None:
    parts = (f"preflight {report.tool.version}", report.run.node.hostname, common.overlay_line(report))
    hanging(console, Text(" · ".join(parts)))
    if note := common.lab_note(report):
        console.print(Text(note, style="yellow"))


def _diagnosis(console: Console, report: Report, groups: Sequence[CauseGroup]) -> None:
    for group in groups:
        console.print()
        cause, many = group.first, len(group.causes) > 1
        mark, style = MARKS[group.status]
        title = "  ".join(filter(None, (f"{mark} {cause.code}", group.who, common.way(cause.direction))))
        prefix = f"{group.number}. " if len(groups) > 1 else ""
        hanging(console, Text(prefix + title, style=style))
        console.print(Padding(Text(group.message), (0, 0, 0, 4)))
        if (way := ways.way_of(report, cause)) is not None:
            line = Text("way: ", style="bold").append(ways.line(way), style="not bold")
            console.print(Padding(line, (0, 0, 0, 4)))
        for advice in common.advice(cause):
            _advice(console, advice)
        if many:
            console.print(Text(f"    and alike for the other {len(group.causes) - 1}; -v lists each", "bright_black"))
        others = group.explained
        more = f"; explains {others} more result{'s' if others > 1 else ''} below" if others > 0 else ""
        console.print(Text(f"    more: preflight explain {cause.code}{more}", style="bright_black"))


def _advice(console: Console, advice: common.Advice) -> None:
    """A sentence is wrapped; a command stays on one line, so that it can be pasted."""
    lead = f"{advice.label}: "
    if advice.is_prose:
        sentences = " ".join(advice.lines)
        console.print(Padding(Text(lead, style="bold").append(sentences, style="not bold"), (0, 0, 0, 4)))
        return
    for number, line in enumerate(advice.lines):
        start = Text(f"    {lead if number == 0 else ' ' * len(lead)}", style="bold")
        console.print(start.append(line, style="not bold"), soft_wrap=True)


def _results(
    console: Console, results: list[ResultEntry], explained: Explained, addresses: Mapping[str, str], verbose: bool
) -> None:
    table = Table.grid(padding=(0, 1))
    for _ in range(3):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold", ratio=1)
    if verbose or len(peers_of(results)) <= FEW:
        _as_they_came(table, results, explained, verbose)
    else:
        _together(table, results, explained, addresses)
    console.print(table)


def _as_they_came(table: Table, results: list[ResultEntry], explained: Explained, verbose: bool) -> None:
    for key, group in groupby(results, key=lambda r: (r.check if r.blocked_by is None else "", r.status, r.blocked_by)):
        members = list(group)
        if key[2]:
            _blocked(table, members, explained)
            continue
        few = verbose or len(members) <= MANY
        for result in members if few else members[:3]:
            _row(table, result, explained, verbose)
        if not few:
            _more(table, members[0].status, f"{len(members) - 3} more of {members[0].check}: {members[0].status}")


def _together(table: Table, results: list[ResultEntry], explained: Explained, addresses: Mapping[str, str]) -> None:
    """Equal results of many peers on one line, the bad ones with names."""
    for members in by_key(results, [_likeness(result, explained) for result in results]):
        first = members[0]
        if first.blocked_by is not None:
            _blocked(table, members, explained)
        elif len(members) <= FEW:
            for result in members:
                _row(table, result, explained, verbose=False)
        elif first.status in ("pass", "skip"):
            quiet = "bright_black" if first.status == "skip" else ""
            said = spread(members) or f"{first.target}: {first.message}"
            _all(table, members, Text(said, style=quiet), quiet)
        elif say_the_same(members, addresses):
            _all(table, members, Text(f"{first.target}: ").append(_bad(first, explained)))
        else:
            for result in members[:LISTED]:
                _row(table, result, explained, verbose=False)
            rest = [result.target for result in members[LISTED:]]
            _more(table, first.status, f"and {len(rest)} more: {', '.join(rest[:LISTED])}, … (-v lists all)")


def _all(table: Table, members: list[ResultEntry], message: Text, style: str = "") -> None:
    """One line for all of them."""
    mark, mark_style = MARKS[members[0].status]
    label = Text(_label(members[0], f"{len(members)} peers"), style=style)
    table.add_row("", Text(mark, style=mark_style), label, message)


def _likeness(result: ResultEntry, explained: Explained) -> Hashable:
    if result.blocked_by is not None:
        group = explained.get(result.id)
        return ("blocked", group.number if group else result.blocked_by)
    return (result.check, common.aspect_of(result), result.status, result.code, result.direction)


def _more(table: Table, status: str, text: str) -> None:
    mark, style = MARKS[status]
    table.add_row("", Text(mark, style=style), "", Text(text, style="bright_black"))


def _blocked(table: Table, members: list[ResultEntry], explained: Explained) -> None:
    """Everything that one failure or cause blocks in a category, on one line."""
    mark, style = MARKS["skip"]
    labels = [
        _label(alike[0], f"{len(alike)} peers") if len(alike) > FEW else _label(each)
        for alike in by_key(members, [result.check for result in members])
        for each in (alike[:1] if len(alike) > FEW else alike)
    ]
    group = explained.get(members[0].id)
    reason = f"cause {group.number}" if group else f"{members[0].blocked_by} did not pass"
    text = Text(f"{names(list(dict.fromkeys(labels)))} ({reason})", style=style)
    table.add_row("", Text(mark, style=style), Text("skipped", style=style), text)


def _row(table: Table, result: ResultEntry, explained: Explained, verbose: bool) -> None:
    mark, style = MARKS[result.status]
    quiet = "bright_black" if result.status == "skip" else ""
    if result.status in ("pass", "skip"):
        message = Text(result.message, style=quiet)
    else:
        message = _bad(result, {} if verbose else explained)
    if verbose:
        for name, value in result.measurements.items():
            message.append(f"\n{name} = {value}", style="bright_black")
        for evidence in result.evidence:
            message.append(f"\n{evidence.kind}: {evidence.summary} {evidence.data or ''}", style="bright_black")
    table.add_row("", Text(mark, style=style), Text(_label(result), style=quiet), message)


def _bad(result: ResultEntry, explained: Explained) -> Text:
    """What is wrong; do not repeat a cause's own message; a cause at many peers has shown only a count so far."""
    style, group = STYLES[result.status], explained.get(result.id)
    if group is None:
        return Text(result.message).append(f" [{result.code}]", style=style)
    if len(group.causes) > 1:
        return Text(f"{result.message} (cause {group.number})")
    return Text(f"{result.code} (cause {group.number})", style=style)


def _label(result: ResultEntry, target: str | None = None) -> str:
    """The subject of the line, without words of the heading or code."""
    aspect = common.aspect_of(result)
    of_the_code = (result.code or "").endswith(aspect)  # as "timeout" in run.timeout: it does not say which check
    name = result.check.partition(".")[2] if of_the_code else aspect
    who = target or result.target
    sign = {"forward": "→", "reverse": "←"}.get(result.direction, "")
    return " ".join(filter(None, (name, sign, who if result.target not in NOBODY else "")))


def _placement(console: Console, report: Report) -> None:
    console.print()
    console.print(Text("what belongs on this path", style="bold"))
    table = Table.grid(padding=(0, 1))
    for _ in range(3):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold", ratio=1)
    for entry in report.placement:
        verdict = Text(entry.verdict, style=PLACEMENT_STYLE[entry.verdict])
        table.add_row("", Text(entry.work_class), verdict, Text(entry.because))
    console.print(table)


def _verdict(console: Console, report: Report) -> None:
    line = Text(f"{report.verdict.upper()}", style=VERDICT_STYLE[report.verdict])
    line.append(f"  {common.counts(report)}, in {report.run.duration_ms / 1000:.1f} s", style="not bold default")
    console.print()
    hanging(console, line)
    for remark in report.remarks:
        console.print(Padding(Text(remark), (0, 0, 0, 4)))
