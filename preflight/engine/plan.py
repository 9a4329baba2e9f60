"""Which checks run, and in what order: pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase
from graphlib import CycleError, TopologicalSorter

from preflight.api import Check
from preflight.engine.catalog import predecessors

LOAD = "load"
"""The tag of checks that fill a path on purpose: they begin when all others are over, or these would measure them."""
LISTED = 3
"""How many checks a message names; for more it gives the number."""


class SelectionError(Exception):
    """A selection that leaves nothing of what it names, names what there is not, or checks that wait in a circle."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What the user asked for: globs of ids.

    `named` empty means all. Checks with a tag are opt-in: they run when named, or with one of `tags`.
    `skip_in_file` is what the settings `file` leaves out in addition to `skip`.
    """

    named: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    skip_in_file: tuple[str, ...] = ()
    file: str = "the settings"

    def skips(self) -> Iterator[tuple[str, str]]:
        """Every glob that leaves checks out, and how a message calls it."""
        yield from ((glob, f"--skip {glob!r}") for glob in self.skip)
        yield from ((glob, f"checks.skip {glob!r} in {self.file}") for glob in self.skip_in_file)


@dataclass(frozen=True, slots=True)
class Plan:
    """Checks in an order in which each comes after its needs; `needs` contains those needs that run too.

    before: the checks of the plan that each waits for: its needs, and what it only comes after or reads facts of.
    asked: each thing that was asked for, as the user wrote it (`all` where nothing was named), and the ids that it
    chose. A check that runs only as a need is in none of them.
    """

    checks: tuple[Check, ...]
    needs: dict[str, tuple[str, ...]]
    before: dict[str, tuple[str, ...]]
    asked: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def sorter(self) -> TopologicalSorter[str]:
        """A fresh sorter over the ids, to be driven while the checks run."""
        return TopologicalSorter(self.before)

    def part(self, ids: Iterable[str]) -> "Plan":
        """These checks of the plan alone: a need that is not among them is not there."""
        kept = set(ids)
        asked = {name: chosen & kept for name, chosen in self.asked.items() if chosen & kept}
        needs, before = (
            {id: tuple(first for first in edges[id] if first in kept) for id in edges if id in kept}
            for edges in (self.needs, self.before)
        )
        return Plan(tuple(check for check in self.checks if check.id in kept), needs, before, asked)

    def with_needs(self, ids: Iterable[str]) -> set[str]:
        """These ids, and those of all that they need in this plan."""
        return _closure(ids, self.needs)


def make_plan(checks: Iterable[Check], selection: Selection) -> Plan:
    """Select checks, add what they need, sort.

    A check that is skipped by name is not there for those that need it: they run and judge for themselves.
    Raises SelectionError, also where something that was asked for would be left out whole.
    """
    by_id = {check.id: check for check in checks}
    _must_exist(by_id, selection)
    skipped = {id for id in by_id if _matches(id, (*selection.skip, *selection.skip_in_file))}
    wanted = {id for id, check in by_id.items() if _selected(check, selection)} - skipped
    asked: dict[str, frozenset[str]] = {}
    for name, ids in _meant(by_id, selection):
        asked[name] = frozenset(ids & wanted)
        if not asked[name]:
            raise SelectionError(_nothing_left(name, [by_id[id] for id in sorted(ids)], selection))
    closure = _closure(wanted, {id: check.needs for id, check in by_id.items()}) - skipped
    needs = {id: tuple(need for need in by_id[id].needs if need in closure) for id in by_id if id in closure}
    before = {id: _before(by_id[id], [by_id[each] for each in needs], closure) for id in needs}
    try:
        order = tuple(TopologicalSorter(needs).static_order())
        TopologicalSorter(before).prepare()
    except CycleError as error:
        raise SelectionError(f"checks wait for one another in a circle: {' → '.join(error.args[1])}") from None
    return Plan(tuple(by_id[id] for id in order), needs, before, asked)


def _before(check: Check, present: Iterable[Check], closure: set[str]) -> tuple[str, ...]:
    """The checks that end before this one begins."""
    first = predecessors(check, closure)
    if LOAD not in check.tags:
        return first
    return tuple(dict.fromkeys((*first, *(each.id for each in present if LOAD not in each.tags))))


def _meant(by_id: Mapping[str, Check], selection: Selection) -> Iterator[tuple[str, set[str]]]:
    """Each thing that was asked for, and the ids that it means, selected or not."""
    if not selection.named and not selection.only:
        yield "all", set(by_id)
    yield from ((glob, {id for id in by_id if fnmatchcase(id, glob)}) for glob in selection.named)
    yield from ((f"--only {glob}", {id for id in by_id if fnmatchcase(id, glob)}) for glob in selection.only)
    yield from ((f"--tag {tag}", {id for id, check in by_id.items() if tag in check.tags}) for tag in selection.tags)


def _selected(check: Check, selection: Selection) -> bool:
    return _among_the_named(check, selection) and (not selection.only or _matches(check.id, selection.only))


def _among_the_named(check: Check, selection: Selection) -> bool:
    if selection.named:
        return _matches(check.id, selection.named)
    return not check.tags or bool(set(check.tags) & set(selection.tags))


def _nothing_left(name: str, means: Iterable[Check], selection: Selection) -> str:
    """Why nothing is left of what was asked for: which checks it means, and what left each of them out."""
    by_reason: dict[str, list[str]] = {}
    for check in means:
        by_reason.setdefault(_reason(check, selection), []).append(check.id)
    reasons = "; ".join(f"{_counted(ids)}: {reason}" for reason, ids in by_reason.items()) or "no check is there"
    return f"{name} leaves no check to run; {reasons}"


def _reason(check: Check, selection: Selection) -> str:
    skip = next((called for glob, called in selection.skips() if fnmatchcase(check.id, glob)), None)
    if skip is not None:
        return f"left out by {skip}"
    if _among_the_named(check, selection):
        return "left out by --only"
    return "not among the named checks" if selection.named else f"opt-in, add --tag {check.tags[0]}"


def _counted(ids: list[str]) -> str:
    return ", ".join(ids) if len(ids) <= LISTED else f"{len(ids)} checks"


def _closure(ids: Iterable[str], needs: Mapping[str, Iterable[str]]) -> set[str]:
    closure: set[str] = set()
    todo = list(ids)
    while todo:
        id = todo.pop()
        if id not in closure:
            closure.add(id)
            todo += needs[id]
    return closure


def _matches(id: str, globs: Iterable[str]) -> bool:
    return any(fnmatchcase(id, glob) for glob in globs)


def _must_exist(by_id: Mapping[str, Check], selection: Selection) -> None:
    """Refuse what names no check and no tag: a typing error must not change what runs. Raises SelectionError."""
    options = ((glob, "") for glob in (*selection.named, *selection.only, *selection.skip))
    for glob, where in (*options, *((glob, f"{selection.file}: checks.skip: ") for glob in selection.skip_in_file)):
        if not any(fnmatchcase(id, glob) for id in by_id):
            near = _nearest(glob, by_id)
            raise SelectionError(f"{where}no check is called {glob!r}{near} (`preflight list` names all)")
    tags = sorted({tag for check in by_id.values() for tag in check.tags})
    for tag in selection.tags:
        if tag not in tags:
            near = _nearest(tag, tags)
            raise SelectionError(f"no check has the tag {tag!r}{near} (there are: {', '.join(tags) or 'none'})")


def _nearest(word: str, words: Iterable[str]) -> str:
    near = get_close_matches(word, list(words), n=3, cutoff=0.4)
    return f"; nearest: {', '.join(near)}" if near else ""
