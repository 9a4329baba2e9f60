"""Which checks run, and in what order: pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from graphlib import CycleError, TopologicalSorter

from preflight.api import Check


class SelectionError(Exception):
    """A name that selects nothing, or needs that go in a circle."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What the user asked for: globs of ids.

    `named` empty means all. Checks with a tag are opt-in: they run when named, or with one of `tags`.
    """

    named: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """Checks in an order in which each stands behind what it needs; `needs` holds those needs that run too."""

    checks: tuple[Check, ...]
    needs: dict[str, tuple[str, ...]]

    def sorter(self) -> TopologicalSorter[str]:
        """A fresh sorter over the ids, to be driven while the checks run."""
        return TopologicalSorter(self.needs)


def make_plan(checks: Iterable[Check], selection: Selection) -> Plan:
    """Select checks, add what they need, sort. Raises SelectionError.

    A check that is skipped by name is not there for those that need it: they run and judge for themselves.
    """
    by_id = {check.id: check for check in checks}
    for glob in (*selection.named, *selection.only, *selection.skip):
        _must_match(glob, by_id)
    skipped = {id for id in by_id if _matches(id, selection.skip)}
    wanted = {id for id, check in by_id.items() if _selected(check, selection)} - skipped
    closure = _closure(wanted, by_id) - skipped
    needs = {id: tuple(need for need in by_id[id].needs if need in closure) for id in by_id if id in closure}
    try:
        order = tuple(TopologicalSorter(needs).static_order())
    except CycleError as error:
        raise SelectionError(f"checks need one another in a circle: {' → '.join(error.args[1])}") from None
    return Plan(tuple(by_id[id] for id in order), needs)


def _selected(check: Check, selection: Selection) -> bool:
    if selection.named:
        chosen = _matches(check.id, selection.named)
    else:
        chosen = not check.tags or bool(set(check.tags) & set(selection.tags))
    return chosen and (not selection.only or _matches(check.id, selection.only))


def _closure(wanted: set[str], by_id: dict[str, Check]) -> set[str]:
    closure: set[str] = set()
    todo = list(wanted)
    while todo:
        id = todo.pop()
        if id not in closure:
            closure.add(id)
            todo += by_id[id].needs
    return closure


def _matches(id: str, globs: Iterable[str]) -> bool:
    return any(fnmatchcase(id, glob) for glob in globs)


def _must_match(glob: str, by_id: dict[str, Check]) -> None:
    if not any(fnmatchcase(id, glob) for id in by_id):
        near = get_close_matches(glob, by_id, n=3, cutoff=0.4)
        hint = f"; nearest: {', '.join(near)}" if near else ""
        raise SelectionError(f"no check is called {glob!r}{hint} (`preflight list` names all)")
