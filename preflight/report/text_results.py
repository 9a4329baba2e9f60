"""The results in the text report: a line for each bad one, and one line a category for what passed."""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from rich.console import Console
from rich.table import Table
from rich.text import Text

from preflight import codes
from preflight.model.printable import number_of
from preflight.report import common
from preflight.report.grouping import FEW, NOBODY, CauseGroup, by_key, gist, names, peers_of, say_the_same
from preflight.report.model import ResultEntry
from preflight.report.plain_values import said
from preflight.report.terminal import cut, hanging

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
MANY = 12
"""With more results of one check and status than this, show a few and a count."""
LISTED = 5
"""How many bad results of many peers are shown one by one, for each check and code."""
WIDEST = 12
"""Columns of a category; a longer name, of someone else's check, is cut."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a category."""

    status: str
    label: str
    message: Text
    passed: bool = False


@dataclass(frozen=True, slots=True)
class Shown:
    """What the lines refer to. addresses: by the peer's name; failures_only: leave out what passed or was skipped."""

    explained: Explained
    addresses: Mapping[str, str]
    verbose: bool = False
    failures_only: bool = False

    def at_the_end(self, result: ResultEntry) -> bool:
        """Whether one sentence at the end is about this result and all alike."""
        group = self.explained.get(result.id)
        return group is not None and group.said_once and result.status in ("inconclusive", "skip")


def print_results(console: Console, results: Iterable[ResultEntry], shown: Shown) -> None:
    """A table: the category, then its lines."""
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, max_width=WIDEST)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", ratio=1)
    seen = [result for result in results if shown.verbose or not (_does_not_apply(result) or shown.at_the_end(result))]
    good = all(result.status in ("pass", "skip") for result in seen) and any(result.status == "pass" for result in seen)
    order = dict.fromkeys(result.category for result in seen)
    width = min(max(map(len, order), default=0), WIDEST)
    for category in order:
        rows = list(_rows([result for result in seen if result.category == category], shown))
        label_width = max((len(row.label) for row in rows if not row.passed and len(row.label) <= 24), default=0)
        for number, row in enumerate(rows):
            mark, style = MARKS[row.status]
            name = Text(cut(category, WIDEST) if number == 0 else "", style="bold")
            table.add_row(name, Text(mark, style=style), _said(row, label_width, console.width - width - 3))
    if table.row_count:
        console.print()
        if good and not shown.verbose:
            console.print(Text("what was measured, and is good", style="bold green"))
        console.print(table)


def print_aside(console: Console, results: Iterable[ResultEntry]) -> None:
    """All checks that do not apply, in one line."""
    checks = dict.fromkeys(
        "/".join(filter(None, (r.check, common.aspect_of(r)))) for r in results if _does_not_apply(r)
    )
    if not checks:
        return
    line = f"does not apply here: {', '.join(checks)} (-v says why)"
    if len(line) > console.width:
        verb = "does" if len(checks) == 1 else "do"
        line = f"{number_of('checks', len(checks))} {verb} not apply here; -v says which and why"
    hanging(console, Text(line, style="bright_black"))


def label_of(result: ResultEntry, target: str | None = None) -> str:
    """The subject of the line, without words of the category or code."""
    aspect = common.aspect_of(result)
    of_the_code = (result.code or "").endswith(aspect)  # as "timeout" in run.timeout: it does not say which check
    name = _name(result) if of_the_code else aspect
    who = target or result.target
    sign = {"forward": "→", "reverse": "←"}.get(result.direction, "")
    return " ".join(filter(None, (name, sign, who if result.target not in NOBODY else "")))


def _does_not_apply(result: ResultEntry) -> bool:
    """Checks that do not apply here; a skip for any other reason has its own line."""
    return result.status == "skip" and result.code == codes.RUN_NOT_APPLICABLE.slug


def _said(row: Row, label_width: int, room: int) -> Text:
    style = "bright_black" if row.status == "skip" else ""
    if row.passed:
        return Text(cut(row.message.plain, room), style=style)
    label = f"{row.label:<{label_width}} " if row.label else ""
    return Text(label, style=style).append_text(row.message)


def _rows(results: list[ResultEntry], shown: Shown) -> Iterator[Row]:
    if shown.verbose:
        yield from _as_they_came(results, shown)
        return
    bad = [result for result in results if result.status not in ("pass", "skip")]
    yield from (_together if len(peers_of(bad)) > FEW else _as_they_came)(bad, shown)
    if shown.failures_only:
        return
    yield from _passes([result for result in results if result.status == "pass"], {result.check for result in bad})
    yield from _skips([result for result in results if result.status == "skip"], shown)


