"""The report for a ticket: verdict, first cause and what to do are open; everything else is folded."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from preflight.model.printable import number_of
from preflight.report import ways
from preflight.report.common import MARKS, Advice, accepted_note, aspect_of, counts, lab_note, overlay_line, way
from preflight.report.grouping import CauseGroup, cause_groups
from preflight.report.model import Report, ResultEntry, WayEntry
from preflight.report.offers import offers, plain_user

OTHERS = 3
"""Causes after the first that have an open line."""
OPEN_LINES = 4
"""Lines of what to do that are open; the first advice always is."""
SHOWN = 12
"""Explained results that a cause's table shows; the rest is in the folded list."""
# A plain word: letters and digits, single marks between them, and the marks around a word.
_WORD = re.compile(
    r"[(\"'“‘]*[^\W_]+(?:[-.,:/'’][^\W_]+)*[)\"'”’]*[%.,;:!?…]*[)\"'”’]*|[–—→←↔·…≥≤≠×]",
)
# Words that GitHub or GitLab would still turn into a link: a site, a ticket, a commit, an emoji, a numbered item.
_LINKED = re.compile(r"(?i)www\.|//|\b[a-z]\w*-\d|\b[0-9a-f]{7,}\b|:.*:|^\W*\d+[.)]\W*$")


def render(report: Report) -> str:
    """GitHub-flavoured Markdown (CommonMark with tables). Text of remote hosts cannot become markup.

    About ten lines are open: the verdict, the first cause with what to do, and a line for each of some more causes.
    """
    groups = cause_groups(report, whole=False, once=True)
    blocks = [
        f"## preflight: {report.verdict.upper()} on {_text(report.run.node.hostname)}",
        *_head(report),
        *(block for group in groups[:1] for block in _first(report, group)),
        *map(_line, groups[1 : OTHERS + 1]),
        *_rest(groups),
        *(block for group in groups for block in _folded(f"Cause {group.number}", _cause(report, group))),
        *_folded("What belongs on this path", _placement(report)),
        *_folded(f"{number_of('results', len(report.results))} in all", _details(report)),
    ]
    return "\n\n".join(blocks) + "\n"


def _head(report: Report) -> Iterator[str]:
    run = report.run
    facts = [
        f"{counts(report)}, in {run.duration_ms / 1000:.1f} s",
        _text(overlay_line(report)),
        f"{run.started_at:%Y-%m-%d %H:%M:%S} UTC",
    ]
    yield " · ".join(facts)
    if note := lab_note(report):
        yield f"**{note}**"
    yield from (f"**{_text(remark)}**" for remark in report.remarks)


def _title(group: CauseGroup) -> str:
    place = " ".join(filter(None, (_text(group.who) if group.who else "", way(group.first.direction))))
    return f"{group.number}. {MARKS[group.status]} {_code(group.first.code)} {place}".rstrip()


def _first(report: Report, group: CauseGroup) -> Iterator[str]:
    """What is open of the first cause: place, message, and what to do where it is short."""
    yield f"### {_title(group)}"
    if note := accepted_note(group.first):
        yield f"**{_text(note)}**"
    yield _text(group.message)
    yield from _advices(report, group)[0]


def _advices(report: Report, group: CauseGroup) -> tuple[list[str], list[str]]:
    """What to do: what is open at the first cause, and the rest."""
    both: tuple[list[str], list[str]] = ([], [])
    left = OPEN_LINES
    for number, what in enumerate(offers(report, group, sudo=plain_user(report))):
        left -= len(what.lines)
        both[number > 0 and left < 0].append(_advice(what))
    return both


def _line(group: CauseGroup) -> str:
    """A further cause in one line. The backslash keeps a reader from making a list of it."""
    return _title(group).replace(".", "\\.", 1)


def _rest(groups: Sequence[CauseGroup]) -> Iterator[str]:
    if (left := len(groups) - 1 - OTHERS) > 0:
        yield f"and {left} more {'cause' if left == 1 else 'causes'} below"


def _folded(summary: str, blocks: Iterable[str]) -> Iterator[str]:
    """Closed until it is clicked; nothing if it is empty. GitHub and GitLab want the blank lines around what is in it.

    summary: no word of others, for a reader takes it as HTML.
    """
    inside = list(blocks)
    if inside:
        yield f"<details>\n<summary>{summary}</summary>"
        yield from inside
        yield "</details>"


def _cause(report: Report, group: CauseGroup) -> Iterator[str]:
    """Everything about one cause; of the first one only what is not open above."""
    if group.number > 1:
        yield _title(group).replace(".", "\\.", 1)
        if note := accepted_note(group.first):
            yield f"**{_text(note)}**"
        yield _text(group.message)
    if (followed := ways.way_of(report, group.first)) is not None:
        yield _way_table(followed)
    opened, closed = _advices(report, group)
    yield from closed if group.number == 1 else (*opened, *closed)
    yield _table([result for result in report.results if result.id in group.explains])


def _advice(what: Advice) -> str:
    lead = what.label.capitalize()
    return f"{lead}: {_text(' '.join(what.lines))}" if what.is_prose else f"{lead}:\n\n{_fence(what.text)}"


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
        yield "\n".join(rows)


def _details(report: Report) -> Iterator[str]:
    yield f"preflight {_text(report.tool.version)} · run {_text(report.run.id)}"
    rows = ["| | check | target | direction | message |", "| --- | --- | --- | --- | --- |"]
    rows += [_row(result) for result in report.results]
    yield "\n".join(rows)


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
    return " ".join(run if plain else _quoted(run) for plain, run in runs)


def _quoted(run: str) -> str:
    """Code, with the mark that ends a clause behind it."""
    inside = run.rstrip(",;:")
    return f"{_code(inside)}{run[len(inside) :]}" if inside and len(run) - len(inside) == 1 else _code(run)


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
