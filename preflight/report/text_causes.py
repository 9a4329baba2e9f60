"""The diagnosis in the text report: in full where it starts, and short enough for the last screen where it ends."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from preflight.report import common, ways
from preflight.report.grouping import CauseGroup, names
from preflight.report.model import Report
from preflight.report.offers import offers
from preflight.report.terminal import cut, hanging, rows
from preflight.report.text_results import MARKS

LAST_ROWS = 12
"""How many rows the end may take: half of the smallest terminal."""


@dataclass(frozen=True, slots=True)
class Telling:
    """How causes are shown. numbered: there are several; sudo: who reads this is not root."""

    report: Report
    numbered: bool
    sudo: bool


def print_cause(console: Console, group: CauseGroup, telling: Telling) -> None:
    """Everything about one cause."""
    print_title(console, group, telling)
    if note := common.accepted_note(group.first):
        console.print(Padding(Text(note), (0, 0, 0, 4)))
    console.print(Padding(Text(group.message), (0, 0, 0, 4)))
    # What is only missing for the measurement did not die on the way.
    if not group.said_once and (way := ways.line_for(telling.report, group.first)):
        line = Text("way: ", style="bold").append(way, style="not bold")
        console.print(Padding(line, (0, 0, 0, 4)))
    for advice in offers(telling.report, group, sudo=telling.sudo):
        _print_advice(console, _labelled(console, advice))
    if len(group.causes) > 1 and not group.said_once:
        console.print(Text(f"    and alike for the other {len(group.causes) - 1}; -v lists each", "bright_black"))
    if group.said_once:
        console.print(Padding(Text(_left_open(telling.report, group), style="bright_black"), (0, 0, 0, 4)))
        console.print(Text(f"    more: preflight explain {group.first.code}", style="bright_black"))
        return
    others = group.explained
    more = f"; explains {others} more result{'s' if others > 1 else ''} below" if others > 0 else ""
    console.print(Text(f"    more: preflight explain {group.first.code}{more}", style="bright_black"))


def print_title(console: Console, group: CauseGroup, telling: Telling) -> None:
    """The code, the target and the direction."""
    mark, style = MARKS[group.status]
    title = "  ".join(filter(None, (f"{mark} {group.first.code}", group.who, common.way(group.first.direction))))
    if group.first.accepted is not None:
        title, style = f"{title}  (accepted)", "bright_black"
    prefix = f"{group.number}. " if telling.numbered else ""
    hanging(console, Text(prefix + title, style=style))


def print_again(console: Console, groups: Sequence[CauseGroup], telling: Telling, room: int) -> None:
    """The first cause with its place and what to do, and the others as far as there is room (in rows)."""
    first, *others = groups
    listed = others if len(others) <= 2 else others[:1]
    left = room - 1 - len(listed) - (len(listed) < len(others)) - 1
    print_title(console, first, telling)
    way = ways.line_for(telling.report, first.first)
    place = f"way: {way}" if way else ""
    advice = _advice(console, first, telling)
    message = _wrapped(console, first.message)
    wrapped_place = _wrapped(console, place) if place else []
    left -= len(wrapped_place)
    needed = rows(advice, console.width)
    # All of what to do goes before all of what was seen, but three rows of each are always of use.
    said = message[: max(1, left - needed, min(3, left - min(needed, 3)))]
    if len(said) < len(message):
        said[-1] = cut(f"{said[-1]} {message[len(said)]}", console.width - 4)
    left -= len(said)
    for line in (*said, *wrapped_place):
        console.print(Text(f"    {line}"), soft_wrap=True)
    _as_many(console, advice, left)
    _print_others(console, others, len(listed), telling, left - needed)
    told = f"    more: preflight explain {first.first.code}, and -v"
    console.print(Text(told, style="bright_black"), soft_wrap=True)


def _print_others(console: Console, others: Sequence[CauseGroup], listed: int, telling: Telling, left: int) -> None:
    """The titles of as many as are listed, with what to do where it fits into the rows that are left."""
    for group in others[:listed]:
        mark, style = MARKS[group.status]
        line = "  ".join(filter(None, (f"{mark} {group.first.code}", group.who, common.way(group.first.direction))))
        console.print(Text(cut(f"{group.number}. {line}", console.width), style=style))
        advice = _advice(console, group, telling)
        if (needed := rows(advice, console.width)) <= left:
            _print_advice(console, advice)
            left -= needed
    if listed < len(others):
        more = ", ".join(f"{group.number}. {group.first.code}" for group in others[listed:])
        console.print(Text(cut(f"and {len(others) - listed} more above: {more}", console.width)))


def _advice(console: Console, group: CauseGroup, telling: Telling) -> list[str]:
    """What to do about a cause, as lines of this width."""
    return [line for each in offers(telling.report, group, sudo=telling.sudo) for line in _labelled(console, each)]


def _as_many(console: Console, lines: Sequence[str], room: int) -> None:
    """The lines, each a command or a sentence, or as many as fit and how many are above."""
    fitting = 0
    while fitting < len(lines) and rows(lines[: fitting + 1], console.width) + (fitting + 1 < len(lines)) <= room:
        fitting += 1
    _print_advice(console, lines[: max(fitting, 1)])
    if (hidden := len(lines) - max(fitting, 1)) > 0:
        console.print(Text(f"    and {hidden} more line{'s' if hidden > 1 else ''}, at the beginning"))


def _labelled(console: Console, advice: common.Advice) -> list[str]:
    """The lines with their label. A sentence is wrapped; a command stays on one line, so that it can be pasted."""
    lead = f"    {advice.label}: "
    if advice.is_prose:
        first, *more = _wrapped(console, f"{advice.label}: {' '.join(advice.lines)}")
        return [f"    {first}", *(f"    {line}" for line in more)]
    lines = [part for line in advice.lines for part in _apart(console, line, len(lead))]
    return [f"{lead if number == 0 else ' ' * len(lead)}{line}" for number, line in enumerate(lines)]


def _apart(console: Console, line: str, indent: int) -> list[str]:
    """A command and its comment, which gets separate lines if both together are too long for one."""
    command, mark, comment = line.partition("   # ")
    room = console.width - indent
    if not mark or len(line) <= room:
        return [line]
    wrapped = Text(comment).wrap(console, max(room - 2, 20))
    return [command, *(f"# {part.plain.rstrip()}" for part in wrapped)]


def _print_advice(console: Console, lines: Iterable[str]) -> None:
    for line in lines:
        label, colon, rest = line.partition(": ")
        known = label.strip() in common.LABELS
        styled = Text(label + colon, "bold").append(rest, "not bold") if known else Text(line)
        console.print(styled, soft_wrap=True)


def _left_open(report: Report, group: CauseGroup) -> str:
    """What is not known because of it, for all peers together."""
    known = common.by_id(report)
    checks = dict.fromkeys(known[id].check for cause in group.causes for id in cause.explains if id in known)
    return f"not known without it: {names(list(checks), shown=8)}"


def _wrapped(console: Console, text: str) -> list[str]:
    return [line.plain.rstrip() for line in Text(text).wrap(console, max(console.width - 4, 1))]