def _passes(results: list[ResultEntry], doubtful: set[str]) -> Iterator[Row]:
    """What passed, in one line; of a check that is bad elsewhere, where it passed. doubtful: these checks."""
    if not results:
        return
    labels = [label_of(result) if result.check in doubtful else _name(result) for result in results]
    peers = len(peers_of(results))
    who = f" ({peers} peers)" if peers > 1 else ""
    numbers = f"; {told}" if (told := gist(results)) else ""
    line = f"{len(results)} passed{who}: {names(list(dict.fromkeys(labels)))}{numbers}"
    yield Row("pass", "", Text(line), passed=True)


def _skips(results: list[ResultEntry], shown: Shown) -> Iterator[Row]:
    """What was skipped, a line for each reason."""
    for members in by_key(results, [_reason(result, shown.explained) for result in results]):
        first = members[0]
        labels = [
            label_of(alike[0], f"{len(alike)} peers") if len(alike) > FEW else label_of(each)
            for alike in by_key(members, [result.check for result in members])
            for each in (alike[:1] if len(alike) > FEW else alike)
        ]
        said_of = names(list(dict.fromkeys(labels)))
        reason = _reason(first, shown.explained) if first.blocked_by else first.message
        text = f"skipped {said_of} ({reason})" if first.blocked_by else f"{said_of}: {reason}"
        yield Row("skip", "", Text(text, style=STYLES["skip"]))


def _reason(result: ResultEntry, explained: Explained) -> str:
    if result.blocked_by is None:
        return result.message
    group = explained.get(result.id)
    return f"cause {group.number}" if group else f"{result.blocked_by} did not pass"


def _as_they_came(results: list[ResultEntry], shown: Shown) -> Iterator[Row]:
    for key, group in groupby(results, key=lambda r: (r.check if r.blocked_by is None else "", r.status, r.blocked_by)):
        members = list(group)
        if key[2]:
            yield from _skips(members, shown)
            continue
        few = shown.verbose or len(members) <= MANY
        for result in members if few else members[:3]:
            yield _row(result, shown)
        if not few:
            more = f"{len(members) - 3} more of {members[0].check}: {members[0].status}"
            yield Row(members[0].status, "", Text(more, style="bright_black"))


def _together(results: list[ResultEntry], shown: Shown) -> Iterator[Row]:
    """Equal results of many peers on one line, with names."""
    for members in by_key(results, [_likeness(result) for result in results]):
        first = members[0]
        if len(members) <= FEW:
            yield from (_row(result, shown) for result in members)
        elif say_the_same(members, shown.addresses):
            message = Text(f"{first.target}: ").append_text(_bad(first, shown.explained))
            yield Row(first.status, label_of(first, f"{len(members)} peers"), message)
        else:
            yield from (_row(result, shown) for result in members[:LISTED])
            rest = [result.target for result in members[LISTED:]]
            more = f"and {len(rest)} more: {', '.join(rest[:LISTED])}, … (-v lists all)"
            yield Row(first.status, "", Text(more, style="bright_black"))


def _likeness(result: ResultEntry) -> Hashable:
    return (result.check, common.aspect_of(result), result.status, result.code, result.direction)


def _row(result: ResultEntry, shown: Shown) -> Row:
    if result.status in ("pass", "skip"):
        message = Text(result.message, style="bright_black" if result.status == "skip" else "")
    else:
        message = _bad(result, {} if shown.verbose else shown.explained)
    if shown.verbose:
        for line in _details(result):
            message.append(f"\n{line}", style="bright_black")
    return Row(result.status, label_of(result), message)


def _details(result: ResultEntry) -> Iterator[str]:
    """Measurements and evidence."""
    yield from (f"{name} = {said(value)}" for name, value in result.measurements.items())
    for evidence in result.evidence:
        data = "" if evidence.data in (None, "", [], {}) else f" {said(evidence.data)}"
        yield f"{evidence.kind}: {evidence.summary}{data}"


def _bad(result: ResultEntry, explained: Explained) -> Text:
    """What is wrong; do not repeat a cause's own message; a cause at many peers has shown only a count so far."""
    style, group = STYLES[result.status], explained.get(result.id)
    known = ", accepted" if result.accepted is not None else ""
    if group is None:
        return Text(result.message).append(f" [{result.code}{known}]", style=style)
    if len(group.causes) > 1 and not group.said_once:
        return Text(f"{result.message} (cause {group.number}{known})")
    return Text(f"{result.code} (cause {group.number}{known})", style=style)


def _name(result: ResultEntry) -> str:
    return result.check.partition(".")[2]
