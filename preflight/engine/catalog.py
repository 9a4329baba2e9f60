"""The catalogue: every check comes through one entry-point group, bundled ones through the same door as others'."""

import importlib
import pkgutil
import sys
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import EntryPoint, entry_points

from preflight.api import (
    NODE,
    Check,
    Direction,
    Result,
    Status,
    codes,
    look,
)
from preflight.model.facts import givers
from preflight.model.plugins import BrokenPlugin

GROUP = "preflight.checks"
BUNDLED = "preflight_checks"
OURS = "overlay-preflight"
"""The distribution that the bundled checks come from."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """All checks by id order, and what could not be loaded."""

    checks: tuple[Check, ...]
    broken: tuple[BrokenPlugin, ...] = ()

    def by_id(self) -> dict[str, Check]:
        """The checks by id."""
        return {check.id: check for check in self.checks}


def load_catalog(*, third_party: bool = True) -> Catalog:
    """Find all checks. A plugin that breaks while it is imported is reported, and harms no other."""
    points = sorted(entry_points(group=GROUP), key=lambda point: (point.value != BUNDLED, point.name))
    found: list[Check | BrokenPlugin] = []
    for point in points:
        if point.value == BUNDLED:
            found += _bundled(_origin(point))
        elif third_party:
            found += _declared(point)
    return assemble(
        (check for check in found if isinstance(check, Check)),
        (broken for broken in found if isinstance(broken, BrokenPlugin)),
    )


def _declared(point: EntryPoint) -> Iterable[Check | BrokenPlugin]:
    """What an entry point of another package leads to."""
    from preflight.engine.plugins import declared_by

    if EntryPoint.pattern.match(point.value) is None:  # its parts could not even be asked for
        return [BrokenPlugin(_origin(point), point.name, f"{point.value!r} names no module")]
    return declared_by(point.module, _origin(point))


def assemble(found: Iterable[Check], broken: Iterable[BrokenPlugin] = ()) -> Catalog:
    """Put checks together: the first of an id wins; later ones, and those that could never start, are broken."""
    by_id: dict[str, Check] = {}
    failures = list(broken)
    for check in found:
        if check.id in by_id:
            failures.append(BrokenPlugin(check.origin, check.id, f"the id is taken by {by_id[check.id].origin}"))
        else:
            by_id[check.id] = check
    usable = _usable(by_id)
    startable = _startable(usable)
    failures += [
        BrokenPlugin(check.origin, check.id, _why_not(check, by_id, usable, startable))
        for check in by_id.values()
        if check.id not in startable
    ]
    return Catalog(tuple(check for check in by_id.values() if check.id in startable), tuple(failures))


def broken_result(broken: BrokenPlugin) -> Result:
    """A module that could not be loaded: a warning, but where it is ours the run lacks checks and cannot be good."""
    ours = broken.origin == OURS
    return Result(
        check="run.plugins",
        category="run",
        target=NODE,
        direction=Direction.LOCAL,
        aspect=broken.name,
        status=Status.ERROR if ours else Status.WARN,
        code=codes.RUN_CHECK_ERROR if ours else codes.RUN_PLUGIN_BROKEN,
        message=f"{broken.name} of {broken.origin} could not be loaded: {broken.reason}",
        remedies=look(f"pip install --upgrade {broken.origin}"),
        started_at=datetime.now(UTC),
    )


def _usable(by_id: Mapping[str, Check]) -> dict[str, Check]:
    """The checks whose needs are all usable, none missing and none in a circle; what they come after exists."""
    usable: dict[str, Check] = {}
    waiting = {id: check for id, check in by_id.items() if by_id.keys() >= set(check.after)}
    while ready := {id: check for id, check in waiting.items() if usable.keys() >= set(check.needs)}:
        usable |= ready
        waiting = {id: check for id, check in waiting.items() if id not in ready}
    return usable


def _startable(usable: Mapping[str, Check]) -> set[str]:
    """The ids of the checks that wait for none that waits for them."""
    startable: set[str] = set()
    waiting = set(usable)
    while ready := {id for id in waiting if startable.issuperset(predecessors(usable[id], usable))}:
        startable |= ready
        waiting -= ready
    return startable


def _why_not(check: Check, by_id: Mapping[str, Check], usable: Mapping[str, Check], startable: Container[str]) -> str:
    """Why a check cannot be used."""
    if check.id in usable:
        first = next(id for id in predecessors(check, usable) if id not in startable)
        return f"it waits for {first}, which in turn waits for it, or for others that wait for one another"
    unknown = next((id for id in check.after if id not in by_id), None)
    if unknown is not None:
        return f"it comes after {unknown}, which does not exist"
    need = next(need for need in check.needs if need not in usable)
    return f"needs {need}, {'which cannot be used either' if need in by_id else 'which does not exist'}"


def predecessors(check: Check, present: Container[str]) -> tuple[str, ...]:
    """Ids of the checks among those present that run before this one: what it needs, comes after, or reads facts of."""
    before = (*check.needs, *check.after, *sorted(givers(check.reads) - {check.id}))
    return tuple(id for id in dict.fromkeys(before) if id in present)


def _origin(point: EntryPoint) -> str:
    return point.dist.name if point.dist else point.value


def _bundled(origin: str) -> Iterator[Check | BrokenPlugin]:
    for name in modules_of(BUNDLED):
        try:
            found = vars(importlib.import_module(name)).values()
            yield from (replace(c, origin=origin) for c in found if isinstance(c, Check) and c.module == name)
        except Exception as error:  # half an upgrade must not take the rest along
            yield BrokenPlugin(origin, name, f"{type(error).__name__}: {error}")


def modules_of(package: str) -> Iterator[str]:
    """The module that an entry point names and, where it is a package that can be imported, all modules in it."""
    yield package
    folders = getattr(sys.modules.get(package), "__path__", ())
    yield from (f"{package}.{info.name}" for info in pkgutil.iter_modules(folders))


def declared_in(check: Check) -> str | None:
    """The module that declares a check, or None if it is unknown: a check may be made without `@check`."""
    return check.module or getattr(check.function, "__module__", None)
