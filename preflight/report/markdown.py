"""The report for a ticket: verdict, cause and its evidence; everything else is folded."""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby

from preflight.report import ways
from preflight.report.common import MARKS, accepted_note, advice, aspect_of, counts, lab_note, overlay_line, way
from preflight.report.grouping import CauseGroup, cause_groups
from preflight.report.model import Report, ResultEntry, WayEntry

SHOWN = 12
"""Explained results that a cause's table shows; the rest is in the folded list."""
# A plain word: letters and digits, single marks between them, and the marks around a word.
_WORD = re.compile(
    r"[(\"'“‘]*[^\W_]+(?:[-.,:/'’][^\W_]+)*[)\"'”’]*[%.,;:!?…]*[)\"'”’]*|[–—→←↔·…≥≤≠×]",
)
# Words that GitHub or GitLab would still turn into a link: a site, a ticket, a commit, an emoji, a numbered item.
_LINKED = re.compile(r"(?i)www\.|//|\b[a-z]\w*-\d|\b[0-9a-f]{7,}\b|:.*:|^\W*\d+[.)]\W*$")


def render(report: Report) -> str:
    """GitHub-flavoured Markdown (CommonMark with tables). Text of remote hosts cannot become markup."""
    blocks = [
        f"## preflight: {report.verdict.upper()} on {_text(report.run.node.hostname)}",
        _head(report),
        *(block for group in cause_groups(report, whole=False) for block in _cause(report, group)),
        *_placement(report),
        *_details(report),
    ]
    return "\n\n".join(blocks) + "\n"


def _head(report: Report) -> str:
    run = report.run
    facts = [
        f"{counts(report)}, in {run.duration_ms / 1000:.1f} s",
        _text(overlay_line(report)),
        f"{run.started_at:%Y-%m-%d %H:%M:%S} UTC",
        f"preflight {_text(report.tool.version)}",
        f"run {_text(run.id)}",
    ]
    lines = [" · ".join(facts)]
    if note := lab_note(report):
        lines.append(f"**{note}**")
    lines += [f"**{_text(remark)}**" for remark in report.remarks]
    return "\n\n".join(lines)


def _cause(report: Report, group: CauseGroup) -> Iterator[str]:
    cause = group.first
    place = " ".join(filter(None, (_text(group.who), way(cause.direction))))
    yield f"### {group.number}. {MARKS[group.status]} {_code(cause.code)} {place}"
    if note := accepted_note(cause):
        yield f"**{_text(note)}**"
    yield _text(group.message)
    if (followed := ways.way_of(report, cause)) is not None:
        yield _way_table(followed)
    for what in advice(cause):
        lead = what.label.capitalize()
        yield f"{lead}: {_text(' '.join(what.lines))}" if what.is_prose else f"{lead}:\n\n{_fence(what.text)}"
    yield _table([result for result in report.results if result.id in group.explains])


def _way_table(followed: WayEntry) -> str:
    """Where it was seen and where it died; what is behind is left out."""
    rows = ["| where | station | | by | what is known |", "| --- | --- | --- | --- | --- |"]
    for leg in ways.legs(followed):
        known = [station for station in leg.stations if station.state in ("passed", "died")]
        for station in [each for each in known if each.state == "died"] or known[-1:]:
            told = map(_text, (station.by or "", station.reason or ""))
            rows.append(f"| {_text(leg.host)} | {station.id} | {ways.MARKS[station.state]} | {' | '.join(told)} |")
        if not known:
            rows.append(f"| {_text(leg.host)} | | {ways.MARKS['unseen']} | | unseen |")
    return "\n".join(rows)


def _table(results: list[ResultEntry]) -> str:
    rows = ["| | result | measured |", "| --- | --- | --- |"]
    rows += [
        f"| {MARKS[result.status]} | {_code(result.id)} | {_text(result.message)}{_numbers(result)} |"
        for result in results[:SHOWN]
    ]
    if len(results) > SHOWN:
        rows.append(f"| | and {len(results) - SHOWN} more | below |")
    return "\n".join(rows)


def _numbers(result: ResultEntry) -> str:
    known = [f"{name} = {value}" for name, value in result.measurements.items() if value is not None]
    return f" ({_code(', '.join(known))})" if known else ""


def _placement(report: Report) -> Iterator[str]:
    if report.placement:
        rows = ["| work | on this path | because |", "| --- | --- | --- |"]
        rows += [f"| {_text(p.work_class)} | {p.verdict} | {_text(p.because)} |" for p in report.placement]
        yield "### What belongs on this path"
        yield "\n".join(rows)


def _details(report: Report) -> Iterator[str]:
    """All results, folded; GitHub and GitLab want the blank lines around the table."""
    rows = ["| | check | target | direction | message |", "| --- | --- | --- | --- | --- |"]
    rows += [_row(result) for result in report.results]
    yield f"<details>\n<summary>All {len(report.results)} results</summary>"
    yield "\n".join(rows)
    yield "</details>"


def _row(result: ResultEntry) -> str:
    name = "/".join(filter(None, (result.check, aspect_of(result))))
    code = f" {_code(result.code)}" if result.code else ""
    code += f" ({_text(note)})" if (note := accepted_note(result)) else ""
    cells = (MARKS[result.status], _code(name), _text(result.target), result.direction, _text(result.message) + code)
    return f"| {' | '.join(cells)} |"


def _text(text: str) -> str:
    """A sentence in which nothing is markup, a link, a mention, a reference or a new line.

    GitHub and GitLab search for some of these in rendered text, where a backslash does not help: everything that is
    not a plain word goes into a code span.
    """
    words = text.split()
    runs = ((plain, " ".join(run)) for plain, run in groupby(words, key=_is_word))
    return " ".join(run if plain else _code(run) for plain, run in runs)


def _is_word(word: str) -> bool:
    return bool(_WORD.fullmatch(word)) and not _LINKED.search(word)


def _code(text: str) -> str:
    """Inline code. A table's cell ends at a pipe even there, and readers differ in how to escape it: it is replaced."""
    plain = " ".join(text.split()).replace("|", "¦") or "–"
    ticks = "`" * (_longest_run(plain) + 1)
    return f"{ticks}{plain}{ticks}" if len(ticks) == 1 else f"{ticks} {plain} {ticks}"


def _fence(text: str) -> str:
    ticks = "`" * max(3, _longest_run(text) + 1)
    return f"{ticks}sh\n{text}\n{ticks}"


def _longest_run(text: str) -> int:
    return max(map(len, _runs(text)), default=0)


def _runs(text: str) -> Iterable[str]:
    return re.findall("`+", text)
